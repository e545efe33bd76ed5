"""Relatives of softmax cross-entropy: softer targets, uneven classes, and less weight for what is easy."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._types import Array, ArrayLike, ExampleFn, Float, Int, ScalarLike
from jaxtune.losses._softmax import check_labels, softmax_cross_entropy


def label_smoothing(rate: ScalarLike) -> ExampleFn:
    """Returns softmax cross-entropy with targets `(1 - rate) one_hot(y) + rate / classes`.

    Args:
      rate: share of the target that goes to all classes alike, in [0, 1]; may be traced. 0 is softmax cross-entropy.

    References:
      Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception architecture for computer vision", CVPR 2016.
    """
    _check.number("rate", rate, low=0.0, high=1.0)

    def loss(outputs: Float[Array, "batch classes"], y: Int[Array, " batch"]) -> Float[Array, " batch"]:
        to_all = -jax.nn.log_softmax(outputs).mean(-1)
        return (1 - rate) * softmax_cross_entropy(outputs, y) + rate * to_all

    return loss


def class_weighted(weights: Sequence[ScalarLike] | ArrayLike, loss: ExampleFn = softmax_cross_entropy) -> ExampleFn:
    """Returns a loss times the weight of the example's class.

    The mean is over examples, as in Keras; PyTorch divides by the sum of the weights.

    Args:
      weights: one per class, at least 0; may be traced.
      loss: a loss of integer labels.
    """
    _check.sequence("weights", weights)
    table = weights if isinstance(weights, (list, tuple)) else list(jnp.asarray(weights))
    for i, weight in enumerate(table):
        _check.number(f"weights[{i}]", weight, low=0.0)

    def weighted(outputs: Float[Array, "batch classes"], y: Int[Array, " batch"]) -> Float[Array, " batch"]:
        check_labels(outputs, y)
        if outputs.shape[-1] != len(table):
            reason = f"the outputs have {outputs.shape[-1]} classes"
            raise InputError("weights", f"{len(table)} weights", reason, "Pass one weight per class.")
        return loss(outputs, y) * jnp.stack([jnp.asarray(w, outputs.dtype) for w in table])[y]

    return weighted


def focal(gamma: ScalarLike) -> ExampleFn:
    """Returns the focal loss `-(1 - p)^gamma log p`, with p the probability of the label: easy examples count less.

    Args:
      gamma: at least 0; may be traced. 0 is softmax cross-entropy.

    References:
      Lin, Goyal, Girshick, He, Dollar, "Focal loss for dense object detection", ICCV 2017.
    """
    _check.number("gamma", gamma, low=0.0)

    def loss(outputs: Float[Array, "batch classes"], y: Int[Array, " batch"]) -> Float[Array, " batch"]:
        check_labels(outputs, y)
        surprise = softmax_cross_entropy(outputs, y)
        missing = -jnp.expm1(-surprise)  # 1 - p, which may be 0
        some = missing > 0
        # At 0 the factor is 1 for gamma = 0 and else 0; the loss is 0 either way.
        return jnp.where(some, jnp.where(some, missing, 1.0) ** gamma, 1.0) * surprise

    return loss
