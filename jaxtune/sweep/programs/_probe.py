"""One lane traced without vmap, to find out about a recipe before anything compiles.

Under vmap JAX's errors name no argument, and some (`range(tracer)`) never do. So where a trace fails, it is repeated
with single hyperparameters as plain Python numbers: the one that makes the difference is the one to name.
"""

import functools as ft
import math
import os
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxtune import _check
from jaxtune._errors import InputError, JaxtuneError, StaticHyperparameterError
from jaxtune._tree import is_key, path_name, size_bytes
from jaxtune.data.batches._table import Batch, Table, take_batch
from jaxtune.models import replaceable
from jaxtune.sweep.programs import _jaxpr
from jaxtune.sweep.space._axis import Axis
from jaxtune.training import Lane, Objective, Recipe, TrainState, advance
from jaxtune.training._turns import Fed

_FLAX_LAYERS = (
    "/flax/linen/stochastic.py",
    "/flax/nnx/nn/stochastic.py",
    "/flax/linen/attention.py",
    "/flax/nnx/nn/attention.py",
)
_LIBRARIES = tuple(
    f"{folder}{os.sep}"
    for folder in (*(Path(m.__file__ or "").parent for m in (jax, flax, optax)), Path(__file__).parents[1])
)


class Probe(NamedTuple):
    """What one lane's trace tells of a program.

    Attributes:
      used: names of the traced hyperparameters that some output depends on.
      draws: whether a step draws random numbers of its own (dropout, noise).
      convolves: whether it has convolutions or poolings that can be computed as patches times a matrix.
      flops: floating-point operations of matrix products in one step of one lane.
      work_bytes: bytes that one lane computes with, besides its state: activations, gradients, a batch.
      state_bytes: bytes of one lane's training state.
      variable_bytes: bytes of one lane's parameters and model state.
      modes: whether less or more of each metric is better.
    """

    used: frozenset[str]
    draws: bool
    convolves: bool
    flops: int
    work_bytes: int
    state_bytes: int
    variable_bytes: int
    modes: dict[str, Any]


def probe(
    lane: Lane, axes: Sequence[Axis], example: Mapping[str, Any], table: Table, batch: Batch, fed: Fed | None = None
) -> Probe:
    """Returns what one lane of a program tells.

    Args:
      lane: the lane.
      axes: the traced axes.
      example: traced hyperparameters of one arm, as Python values.
      table: all examples.
      batch: shapes of the examples of an update.
      fed: shapes of what the host sends, if batches come from there.

    Raises:
      StaticHyperparameterError: a traced hyperparameter is used as a Python number.
    """
    shapes = jax.eval_shape(lambda t: t, table)
    key = jax.eval_shape(lambda: jax.random.key(0))
    hp = abstract({a.name: a.stacked([0]) for a in axes})

    try:
        closed, out = jax.make_jaxpr(ft.partial(_whole, lane, {}), return_shape=True)(hp, key, shapes, fed)
    except Exception as error:
        if isinstance(error, JaxtuneError) and not isinstance(error, StaticHyperparameterError):
            raise
        raise _named(error, lane, example, (key, shapes, fed), hp) from error
    used = _jaxpr.used_inputs(closed)[: len(jax.tree.leaves(hp))]
    owners = [path[0].key for path, _ in jax.tree_util.tree_leaves_with_path(hp)]
    names = frozenset(name for name, u in zip(owners, used, strict=True) if u)

    _check_state(out[0])
    _check_objective(lane, hp, out[0], batch, key)
    # Without what nothing depends on, such as the initializers of an NNX module that is built anew.
    step = _jaxpr.live(jax.make_jaxpr(lane.step)(key, np.int32(0), out[0], batch, hp))
    modes: dict[str, Any] = {}
    jax.eval_shape(lambda hp: modes.update(lane.resolve(hp).modes), hp)
    variables = (out[0].params, out[0].model_state)
    return Probe(
        used=names,
        draws=bool(_jaxpr.draws(step)),
        convolves=replaceable(closed.jaxpr),
        flops=_jaxpr.multiplications(step),
        work_bytes=_jaxpr.peak_bytes(closed),
        state_bytes=size_bytes(out[0]),
        variable_bytes=size_bytes(variables),
        modes=modes,
    )


def _whole(lane: Lane, fixed: Mapping[str, Any], hp: Mapping[str, Any], key: Any, table: Table, fed: Any) -> Any:
    """Returns what a lane's init and a first segment with its evaluation return."""
    hp = {**fixed, **hp}
    state = lane.init(key, table, hp)
    return state, advance(lane, key, state, table, hp, np.int32(0), np.int32(1), fed)


def _check_state(state: TrainState) -> None:
    """Refuses random keys where they would have to be stored."""
    for path, leaf in jax.tree_util.tree_leaves_with_path((state.params, state.model_state)):
        if is_key(leaf):
            reason = "random keys are derived from seed and step and not stored"
            raise InputError(
                "model", f"a state with a key at {path_name(path)}", reason, "Use the `key` that apply gets."
            )


def _check_objective(lane: Lane, hp: Any, state: TrainState, batch: Batch, key: Any) -> None:
    """Refuses an objective that does not weigh examples, for batches are filled up with examples of weight 0."""

    def value(weight: Any, hp: Any, params: Any, model_state: Any, batch: Batch, key: Any) -> Any:
        made = lane.resolve(hp)
        assert isinstance(made.loss, Objective)
        return made.loss(made.model.apply, params, model_state, batch._replace(weight=weight), key)[0]

    losses: list[Any] = []
    jax.eval_shape(lambda hp: losses.append(lane.resolve(hp).loss), hp)
    if isinstance(losses[0], Objective):
        weight = jax.ShapeDtypeStruct(batch.y.shape[:1], jnp.float32)
        closed = jax.make_jaxpr(value)(weight, hp, state.params, state.model_state, batch, key)
        if not _jaxpr.used_inputs(closed)[0]:
            reason = "it does not use batch.weight, which is 0 for examples that only fill a batch up"
            raise InputError("loss", "a jt.Objective", reason, "Average with batch.weight where it is not None.")


def check_ranges(lane: Lane, settings: Sequence[Mapping[str, Any]], batch: Batch) -> None:
    """Traces the model with hyperparameters as plain Python numbers, so that components see and check them.

    Raises:
      ValueError: a component refuses a number, or an infinity that no component takes to mean "off".
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    for hp in settings:
        with _check.collect_infinities() as accepted:
            made = lane.resolve(hp)
            _check_infinities(hp, accepted)

        def forward(key: Any, batch: Batch, made: Recipe = made) -> Any:
            params, state = made.model.init(key, batch.x)
            return made.optimizer.init(params), made.model.apply(params, state, batch.x, key=key, train=True)

        jax.eval_shape(forward, key, batch)


def _check_infinities(hp: Mapping[str, Any], accepted: Sequence[Any]) -> None:
    infinite = [name for name, value in hp.items() if isinstance(value, float) and math.isinf(value)]
    if len(infinite) > len(accepted):
        name = next((n for n in infinite if not any(hp[n] is a for a in accepted)), infinite[0])
        reason = 'no component that it goes to documents infinity as "off"'
        raise InputError(name, hp[name], reason, "Pass a finite number.")


def abstract(stacked: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the shapes of one lane's traced hyperparameters."""
    return {k: jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), v) for k, v in stacked.items()}


def batch_shapes(table: Table, n: int, batch_size: int) -> Batch:
    """Returns the shapes of an update's examples, of n in the table."""
    return jax.eval_shape(lambda t: take_batch(t, jnp.arange(n, dtype=jnp.int32), np.int32(0), batch_size), table)


def _named(
    error: Exception, lane: Lane, example: Mapping[str, Any], given: tuple[Any, ...], hp: Mapping[str, Any]
) -> Exception:
    """Returns the error that names the traced hyperparameters at fault, or the error itself if there are none."""

    def fails(fixed: Mapping[str, Any]) -> bool:
        rest = {k: v for k, v in hp.items() if k not in fixed}

        try:
            jax.eval_shape(ft.partial(_whole, lane, fixed), rest, *given)
        except Exception as error:
            return not isinstance(error, JaxtuneError) or isinstance(error, StaticHyperparameterError)
        return False

    if not hp or fails(example):
        return error
    guilty = [name for name in hp if fails({k: v for k, v in example.items() if k != name})]
    names = " and ".join(f"`{name}`" for name in guilty or hp)
    frames = traceback.extract_tb(error.__traceback__)
    stock = next((f for f in frames if f.filename.replace("\\", "/").endswith(_FLAX_LAYERS)), None)
    own = [f for f in frames if not f.filename.startswith(_LIBRARIES)]
    place = f" ({own[-1].filename}:{own[-1].lineno}, in {own[-1].name})" if own else ""
    cure = f"Make the axis static, a program for each value: {(guilty or list(hp))[0]}=jt.static([...])."
    if stock is not None:
        cure = f"Flax's layer ({stock.name} in {stock.filename.rsplit('/', 1)[-1]}) takes no traced rate: use jt.nn.linen.Dropout or jt.nn.nnx.Dropout. Or: {cure}"
    inner = str(error).split(". ")[0] if isinstance(error, StaticHyperparameterError) else type(error).__name__
    return StaticHyperparameterError(
        f"{names} is traced, a JAX scalar, but used where Python needs a number{place}: {inner}. {cure}"
    )
