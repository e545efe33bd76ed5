"""The loss of classification."""

import jax.numpy as jnp
import optax

from jaxtune._errors import InputError, InputTypeError
from jaxtune._types import Array, Float, Int


def softmax_cross_entropy(outputs: Float[Array, "batch classes"], y: Int[Array, " batch"]) -> Float[Array, " batch"]:
    """Returns the cross-entropy of the softmax of `outputs` with integer labels, in nats.

    For one example with logits z and label k the value is `log(sum_j exp(z_j)) - z_k`; shifting all logits changes
    nothing, and logits of any finite size stay finite.

    Args:
      outputs: logits, shape (batch, classes).
      y: labels in [0, classes), an integer array of shape (batch,).

    Raises:
      TypeError: `y` is not an integer array.
      ValueError: the shapes do not fit each other.

    References:
      Bishop, *Pattern Recognition and Machine Learning*, Springer 2006, section 4.3.4.
    """
    if not jnp.issubdtype(jnp.result_type(y), jnp.integer):
        raise InputTypeError(
            "y",
            str(jnp.result_type(y)),
            "softmax cross-entropy needs integer labels",
            "Convert the labels with y.astype('int32').",
        )
    if outputs.ndim != 2 or y.shape != outputs.shape[:1]:
        raise InputError(
            "outputs",
            (outputs.shape, y.shape),
            "softmax cross-entropy needs outputs of shape (batch, classes) and y of shape (batch,)",
            "Let the model return one row of logits per example.",
        )
    return optax.softmax_cross_entropy_with_integer_labels(outputs, y)
