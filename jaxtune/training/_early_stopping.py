"""Early stopping as a state machine of one lane.

It decides at evaluations. With a patience it follows Keras: training stops at the evaluation with which `patience`
evaluations in a row have brought no improvement. Prechelt's two criteria stop by how far the loss has risen.
"""

import dataclasses
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._tree import select
from jaxtune._types import Array, Count, Flag, Float, PyTree, Scalar, ScalarLike

_OFF = float("inf")  # an object of its own: what is left at its default is not an infinity that somebody passed


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """When to stop, and that the best parameters are kept.

    Any one of the criteria stops a trial; infinity is off. If all are off the trial runs to its end and keeps its last
    parameters; else the best are kept, whether or not it was stopped.

    With E the watched loss and E_opt the lowest so far, `GL = 100 (E / E_opt - 1)`; with the mean and the minimum of the
    last few training losses, `P = 1000 (mean / minimum - 1)`.

    Args:
      patience: evaluations without improvement that end the training, at least 1; may be traced.
      min_delta: an evaluation improves if it is better than the best by more than this; at least 0, may be traced.
      metric: what is watched, such as `"valid_loss"` or `"valid_accuracy"`.
      start: updates done before which evaluations are not looked at; at least 0, may be traced.
      baseline: what an improvement has to be better than, too, to be waited for; may be traced.
      generalization_loss: stops where GL, in percent, is above this; at least 0, may be traced. For losses.
      progress_quotient: stops where GL / P is above this; at least 0, may be traced. For losses.
      strip: evaluations whose training losses make P, at least 2.

    Raises:
      ValueError: `patience` below 1, or another number out of range.

    References:
      Prechelt, "Early stopping, but when?", in *Neural Networks: Tricks of the Trade*, Springer 1998.
    """

    patience: ScalarLike = _OFF
    min_delta: ScalarLike = 0.0
    metric: str = "valid_loss"
    _: dataclasses.KW_ONLY
    start: ScalarLike = 0.0
    baseline: ScalarLike = _OFF
    generalization_loss: ScalarLike = _OFF
    progress_quotient: ScalarLike = _OFF
    strip: int = 5

    def __post_init__(self) -> None:
        for name, low in (("patience", 1.0), ("generalization_loss", 0.0), ("progress_quotient", 0.0)):
            if (limit := getattr(self, name)) is not _OFF:
                _check.number(name, limit, low=low, infinity="never stops")
        if self.baseline is not _OFF:
            _check.number("baseline", self.baseline, infinity="asks for nothing")
        _check.number("min_delta", self.min_delta, low=0.0)
        _check.number("start", self.start, low=0.0)
        _check.count("strip", self.strip, low=2)


class EarlyStoppingState(NamedTuple):
    """What early stopping remembers of a lane.

    Attributes:
      best: the best value so far, as something to minimize; infinity before the first.
      wait: evaluations since then.
      best_step: updates done at the best evaluation.
      best_params: parameters of that evaluation.
      best_model_state: model state of that evaluation.
      recent: the last training losses, NaN where there was none.
    """

    best: Scalar
    wait: Count
    best_step: Count
    best_params: PyTree
    best_model_state: PyTree
    recent: Float[Array, " strip"]


def start(params: PyTree, model_state: PyTree, strip: int = 5) -> EarlyStoppingState:
    """Returns the state before the first evaluation."""
    recent = jnp.full(strip, jnp.nan)
    return EarlyStoppingState(jnp.array(jnp.inf), jnp.array(0), jnp.array(0), params, model_state, recent)


def observe(
    state: EarlyStoppingState,
    value: Scalar,
    step: Count,
    params: PyTree,
    model_state: PyTree,
    config: EarlyStopping,
    mode: Literal["min", "max"],
    train_loss: Scalar | float = math.nan,
) -> tuple[EarlyStoppingState, Flag]:
    """Returns the state after an evaluation, and whether to stop.

    A NaN is never better than anything, and so is never kept.

    Raises:
      ValueError: one of Prechelt's criteria is on, and the metric is none to minimize.
    """
    if mode == "max" and not (_is_off(config.generalization_loss) and _is_off(config.progress_quotient)):
        reason = "generalization_loss and progress_quotient are shares of a loss"
        raise InputError("early_stopping.metric", config.metric, reason, "Watch 'valid_loss'.")
    sign = 1 if mode == "min" else -1
    loss = sign * jnp.asarray(value)
    counts = jnp.asarray(step) >= jnp.asarray(config.start)
    improved = counts & (loss < state.best - config.min_delta)
    asked = jnp.asarray(config.baseline, loss.dtype)
    beats = jnp.isinf(asked) | (loss < sign * asked - config.min_delta)
    wait = jnp.where(counts, jnp.where(improved & beats, 0, state.wait + 1), state.wait)

    recent = jnp.concatenate([state.recent[1:], jnp.asarray(train_loss, state.recent.dtype)[None]])
    lowest = jnp.minimum(state.best, loss)
    risen = 100 * (loss / lowest - 1)
    progress = 1000 * (recent.mean() / recent.min() - 1)
    too_far = (risen > config.generalization_loss) | (risen > config.progress_quotient * progress)
    stop = counts & (~improved & (wait >= config.patience) | too_far)

    new = EarlyStoppingState(loss, wait, step, params, model_state, recent)
    return select(improved, new, state._replace(wait=wait, recent=recent)), stop


def is_on(config: EarlyStopping) -> Flag:
    """Returns whether any criterion is on."""
    limits = (config.patience, config.generalization_loss, config.progress_quotient)
    return jnp.stack([~jnp.isinf(jnp.asarray(x, jax.dtypes.canonicalize_dtype(float))) for x in limits]).any()


def _is_off(limit: ScalarLike) -> bool:
    return isinstance(limit, (int, float)) and math.isinf(limit)
