"""Losses of yes and no, and of margins."""

import jax
import jax.numpy as jnp

from jaxtune._errors import InputError
from jaxtune._types import Array, Float, Int
from jaxtune.losses._softmax import check_labels


def sigmoid_cross_entropy(outputs: Float[Array, "batch ..."], y: Array) -> Float[Array, " batch"]:
    """Returns the cross-entropy of the sigmoid of `outputs` with labels in [0, 1], in nats, summed over the labels.

    For a logit z and a label y the value is `log(1 + exp(z)) - y z`.

    Args:
      outputs: logits, shape (batch, labels), (batch, 1) or (batch,).
      y: labels of the same number, 0 and 1 or probabilities.

    Raises:
      ValueError: the numbers of labels differ.
    """
    z, labels = outputs.reshape(outputs.shape[0], -1), y.reshape(y.shape[0], -1)
    if z.shape != labels.shape:
        reason = "the sigmoid cross-entropy needs one output per label"
        raise InputError("outputs", (outputs.shape, y.shape), reason, "Give the model as many outputs as labels.")
    return (jax.nn.softplus(z) - z * labels).sum(-1)


def hinge(outputs: Float[Array, "batch classes"], y: Int[Array, " batch"]) -> Float[Array, " batch"]:
    """Returns the hinge loss `max(0, 1 + max_(k != y) z_k - z_y)`, that of support vector machines.

    Args:
      outputs: scores, shape (batch, classes) with at least two classes.
      y: integer labels, shape (batch,).

    References:
      Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based vector machines", JMLR 2001.
    """
    check_labels(outputs, y)
    own = jax.nn.one_hot(y, outputs.shape[-1], dtype=bool)
    of_label = jnp.where(own, outputs, 0).sum(-1)
    of_others = jnp.where(own, -jnp.inf, outputs).max(-1)
    return jnp.maximum(0, 1 + of_others - of_label)
