"""Losses of regression that large errors move less."""

import jax.numpy as jnp

from jaxtune import _check
from jaxtune._types import Array, ExampleFn, Float, ScalarLike
from jaxtune.losses._squared import residuals


def absolute_error(outputs: Float[Array, "batch ..."], y: Float[Array, "batch ..."]) -> Float[Array, " batch"]:
    """Returns the absolute error of each example: the sum of `|outputs - y|` over the targets.

    Args:
      outputs: predictions, shape (batch, targets) or (batch,).
      y: targets of the same shape; (batch,) and (batch, 1) fit each other.

    Raises:
      ValueError: the numbers of targets differ.
    """
    r = residuals(outputs, y)
    return (r * jnp.sign(r)).sum(-1)  # not jnp.abs, whose gradient at 0 is 1


def huber(delta: ScalarLike = 1.0) -> ExampleFn:
    """Returns the Huber loss, `r^2 / 2` for errors up to `delta` and `delta (|r| - delta / 2)` beyond.

    Args:
      delta: above 0; may be traced.

    References:
      Huber, "Robust estimation of a location parameter", Ann. Math. Stat. 1964.
    """
    _check.number("delta", delta, low=0.0, exclusive=True)

    def loss(outputs: Float[Array, "batch ..."], y: Float[Array, "batch ..."]) -> Float[Array, " batch"]:
        size = jnp.abs(residuals(outputs, y))
        near = jnp.minimum(size, delta)
        return (0.5 * near**2 + delta * (size - near)).sum(-1)

    return loss
