"""A learning rate that falls when the validation loss no longer does, as a state machine of one lane."""

import dataclasses
from typing import Literal, NamedTuple

import jax.numpy as jnp

from jaxtune import _check
from jaxtune._types import Count, Scalar, ScalarLike


@dataclasses.dataclass(frozen=True)
class ReduceOnPlateau:
    """When updates become smaller, and by how much; it decides at evaluations, as Keras does.

    The factor multiplies updates, which for every optimizer whose last step is its learning rate is to multiply that. What
    has to come last does not go with it: proximal steps, projections and lookahead no longer end where they should.

    Args:
      factor: what the learning rate is multiplied by, in [0, 1]; may be traced. 1 changes nothing.
      patience: evaluations without improvement after which it is, at least 1; may be traced; infinity is off.
      min_delta: an evaluation improves if it is better than the best by more than this; at least 0, may be traced.
      cooldown: evaluations after a reduction that are not waited through, at least 0; may be traced.
      least: smallest product of all factors, in [0, 1]; may be traced.
      metric: what is watched, such as `"valid_loss"` or `"valid_accuracy"`.

    Raises:
      ValueError: a number out of range.
    """

    factor: ScalarLike = 0.1
    patience: ScalarLike = 10.0
    min_delta: ScalarLike = 1e-4
    _: dataclasses.KW_ONLY
    cooldown: ScalarLike = 0.0
    least: ScalarLike = 0.0
    metric: str = "valid_loss"

    def __post_init__(self) -> None:
        _check.number("factor", self.factor, low=0.0, high=1.0)
        _check.number("patience", self.patience, low=1.0, infinity="never reduces")
        _check.number("min_delta", self.min_delta, low=0.0)
        _check.number("cooldown", self.cooldown, low=0.0)
        _check.number("least", self.least, low=0.0, high=1.0)


class PlateauState(NamedTuple):
    """What it remembers of a lane.

    Attributes:
      scale: the product of all factors so far.
      best: the best value so far, as something to minimize; infinity before the first.
      wait: evaluations since then, or since the last reduction.
      cooldown: evaluations that are still not waited through.
    """

    scale: Scalar
    best: Scalar
    wait: Count
    cooldown: Scalar


def start() -> PlateauState:
    """Returns the state before the first evaluation."""
    return PlateauState(jnp.ones(()), jnp.array(jnp.inf), jnp.array(0), jnp.zeros(()))


def observe(state: PlateauState, value: Scalar, config: ReduceOnPlateau, mode: Literal["min", "max"]) -> PlateauState:
    """Returns the state after an evaluation; a NaN is no improvement."""
    loss = jnp.asarray(value) * (1 if mode == "min" else -1)
    cooldown = jnp.maximum(state.cooldown - 1, 0.0)
    cooling = cooldown > 0
    improved = loss < state.best - config.min_delta
    # Keras forgets the wait in the last evaluation of a cooldown, too.
    waited = jnp.where(state.cooldown > 0, 0, state.wait)
    wait = jnp.where(improved, 0, jnp.where(cooling, waited, waited + 1))
    reduce = ~improved & ~cooling & (wait >= config.patience)
    least = jnp.asarray(config.least, state.scale.dtype)
    smaller = jnp.minimum(state.scale, jnp.maximum(state.scale * config.factor, least))
    return PlateauState(
        jnp.where(reduce, smaller, state.scale),
        jnp.where(improved, loss, state.best),
        jnp.where(reduce, 0, wait),
        jnp.where(reduce, jnp.asarray(config.cooldown, cooldown.dtype), cooldown),
    )
