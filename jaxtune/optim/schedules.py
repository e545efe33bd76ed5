"""Learning-rate schedules whose every argument may be traced: `jt.optim.schedules.cosine(...)`.

Optax's own schedules take Python's numbers for steps, peaks and rates. These take tracers too, give Optax's values where
Optax has the same schedule, and serve as any Optax learning rate does. Counts are updates done before, from 0.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._types import Array, Count, Scalar, ScalarLike
from jaxtune.optim._kind import Schedule


def constant(value: ScalarLike) -> Schedule:
    """Returns the schedule that is always `value`.

    Args:
      value: at least 0; may be traced, as all that follows here.
    """
    value = _rate("value", value)
    return lambda count: _float(value)


def polynomial(
    start: ScalarLike, end: ScalarLike, power: ScalarLike, steps: ScalarLike, *, begin: ScalarLike = 0
) -> Schedule:
    """Returns a polynomial from `start` to `end`: `(start - end) (1 - t / steps)^power + end`.

    Args:
      start: value up to `begin`.
      end: value from `begin + steps` on.
      power: 1 is a straight line; above 0.
      steps: updates from start to end, at least 1.
      begin: updates before.
    """
    start, end = _rate("start", start), _rate("end", end)
    _check.number("power", power, low=0.0, exclusive=True)
    steps, begin = _steps("steps", steps), _rate("begin", begin)

    def schedule(count: Count) -> Scalar:
        left = 1 - jnp.clip(_float(count) - begin, 0, steps) / steps
        return (start - end) * _power(left, power) + end

    return schedule


def linear(start: ScalarLike, end: ScalarLike, steps: ScalarLike, *, begin: ScalarLike = 0) -> Schedule:
    """Returns a straight line from `start` to `end`.

    Args:
      start: value up to `begin`.
      end: value from `begin + steps` on.
      steps: updates from start to end, at least 1.
      begin: updates before.
    """
    return polynomial(start, end, 1.0, steps, begin=begin)


def step_decay(start: ScalarLike, factor: ScalarLike, every: ScalarLike) -> Schedule:
    """Returns a staircase: `start factor^floor(t / every)`.

    Args:
      start: value of the first stair.
      factor: from stair to stair.
      every: updates on a stair, at least 1.
    """
    return exponential(start, factor, every, staircase=True)


def exponential(
    start: ScalarLike,
    rate: ScalarLike,
    steps: ScalarLike,
    *,
    begin: ScalarLike = 0,
    staircase: bool = False,
    end: ScalarLike | None = None,
) -> Schedule:
    """Returns exponential decay, `start rate^(t / steps)`; the course's `0.95^epoch` with `steps` an epoch's.

    Args:
      start: value up to `begin`.
      rate: factor of `steps` updates.
      steps: updates in which the value changes by `rate`, at least 1.
      begin: updates before.
      staircase: whether it changes only every `steps` updates.
      end: where it stops: a lower bound for a rate below 1, an upper one above; None is no bound.
    """
    start, rate, begin = _rate("start", start), _rate("rate", rate), _rate("begin", begin)
    steps, end = _steps("steps", steps), None if end is None else _rate("end", end)

    def schedule(count: Count) -> Scalar:
        t = _float(count) - begin
        periods = jnp.floor(t / steps) if staircase else t / steps
        value = jnp.where(t <= 0, start, start * jnp.power(_float(rate), jnp.maximum(periods, 0)))
        if end is None:
            return value
        return jnp.where(_float(rate) < 1, jnp.maximum(value, end), jnp.minimum(value, end))

    return schedule


def inverse_time(start: ScalarLike, decay: ScalarLike, *, steps: ScalarLike = 1, staircase: bool = False) -> Schedule:
    """Returns inverse time decay, `start / (1 + decay t / steps)`; the course's with an epoch's `steps` and a staircase.

    Args:
      start: value at first.
      decay: how much the divisor grows in `steps` updates; at least 0.
      steps: updates of an epoch, say; at least 1.
      staircase: whether it changes only every `steps` updates.

    Example:
      >>> import jaxtune as jt
      >>> schedule = jt.optim.schedules.inverse_time(0.2, 1.0, steps=10, staircase=True)
      >>> [round(float(schedule(t)), 4) for t in (0, 9, 10, 20, 30)]
      [0.2, 0.2, 0.1, 0.0667, 0.05]
    """
    start, decay, steps = _rate("start", start), _rate("decay", decay), _steps("steps", steps)

    def schedule(count: Count) -> Scalar:
        periods = _float(count) / steps
        return start / (1 + decay * (jnp.floor(periods) if staircase else periods))

    return schedule


def inverse_power(start: ScalarLike, power: ScalarLike, *, steps: ScalarLike = 1) -> Schedule:
    """Returns `start (1 + t / steps)^-power`.

    Args:
      start: value at first.
      power: how fast it falls, at least 0; 1 is inverse time.
      steps: updates of an epoch, say; at least 1.
    """
    start, power, steps = _rate("start", start), _rate("power", power), _steps("steps", steps)
    return lambda count: start * jnp.power(1 + _float(count) / steps, -_float(power))


def inverse_sqrt(start: ScalarLike, *, steps: ScalarLike = 1) -> Schedule:
    """Returns `start sqrt(steps / max(t, steps))`, which is constant for `steps` updates.

    Args:
      start: value for the first `steps` updates.
      steps: updates of an epoch, or of a warm-up; at least 1.
    """
    start, steps = _rate("start", start), _steps("steps", steps)
    return lambda count: start * jnp.sqrt(steps / jnp.maximum(_float(count), steps))


def cosine(start: ScalarLike, steps: ScalarLike, *, alpha: ScalarLike = 0.0, exponent: ScalarLike = 1.0) -> Schedule:
    """Returns cosine decay, `start ((1 - alpha) (1/2 + 1/2 cos(pi t / steps))^exponent + alpha)`.

    Args:
      start: value at first.
      steps: updates until the end, at least 1.
      alpha: share of `start` that is left at the end.
      exponent: bends the curve; 1 is the cosine.

    References:
      Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.
    """
    start, steps = _rate("start", start), _steps("steps", steps)
    alpha, exponent = _rate("alpha", alpha), _rate("exponent", exponent)

    def schedule(count: Count) -> Scalar:
        share = jnp.minimum(_float(count), steps) / steps
        return start * _cosine(share, alpha, exponent)

    return schedule


def warm_restarts(
    start: ScalarLike, period: ScalarLike, *, factor: ScalarLike = 2.0, alpha: ScalarLike = 0.0
) -> Schedule:
    """Returns cosine decay that begins anew after `period` updates, then after `factor` times as many, and so on.

    Args:
      start: value at the beginning of every cycle.
      period: updates of the first cycle, at least 1.
      factor: of a cycle's length to that of the one before, at least 1.
      alpha: share of `start` that is left at the end of a cycle.

    References:
      Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.
    """
    start, period, alpha = _rate("start", start), _steps("period", period), _rate("alpha", alpha)
    _check.number("factor", factor, low=1.0)

    def begin(cycle: Array) -> Array:
        """Returns the updates before a cycle: period (1 + factor + factor^2 + ...)."""
        growth = _float(factor) - 1
        several = jnp.where(growth > 0, growth, 1.0)
        return period * jnp.where(growth > 0, (jnp.power(_float(factor), cycle) - 1) / several, cycle)

    def schedule(count: Count) -> Scalar:
        t = _float(count)
        growth = _float(factor) - 1
        several = jnp.where(growth > 0, growth, 1.0)
        cycle = jnp.floor(jnp.where(growth > 0, jnp.log1p(t * several / period) / jnp.log1p(several), t / period))
        # Rounding may miss a boundary by one cycle.
        cycle = cycle + (t >= begin(cycle + 1)).astype(t.dtype) - (t < begin(cycle)).astype(t.dtype)
        share = (t - begin(cycle)) / (begin(cycle + 1) - begin(cycle))
        return start * _cosine(jnp.clip(share, 0.0, 1.0), alpha, 1.0)

    return schedule


def warm_up(schedule: Schedule, steps: ScalarLike, *, start: ScalarLike = 0.0) -> Schedule:
    """Returns a straight line from `start` to what the schedule begins with, and then the schedule.

    Args:
      schedule: what follows; it sees the updates done since.
      steps: updates of the warm-up, at least 1.
      start: value at first.

    References:
      Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", arXiv:1706.02677, 2017.
    """
    steps, start = _steps("steps", steps), _rate("start", start)

    def warmed(count: Count) -> Scalar:
        t = _float(count)
        rise = start + (schedule(jnp.zeros((), jnp.int32)) - start) * jnp.minimum(t, steps) / steps
        return jnp.where(t < steps, rise, schedule(jnp.maximum(t - steps, 0.0)))

    return warmed


def warm_up_cosine(
    start: ScalarLike,
    peak: ScalarLike,
    warm_up_steps: ScalarLike,
    steps: ScalarLike,
    *,
    end: ScalarLike = 0.0,
    exponent: ScalarLike = 1.0,
) -> Schedule:
    """Returns a straight line up from `start` to `peak`, then a cosine down to `end`.

    Args:
      start: value at first.
      peak: value after the warm-up, above 0.
      warm_up_steps: updates of the warm-up, at least 1.
      steps: updates until the end, the warm-up included.
      end: value at the end.
      exponent: bends the cosine.
    """
    peak, end = _rate("peak", peak), _rate("end", end)
    rest = _steps("steps", steps - warm_up_steps)

    def after(count: Count) -> Scalar:
        alpha = end / jnp.where(_float(peak) > 0, _float(peak), 1.0)  # here, for outside it would start JAX
        return cosine(peak, rest, alpha=alpha, exponent=exponent)(count)

    return warm_up(after, warm_up_steps, start=start)


def one_cycle(
    peak: ScalarLike,
    steps: ScalarLike,
    *,
    rise: ScalarLike = 0.3,
    div: ScalarLike = 25.0,
    final_div: ScalarLike = 1e4,
) -> Schedule:
    """Returns one cycle: a cosine up from `peak / div` to `peak`, and one down to `peak / (div final_div)`.

    Args:
      peak: the highest value.
      steps: updates of the whole, at least 1.
      rise: share of the updates that lead up, in (0, 1).
      div: of the peak to the first value.
      final_div: of the first value to the last.

    References:
      Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2019.
    """
    peak, steps = _rate("peak", peak), _steps("steps", steps)
    _check.number("rise", rise, low=0.0, high=1.0)
    div, final_div = _steps("div", div), _steps("final_div", final_div)

    def schedule(count: Count) -> Scalar:
        t, top = _float(count), jnp.floor(_float(rise) * steps)
        first, last = peak / div, peak / (div * final_div)
        up = _between(first, peak, jnp.clip(t / jnp.maximum(top, 1), 0.0, 1.0))
        down = _between(peak, last, jnp.clip((t - top) / jnp.maximum(steps - top, 1), 0.0, 1.0))
        return jnp.where(t < top, up, down)

    return schedule


def piecewise(values: Sequence[ScalarLike], boundaries: Sequence[ScalarLike]) -> Schedule:
    """Returns a staircase of given values: `values[i]` from update `boundaries[i - 1]` on.

    Args:
      values: one more than there are boundaries.
      boundaries: updates done when the next value begins, ascending.

    Raises:
      ValueError: numbers of values and boundaries do not fit.
    """
    _check.sequence("values", values)
    _check.sequence("boundaries", boundaries)
    if len(values) != len(boundaries) + 1:
        reason = f"{len(boundaries)} boundaries make {len(boundaries) + 1} pieces"
        raise InputError("values", values, reason, "Pass one value more than boundaries.")
    values = [_rate(f"values[{i}]", v) for i, v in enumerate(values)]
    boundaries = [_rate(f"boundaries[{i}]", b) for i, b in enumerate(boundaries)]

    def schedule(count: Count) -> Scalar:
        t, value = _float(count), _float(values[0])
        for boundary, later in zip(boundaries, values[1:], strict=True):
            value = jnp.where(t >= boundary, later, value)
        return value

    return schedule


def _float(value: Any) -> Array:
    return jnp.asarray(value, jnp.result_type(float))


def _rate(name: str, value: Any) -> Any:
    return _check.number(name, value, low=0.0)


def _steps(name: str, value: Any) -> Any:
    return _check.number(name, value, low=1.0)


def _power(base: Array, exponent: ScalarLike) -> Array:
    """Returns base^exponent for bases of at least 0, with finite derivatives at 0."""
    positive = base > 0
    return jnp.where(positive, jnp.power(jnp.where(positive, base, 1.0), _float(exponent)), 0.0)


def _cosine(share: Array, alpha: ScalarLike, exponent: ScalarLike) -> Array:
    return (1 - alpha) * _power(0.5 * (1 + jnp.cos(jnp.pi * share)), exponent) + alpha


def _between(start: ScalarLike, end: ScalarLike, share: Array) -> Array:
    return end + (start - end) / 2 * (jnp.cos(jnp.pi * share) + 1)
