"""Metrics of how well probabilities and predictions fit."""

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._types import Array, Scalar
from jaxtune.metrics._metric import Metric


def calibration_error(bins: int = 15) -> Metric:
    """Returns the expected calibration error: over bins of confidence, the mean of |accuracy - confidence|.

    Confidence is the largest probability of the softmax; bins have equal widths, and count by their examples.

    Args:
      bins: their number.

    References:
      Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML 2017.
    """
    bins = _check.count("bins", bins)

    def update(state: Array, outputs: Array, y: Array, weight: Array) -> Array:
        confidence = jax.nn.softmax(outputs).max(-1)
        right = (jnp.argmax(outputs, axis=-1) == y).astype(weight.dtype)
        # A bin holds its upper edge, not its lower one.
        which = jnp.clip(jnp.ceil(confidence * bins).astype(jnp.int32) - 1, 0, bins - 1)
        rows = jnp.stack([weight, weight * confidence, weight * right])
        return state + rows @ jax.nn.one_hot(which, bins, dtype=weight.dtype)

    def compute(state: Array) -> Scalar:
        seen, confidence, right = state
        return jnp.abs(right - confidence).sum() / seen.sum()

    return Metric(lambda: jnp.zeros((3, bins)), update, compute, "min")


def r2(targets: int = 1) -> Metric:
    """Returns the coefficient of determination, `1 - sum (y - f)^2 / sum (y - mean y)^2`, averaged over the targets.

    For targets that are all the same it is 1 where they are met exactly, else 0, as in scikit-learn.

    Args:
      targets: numbers that are predicted for an example.
    """
    targets = _check.count("targets", targets)

    def update(state: tuple[Array, ...], outputs: Array, y: Array, weight: Array) -> tuple[Array, ...]:
        seen, mean, spread, errors = state
        f, t = outputs.reshape(weight.size, targets), y.reshape(weight.size, targets)
        w = weight[:, None]
        n = weight.sum()
        # Mean and spread of both parts together, by Chan's formula: sums of squares would cancel.
        own = (w * t).sum(0) / jnp.maximum(n, 1e-30)
        shift = own - mean
        total = seen + n
        share = n / jnp.maximum(total, 1e-30)
        within = jnp.where(w > 0, w * jnp.square(t - own[None]), 0.0).sum(0)
        spread = spread + within + jnp.square(shift) * seen * share
        return total, mean + shift * share, spread, errors + jnp.where(w > 0, w * jnp.square(t - f), 0.0).sum(0)

    def compute(state: tuple[Array, ...]) -> Scalar:
        seen, mean, spread, errors = state
        varies = spread > seen * jnp.square(2 * jnp.finfo(mean.dtype).eps * mean)  # more than their rounding
        return jnp.where(varies, 1 - errors / jnp.where(varies, spread, 1.0), (errors == 0).astype(errors.dtype)).mean()

    def init() -> tuple[Array, ...]:
        return jnp.zeros(()), jnp.zeros(targets), jnp.zeros(targets), jnp.zeros(targets)

    return Metric(init, update, compute, "max")
