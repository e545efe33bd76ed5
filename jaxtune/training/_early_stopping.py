"""Early stopping as a state machine of one lane.

It decides at evaluations and follows Keras: training stops at the evaluation with which `patience` evaluations in a row
have brought no improvement.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._tree import select
from jaxtune._types import Count, Flag, PyTree, Scalar, ScalarLike


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """When to stop, and that the best parameters are kept.

    Args:
      patience: evaluations without improvement that end the training, at least 1; may be traced. Infinity is off: the
        trial runs to its end and keeps its last parameters. A finite patience that is never exhausted keeps the best.
      min_delta: an evaluation improves if it is better than the best by more than this; at least 0, may be traced.
      metric: what is watched, such as `"valid_loss"` or `"valid_accuracy"`.

    Raises:
      ValueError: `patience` below 1, or `min_delta` negative.

    References:
      Prechelt, "Early stopping, but when?", in *Neural Networks: Tricks of the Trade*, Springer 1998.
    """

    patience: ScalarLike
    min_delta: ScalarLike = 0.0
    metric: str = "valid_loss"

    def __post_init__(self) -> None:
        _check.number("patience", self.patience, low=1.0, infinity="never stops")
        _check.number("min_delta", self.min_delta, low=0.0)


class EarlyStoppingState(NamedTuple):
    """What early stopping remembers of a lane.

    Attributes:
      best: the best value so far, as something to minimize; infinity before the first.
      wait: evaluations since then.
      best_step: updates done at the best evaluation.
      best_params: parameters of that evaluation.
      best_model_state: model state of that evaluation.
    """

    best: Scalar
    wait: Count
    best_step: Count
    best_params: PyTree
    best_model_state: PyTree


def start(params: PyTree, model_state: PyTree) -> EarlyStoppingState:
    """Returns the state before the first evaluation."""
    return EarlyStoppingState(jnp.array(jnp.inf), jnp.array(0), jnp.array(0), params, model_state)


def observe(
    state: EarlyStoppingState,
    value: Scalar,
    step: Count,
    params: PyTree,
    model_state: PyTree,
    config: EarlyStopping,
    mode: Literal["min", "max"],
) -> tuple[EarlyStoppingState, Flag]:
    """Returns the state after an evaluation, and whether to stop.

    A NaN is never better than anything, and so is never kept.
    """
    loss = value if mode == "min" else -value
    improved = loss < state.best - config.min_delta
    wait = jnp.where(improved, 0, state.wait + 1)
    new = EarlyStoppingState(loss, wait, step, params, model_state)
    old = state._replace(wait=wait)
    return select(improved, new, old), wait >= config.patience


def is_on(config: EarlyStopping) -> Flag:
    """Returns whether the patience is finite."""
    return ~jnp.isinf(jnp.asarray(config.patience, jax.dtypes.canonicalize_dtype(float)))
