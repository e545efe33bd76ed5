"""The share of right answers."""

import jax.numpy as jnp

from jaxtune._types import Array, Float, Int


def accuracy(outputs: Float[Array, "batch classes"], y: Int[Array, " batch"]) -> Float[Array, " batch"]:
    """Returns 1 where the largest output is the label's, else 0; the mean is the accuracy in [0, 1].

    Args:
      outputs: logits or probabilities, shape (batch, classes); of equal ones the first counts.
      y: labels, integers of shape (batch,).
    """
    return (jnp.argmax(outputs, axis=-1) == y).astype(jnp.float32)
