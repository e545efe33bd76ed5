"""Chunks: the lanes that run together, always in one fixed shape.

A trial's bits must not depend on how many other trials there are, so a program has one chunk shape, and the last chunk
is filled up with copies.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._types import PyTree
from jaxtune.data._batches import Table
from jaxtune.training._lane import Lane, advance, finish


class ChunkShape(NamedTuple):
    """How many arms and how many seeds run together."""

    arms: int
    seeds: int

    @property
    def lanes(self) -> int:
        """The number of lanes, arms times seeds."""
        return self.arms * self.seeds


def default_chunk(draws: bool) -> ChunkShape:
    """Returns the chunk shape of a program, which follows from the program alone.

    Where a step draws random numbers, four arms share the draws of one seed; else four seeds of one arm, which is full
    whenever the number of seeds is a multiple of four.
    """
    return ChunkShape(4, 1) if draws else ChunkShape(1, 4)


def chunk_shape(chunk: tuple[int, int] | None) -> ChunkShape | None:
    """Returns a chunk shape given by hand, checked."""
    if chunk is None:
        return None
    if len(chunk) != 2:
        raise InputError("chunk", chunk, "a chunk is arms x seeds", "Pass (4, 1), say.")
    return ChunkShape(*(_check.count("chunk", n) for n in chunk))


class Chunk(NamedTuple):
    """Which trials the lanes of a chunk are: positions among the program's arms and the experiment's seeds.

    Filled up with copies of the last; `real` says how many arms and seeds are none.
    """

    arms: tuple[int, ...]
    seeds: tuple[int, ...]
    real: tuple[int, int]

    def mask(self) -> np.ndarray:
        """Returns which lanes are no copies, shape (seeds, arms)."""
        arms, seeds = self.real
        return (np.arange(len(self.seeds))[:, None] < seeds) & (np.arange(len(self.arms))[None] < arms)


def chunks(n_arms: int, n_seeds: int, shape: ChunkShape) -> list[Chunk]:
    """Returns the chunks that cover all arms and seeds of a program."""

    def blocks(n: int, size: int) -> Iterator[tuple[tuple[int, ...], int]]:
        for start in range(0, n, size):
            real = min(size, n - start)
            yield tuple(min(start + i, n - 1) for i in range(size)), real

    return [Chunk(a, s, (ra, rs)) for s, rs in blocks(n_seeds, shape.seeds) for a, ra in blocks(n_arms, shape.arms)]


class ChunkFunctions(NamedTuple):
    """The jitted functions of a chunk. State and metrics have the leading axes (seeds, arms).

    Attributes:
      init: `init(seeds, table, hp) -> state`.
      advance: `advance(seeds, state, table, hp, start, length) -> (state, status, metrics)`, metrics stacked in front
        in the order of their names; the given state is consumed.
      finish: `finish(seeds, state, table, hp) -> (params, model_state, counters, metrics)`; counters are best step,
        first bad step and what was not finite.
      metric_names: filled in when `advance` and `finish` are traced.
    """

    init: Any
    advance: Any
    finish: Any
    metric_names: dict[str, list[str]]


def chunk_functions(lane: Lane, shape: ChunkShape) -> ChunkFunctions:
    """Returns a lane's functions over all lanes of a chunk."""
    names: dict[str, list[str]] = {}

    def stack(stage: str, metrics: Mapping[str, Any]) -> Any:
        names[stage] = sorted(metrics)
        return jnp.stack([metrics[name] for name in names[stage]])

    def init_lane(seed: Any, state: Any, hp: Any, table: Table) -> Any:
        del state
        return lane.init(_key(seed), table, hp)

    def advance_lane(seed: Any, state: Any, hp: Any, table: Table, start: Any, length: Any) -> Any:
        return advance(lane, _key(seed), state, table, hp, start, length)

    def finish_lane(seed: Any, state: Any, hp: Any, table: Table) -> Any:
        del seed
        params, model_state, best_step, metrics = finish(lane, state, table, hp)
        return (
            params,
            model_state,
            jnp.stack([best_step, state.first_bad_step, state.not_finite.astype(jnp.int32)]),
            metrics,
        )

    def init_chunk(seeds: Any, table: Table, hp: Any) -> Any:
        return _over_lanes(init_lane, shape)(seeds, None, hp, table)

    def advance_chunk(seeds: Any, state: Any, table: Table, hp: Any, start: Any, length: Any) -> Any:
        state, metrics = _over_lanes(advance_lane, shape)(seeds, state, hp, table, start, length)
        return state, state.status, stack("advance", metrics)

    def finish_chunk(seeds: Any, state: Any, table: Table, hp: Any) -> Any:
        params, model_state, counters, metrics = _over_lanes(finish_lane, shape)(seeds, state, hp, table)
        return params, model_state, counters, stack("finish", metrics)

    return ChunkFunctions(jax.jit(init_chunk), jax.jit(advance_chunk, donate_argnums=1), jax.jit(finish_chunk), names)


def _key(seed: Any) -> Any:
    """Returns `jax.random.key(seed)`, of the kind whose draws do not depend on vmap."""
    return jax.random.key(seed, impl="threefry2x32")


def lower(
    functions: ChunkFunctions, shape: ChunkShape, hp: PyTree, table: Table, device: jax.Device | None
) -> tuple[Any, Any, Any]:
    """Returns the three functions of a chunk lowered for a device.

    Args:
      functions: the jitted functions.
      shape: the chunk shape.
      hp: shapes of one lane's traced hyperparameters.
      table: all examples.
      device: where they will run; None lowers for the default device.
    """
    sharding = None if device is None else jax.sharding.SingleDeviceSharding(device)

    def place(tree: PyTree, *axes: int) -> PyTree:
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct((*axes, *a.shape), a.dtype, sharding=sharding), tree)

    seed, number = jax.ShapeDtypeStruct((), jnp.uint32), jax.ShapeDtypeStruct((), jnp.int32)
    seeds, hps, data, count = place(seed, shape.seeds), place(hp, shape.arms), place(table), place(number)
    init = functions.init.lower(seeds, data, hps)
    state = place(init.out_info)
    advanced = functions.advance.lower(seeds, state, data, hps, count, count)
    return init, advanced, functions.finish.lower(seeds, state, data, hps)


def _over_lanes(fn: Callable[..., Any], shape: ChunkShape) -> Callable[..., Any]:
    """Returns `fn(seed, state, hp, *shared)` over seeds outside and arms inside.

    Within a seed neither the key nor what is drawn from it is batched: draws are made once and shared by the arms.
    """

    def over_seeds(seeds: Any, state: Any, hp: Any, *shared: Any) -> Any:
        def over_arms(seed: Any, state: Any) -> Any:
            return _batched(lambda state, hp: fn(seed, state, hp, *shared), shape.arms)(state, hp)

        return _batched(over_arms, shape.seeds)(seeds, state)

    return over_seeds


def _batched(fn: Callable[..., Any], size: int) -> Callable[..., Any]:
    if size > 1:
        return jax.vmap(fn)

    def alone(*args: Any) -> Any:
        return jax.tree.map(lambda a: a[None], fn(*jax.tree.map(lambda a: a[0], args)))

    return alone


def lane_inputs(chunk: Chunk, stacked: Mapping[str, Any], seeds: Sequence[int]) -> tuple[Any, Any]:
    """Returns the seeds and the hyperparameters of a chunk as host arrays.

    Args:
      chunk: which trials.
      stacked: traced hyperparameters of all arms of the program.
      seeds: all seeds of the experiment.
    """
    own = np.array([seeds[i] for i in chunk.seeds], np.uint32)
    return own, jax.tree.map(lambda a: a[list(chunk.arms)], stacked)
