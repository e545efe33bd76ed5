"""Chunks: the lanes that run together, always in one fixed shape.

A trial's bits must not depend on how many other trials there are, so a program has one chunk shape, and where there are
too few trials a chunk is filled up with copies.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxtune._types import PyTree
from jaxtune.data.batches._table import Table
from jaxtune.training._boundary import advance, finish
from jaxtune.training._lane import Lane
from jaxtune.training._replay import replay
from jaxtune.training._turns import Fed

Trial = tuple[int, int]
"""A position among the program's arms and one among the experiment's seeds."""


class ChunkShape(NamedTuple):
    """How many arms and how many seeds run together."""

    arms: int
    seeds: int

    @property
    def lanes(self) -> int:
        """The number of lanes, arms times seeds."""
        return self.arms * self.seeds


class Chunk(NamedTuple):
    """Which trials the lanes of a chunk are. Lanes of one row share a seed, and with it all that is drawn.

    Attributes:
      seeds: positions among the seeds, shape (seeds,).
      arms: positions among the program's arms, shape (seeds, arms).
      real: which lanes are no copies, shape (seeds, arms).
    """

    seeds: np.ndarray
    arms: np.ndarray
    real: np.ndarray

    def lanes(self, where: np.ndarray | None = None) -> Iterator[tuple[Trial, tuple[int, int]]]:
        """Yields trials with their place (seeds, arms) in the chunk: all that are no copies, or those of a mask."""
        for row, column in np.argwhere(self.real if where is None else where).tolist():
            yield (int(self.arms[row, column]), int(self.seeds[row])), (row, column)


def pack(trials: Sequence[Trial], shape: ChunkShape) -> list[Chunk]:
    """Returns the fewest chunks that hold these trials, in an order that follows theirs."""
    by_seed: dict[Any, list[Trial]] = {}
    for trial in trials:
        by_seed.setdefault(trial if shape.arms == 1 else trial[1], []).append(trial)
    rows = [row for group in by_seed.values() for row in _blocks(group, shape.arms)]
    packed = []
    for block in _blocks(rows, shape.seeds):
        filled = [[*row, *[row[-1]] * (shape.arms - len(row))] for row in block]
        filled += [filled[-1]] * (shape.seeds - len(block))
        lanes = np.array(filled)
        real = np.zeros(lanes.shape[:2], bool)
        for i, row in enumerate(block):
            real[i, : len(row)] = True
        packed.append(Chunk(lanes[:, 0, 1], lanes[:, :, 0], real))
    return packed


def count_chunks(arms: int, seeds: int, shape: ChunkShape) -> int:
    """Returns the number of chunks that hold all trials of some arms and seeds."""
    rows = arms * seeds if shape.arms == 1 else -(-arms // shape.arms) * seeds
    return -(-rows // shape.seeds)


def _blocks(items: Sequence[Any], size: int) -> list[Any]:
    return [items[i : i + size] for i in range(0, len(items), size)]


class ChunkFunctions(NamedTuple):
    """The jitted functions of a chunk. Hyperparameters, state and metrics have the leading axes (seeds, arms).

    Attributes:
      init: `init(seeds, table, hp) -> state`.
      advance: `advance(seeds, state, table, hp, start, length, fed) -> (state, status, metrics)`, metrics stacked in
        front in the order of their names; the given state is consumed; `fed` is None or what the host has sent.
      finish: `finish(seeds, state, table, hp) -> (params, model_state, counters, metrics)`; counters are best step,
        first bad step and what was not finite.
      replay: `replay(seeds, state, table, hp, start, length, batches) -> cause`, why lanes have diverged; it is compiled when
        the first one does.
      metric_names: filled in when `advance` and `finish` are traced.
    """

    init: Any
    advance: Any
    finish: Any
    replay: Any
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

    def advance_lane(seed: Any, state: Any, hp: Any, table: Table, *segment: Any) -> Any:
        return advance(lane, _key(seed), state, table, hp, *segment)

    def finish_lane(seed: Any, state: Any, hp: Any, table: Table) -> Any:
        params, model_state, best_step, metrics = finish(lane, _key(seed), state, table, hp)
        return (
            params,
            model_state,
            jnp.stack([best_step, state.first_bad_step, state.not_finite.astype(jnp.int32)]),
            metrics,
        )

    def init_chunk(seeds: Any, table: Table, hp: Any) -> Any:
        return _over_lanes(init_lane, shape)(seeds, None, hp, table)

    def advance_chunk(seeds: Any, state: Any, table: Table, hp: Any, start: Any, length: Any, fed: Any) -> Any:
        state, metrics = _over_lanes(advance_lane, shape)(seeds, state, hp, table, start, length, fed)
        return state, state.status, stack("advance", metrics)

    def finish_chunk(seeds: Any, state: Any, table: Table, hp: Any) -> Any:
        params, model_state, counters, metrics = _over_lanes(finish_lane, shape)(seeds, state, hp, table)
        return params, model_state, counters, stack("finish", metrics)

    def replay_lane(seed: Any, state: Any, hp: Any, table: Table, *updates: Any) -> Any:
        return replay(lane, _key(seed), state, table, hp, *updates)

    def replay_chunk(seeds: Any, state: Any, table: Table, hp: Any, start: Any, length: Any, batches: Any) -> Any:
        return _over_lanes(replay_lane, shape)(seeds, state, hp, table, start, length, batches)

    return ChunkFunctions(
        jax.jit(init_chunk),
        jax.jit(advance_chunk, donate_argnums=1),
        jax.jit(finish_chunk),
        jax.jit(replay_chunk),
        names,
    )


def _key(seed: Any) -> Any:
    """Returns `jax.random.key(seed)`, of the kind whose draws do not depend on vmap."""
    return jax.random.key(seed, impl="threefry2x32")


def _over_lanes(fn: Callable[..., Any], shape: ChunkShape) -> Callable[..., Any]:
    """Returns `fn(seed, state, hp, *shared)` over seeds outside and arms inside.

    Within a seed neither the key nor what is drawn from it is batched: draws are made once and shared by the arms.
    """

    def over_seeds(seeds: Any, state: Any, hp: Any, *shared: Any) -> Any:
        def over_arms(seed: Any, state: Any, hp: Any) -> Any:
            return _batched(lambda state, hp: fn(seed, state, hp, *shared), shape.arms)(state, hp)

        return _batched(over_arms, shape.seeds)(seeds, state, hp)

    return over_seeds


def _batched(fn: Callable[..., Any], size: int) -> Callable[..., Any]:
    if size > 1:
        return jax.vmap(fn, axis_size=size)  # there may be nothing that differs from lane to lane

    def alone(*args: Any) -> Any:
        return jax.tree.map(lambda a: a[None], fn(*jax.tree.map(lambda a: a[0], args)))

    return alone


def lower(
    functions: ChunkFunctions,
    shape: ChunkShape,
    hp: PyTree,
    table: Table,
    fed: Fed | None = None,
    device: jax.Device | None = None,
) -> tuple[Any, Any, Any]:
    """Returns the three functions of a chunk lowered for a device.

    Args:
      functions: the jitted functions.
      shape: the chunk shape.
      hp: shapes of one lane's traced hyperparameters.
      table: all examples.
      fed: shapes of what the host sends, if batches come from there.
      device: where they will run; None lowers for the default device.
    """
    sharding = None if device is None else jax.sharding.SingleDeviceSharding(device)

    def place(tree: PyTree, *axes: int) -> PyTree:
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct((*axes, *a.shape), a.dtype, sharding=sharding), tree)

    seed, number = jax.ShapeDtypeStruct((), jnp.uint32), jax.ShapeDtypeStruct((), jnp.int32)
    seeds, hps = place(seed, shape.seeds), place(hp, shape.seeds, shape.arms)
    data, count = place(table), place(number)
    init = functions.init.lower(seeds, data, hps)
    state = place(init.out_info)
    advanced = functions.advance.lower(seeds, state, data, hps, count, count, place(fed))
    return init, advanced, functions.finish.lower(seeds, state, data, hps)


def lane_inputs(chunk: Chunk, stacked: Mapping[str, Any], seeds: Sequence[int]) -> tuple[Any, Any]:
    """Returns the seeds and the hyperparameters of a chunk as host arrays.

    Args:
      chunk: which trials.
      stacked: traced hyperparameters of all arms of the program.
      seeds: all seeds of the experiment.
    """
    return np.array(seeds, np.uint32)[chunk.seeds], jax.tree.map(lambda a: a[chunk.arms], stacked)
