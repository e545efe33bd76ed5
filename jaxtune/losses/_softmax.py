"""The loss of classification."""

import jax
import jax.numpy as jnp
import optax

from jaxtune._errors import InputError, InputTypeError
from jaxtune._types import Array, Float, Int


def softmax_cross_entropy(
    outputs: Float[Array, "batch classes"], y: Int[Array, " batch"] | Float[Array, "batch classes"]
) -> Float[Array, " batch"]:
    """Returns the cross-entropy of the softmax of `outputs` with the labels, in nats.

    For one example with logits z and label k the value is `log(sum_j exp(z_j)) - z_k`; shifting all logits changes
    nothing, and logits of any finite size stay finite. Soft labels are what `soft_cross_entropy` takes.

    Args:
      outputs: logits, shape (batch, classes).
      y: labels in [0, classes), an integer array of shape (batch,); or soft ones, probabilities of the outputs' shape.

    Raises:
      TypeError: `y` is neither.
      ValueError: the shapes do not fit each other.

    References:
      Bishop, *Pattern Recognition and Machine Learning*, Springer 2006, section 4.3.4.
    """
    if jnp.ndim(y) == 2 and jnp.issubdtype(jnp.result_type(y), jnp.floating):
        return soft_cross_entropy(outputs, y)
    check_labels(outputs, y)
    return optax.softmax_cross_entropy_with_integer_labels(outputs, y)


def check_labels(outputs: Array, y: Array) -> None:
    """Refuses what are no integer labels of these outputs.

    Raises:
      TypeError: `y` is not an integer array.
      ValueError: the shapes do not fit each other.
    """
    if not jnp.issubdtype(jnp.result_type(y), jnp.integer):
        raise InputTypeError(
            "y",
            str(jnp.result_type(y)),
            "this loss needs integer labels",
            "Convert the labels with y.astype('int32').",
        )
    if outputs.ndim != 2 or y.shape != outputs.shape[:1]:
        raise InputError(
            "outputs",
            (outputs.shape, y.shape),
            "this loss needs outputs of shape (batch, classes) and y of shape (batch,)",
            "Let the model return one row of logits per example.",
        )


def soft_cross_entropy(
    outputs: Float[Array, "batch classes"], y: Float[Array, "batch classes"]
) -> Float[Array, " batch"]:
    """Returns the cross-entropy of the softmax of `outputs` with probabilities, in nats: `-sum_k y_k log p_k`.

    Args:
      outputs: logits, shape (batch, classes).
      y: target probabilities of the same shape, such as those of mixed or smoothed labels.

    Raises:
      ValueError: the shapes differ.
    """
    if outputs.ndim != 2 or outputs.shape != y.shape:
        reason = "soft labels are one probability per class, of the shape of the outputs"
        raise InputError("y", (outputs.shape, y.shape), reason, "For integer labels use softmax_cross_entropy.")
    return -(y * jax.nn.log_softmax(outputs)).sum(-1)
