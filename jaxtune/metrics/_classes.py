"""Metrics that tell classes apart: counts of what was taken for what."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._types import Array, ExampleFn, Float, Int, Scalar
from jaxtune.metrics._metric import Metric


def top_k(k: int) -> ExampleFn:
    """Returns the metric that is 1 where the label is among the k largest outputs, else 0.

    Args:
      k: at least 1; a Python int.
    """
    k = _check.count("k", k)

    def fn(outputs: Float[Array, "batch classes"], y: Int[Array, " batch"]) -> Float[Array, " batch"]:
        if k > outputs.shape[-1]:
            reason = f"there are {outputs.shape[-1]} classes, so that it would be 1 always"
            raise InputError("k", k, reason, "Choose a smaller k.")
        own = jnp.take_along_axis(outputs, y[:, None], axis=-1)
        # Of equal outputs the first count, as in accuracy.
        before = jnp.arange(outputs.shape[-1])[None, :] < y[:, None]
        ahead = (outputs > own) | ((outputs == own) & before)
        return (ahead.sum(-1) < k).astype(jnp.float32)

    return fn


def confusion_matrix(
    outputs: Float[Array, "batch classes"], y: Int[Array, " batch"], weight: Float[Array, " batch"] | None = None
) -> Float[Array, "classes classes"]:
    """Returns how many examples of each label (row) were taken for each class (column).

    Args:
      outputs: logits or probabilities, shape (batch, classes).
      y: integer labels, shape (batch,).
      weight: what an example counts; None is 1.
    """
    classes = outputs.shape[-1]
    counts = jnp.ones(y.shape) if weight is None else weight
    taken_for = jax.nn.one_hot(jnp.argmax(outputs, axis=-1), classes)
    return jax.nn.one_hot(y, classes).T @ (taken_for * counts[:, None])


def precision(label: int) -> Metric:
    """Returns the share of examples taken for this label that are of it: TP / (TP + FP); 0 where none is.

    Args:
      label: the class, counted from 0.
    """
    return _of_label(label, lambda tp, fp, fn: _share(tp, tp + fp))


def recall(label: int) -> Metric:
    """Returns the share of examples of this label that are taken for it: TP / (TP + FN); 0 where there is none.

    Args:
      label: the class, counted from 0.
    """
    return _of_label(label, lambda tp, fp, fn: _share(tp, tp + fn))


def f1(label: int) -> Metric:
    """Returns the harmonic mean of precision and recall of a label: 2 TP / (2 TP + FP + FN); 0 where all are 0.

    Args:
      label: the class, counted from 0.
    """
    return _of_label(label, lambda tp, fp, fn: _share(2 * tp, 2 * tp + fp + fn))


def macro_f1(classes: int) -> Metric:
    """Returns the mean of F1 over all classes.

    Args:
      classes: their number.
    """
    classes = _check.count("classes", classes, low=2)

    def update(state: Array, outputs: Array, y: Array, weight: Array) -> Array:
        return state + confusion_matrix(outputs, y, weight)

    def compute(counts: Array) -> Scalar:
        tp = jnp.diag(counts)
        return _share(2 * tp, counts.sum(0) + counts.sum(1)).mean()

    return Metric(lambda: jnp.zeros((classes, classes)), update, compute, "max")


def _of_label(label: int, compute: Callable[[Scalar, Scalar, Scalar], Scalar]) -> Metric:
    label = _check.count("label", label, low=0)

    def update(state: Array, outputs: Array, y: Array, weight: Array) -> Array:
        if label >= outputs.shape[-1]:
            raise InputError("label", label, f"there are {outputs.shape[-1]} classes", "Count them from 0.")
        taken, real = jnp.argmax(outputs, axis=-1) == label, y == label
        counts = jnp.stack([taken & real, taken & ~real, ~taken & real]).astype(weight.dtype)
        return state + counts @ weight

    return Metric(lambda: jnp.zeros(3), update, lambda state: compute(*state), "max")


def _share(part: Array, whole: Array) -> Array:
    return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1.0), 0.0)
