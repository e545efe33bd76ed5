"""Exponentially weighted averages, of series and of weights."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._tree import select
from jaxtune._types import Array, Count, Float, PyTree, Scalar, ScalarLike


class EwaState(NamedTuple):
    """An exponentially weighted average on its way.

    Attributes:
      total: the weighted sum of what was seen.
      weight: the sum of the weights, `1 - decay^t` where the decay stays the same.
    """

    total: PyTree
    weight: Scalar


def ewa_start(like: PyTree) -> EwaState:
    """Returns the average before it has seen anything.

    Args:
      like: arrays of the shapes and types that will be averaged.
    """
    return EwaState(jax.tree.map(jnp.zeros_like, like), jnp.zeros(()))


def ewa_update(state: EwaState, value: PyTree, decay: ScalarLike) -> EwaState:
    """Returns the average with one more value in it: `v <- decay v + (1 - decay) x`.

    Args:
      state: the average so far.
      value: what comes next.
      decay: share of the average that is kept, in [0, 1]; may be traced, and may change.
    """
    _check.number("decay", decay, low=0.0, high=1.0)
    new = 1 - decay
    return EwaState(
        jax.tree.map(lambda v, x: decay * v + new * x, state.total, value), decay * state.weight + new * 1.0
    )


def ewa_value(state: EwaState, *, debias: bool = True) -> PyTree:
    """Returns the average, by default corrected for having begun at zero: `v / (1 - decay^t)`."""
    if not debias:
        return state.total
    weight = jnp.where(state.weight > 0, state.weight, 1.0)
    return jax.tree.map(lambda v: (v / weight).astype(v.dtype), state.total)


def ewa(values: Float[Array, "steps ..."], decay: ScalarLike, *, debias: bool = True) -> Float[Array, "steps ..."]:
    """Returns the exponentially weighted average of a series after each of its values.

    It looks back over about `1 / (1 - decay)` values: the one k steps ago has the weight `(1 - decay) decay^k`.

    Args:
      values: the series, along the leading axis.
      decay: share of the average that is kept, in [0, 1]; may be traced.
      debias: whether to correct for having begun at zero, so that a constant series is its own average.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxtune as jt
      >>> [round(float(v), 2) for v in jt.optim.ewa(jnp.array([40.0, 49.0, 45.0]), 0.9, debias=False)]
      [4.0, 8.5, 12.15]

    References:
      Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, section 3.
    """

    def step(state: EwaState, value: Array) -> tuple[EwaState, Array]:
        state = ewa_update(state, value, decay)
        return state, ewa_value(state, debias=debias)

    series = values if jnp.issubdtype(values.dtype, jnp.floating) else values.astype(jnp.result_type(float))
    return jax.lax.scan(step, ewa_start(series[0]), series)[1]


class WeightAverage(NamedTuple):
    """An average of the parameters over training, as three pure functions.

    Attributes:
      init: `init(params) -> state`.
      update: `update(state, params, step) -> state`, after every update; `step` counts updates done.
      value: `value(state, params) -> params`: the average, or the parameters as they are while there is none.
    """

    init: Callable[[PyTree], Any]
    update: Callable[[Any, PyTree, Count], Any]
    value: Callable[[Any, PyTree], PyTree]


def ema(decay: ScalarLike, *, debias: bool = True) -> WeightAverage:
    """Returns the exponential moving average of the weights.

    Args:
      decay: share of the average that an update keeps, in [0, 1]; may be traced. 0 is the weights themselves.
      debias: whether to correct for having begun at zero.

    References:
      Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 1992.
    """
    _check.number("decay", decay, low=0.0, high=1.0)

    def update(state: EwaState, params: PyTree, step: Count) -> EwaState:
        del step
        return ewa_update(state, params, decay)

    def value(state: EwaState, params: PyTree) -> PyTree:
        return select(state.weight > 0, ewa_value(state, debias=debias), params)

    return WeightAverage(ewa_start, update, value)


def swa(begin: ScalarLike, *, every: ScalarLike = 1) -> WeightAverage:
    """Returns stochastic weight averaging: the arithmetic mean of the weights at every few updates after `begin`.

    Args:
      begin: updates done before the first that is averaged, at least 0; may be traced; a fraction is left out. Until
        then the weights are their own average.
      every: updates from one to the next, at least 1; may be traced; a fraction is left out.

    References:
      Izmailov, Podoprikhin, Garipov, Vetrov, Wilson, "Averaging weights leads to wider optima and better
      generalization", UAI 2018.
    """
    _check.number("begin", begin, low=0.0)
    _check.number("every", every, low=1.0)

    def update(state: EwaState, params: PyTree, step: Count) -> EwaState:
        since = step - jnp.floor(jnp.asarray(begin))
        counts = (since > 0) & (jnp.mod(since, jnp.floor(jnp.asarray(every))) == 0)
        mean = jax.tree.map(lambda m, w: m + (w - m) / (state.weight + 1), state.total, params)
        return select(counts, EwaState(mean, state.weight + 1), state)

    def value(state: EwaState, params: PyTree) -> PyTree:
        return select(state.weight > 0, state.total, params)

    return WeightAverage(ewa_start, update, value)
