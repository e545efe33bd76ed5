"""The loss of regression."""

import jax.numpy as jnp

from jaxtune._errors import InputError
from jaxtune._types import Array, Float


def squared_error(outputs: Float[Array, "batch ..."], y: Float[Array, "batch ..."]) -> Float[Array, " batch"]:
    """Returns the squared error of each example: the sum of `(outputs - y)**2` over the targets.

    Args:
      outputs: predictions, shape (batch, targets) or (batch,).
      y: targets of the same shape; (batch,) and (batch, 1) fit each other.

    Raises:
      ValueError: the numbers of targets differ.

    References:
      Hastie, Tibshirani, Friedman, *The Elements of Statistical Learning*, Springer 2009, section 3.2.
    """
    return jnp.square(residuals(outputs, y)).sum(axis=-1)


def residuals(outputs: Float[Array, "batch ..."], y: Float[Array, "batch ..."]) -> Float[Array, "batch targets"]:
    """Returns `outputs - y`, one row per example.

    Raises:
      ValueError: the numbers of targets differ.
    """
    flat, target = outputs.reshape(outputs.shape[0], -1), y.reshape(y.shape[0], -1)
    if flat.shape != target.shape:
        raise InputError(
            "outputs",
            (outputs.shape, y.shape),
            "this loss needs one output per target",
            "Give the model hp.run.outputs outputs; for classification pass integer labels (y.astype('int32')).",
        )
    return flat - target
