"""Input normalization, fitted on the training split inside the program that trains.

Nothing that is fitted can see another split, for it is handed the training examples alone.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._types import Array, PyTree, ScalarLike

Per = Literal["entry", "channel", "all"]
"""What has its own statistics: every entry of an example, every channel (the last axis), or nothing."""


class Normalization(NamedTuple):
    """A change of inputs whose numbers come from the training split.

    Attributes:
      fit: `fit(x) -> statistics`, of training inputs along a leading axis.
      apply: `apply(statistics, x) -> x`, of inputs along a leading axis.
    """

    fit: Callable[[PyTree], PyTree]
    apply: Callable[[PyTree, PyTree], PyTree]


def standardize(*, per: Per = "entry") -> Normalization:
    """Returns the normalization to mean 0 and standard deviation 1: `(x - mean) / std`.

    What is constant in the training split becomes 0.

    Args:
      per: what has its own mean and standard deviation.

    References:
      LeCun, Bottou, Orr, Müller, "Efficient BackProp", in *Neural Networks: Tricks of the Trade*, Springer 1998.
    """
    axes = _axes_of(per)

    def fit(x: Array) -> Any:
        x = _as_float(x)
        mean = _mean(x, axes(x))
        return mean, jnp.sqrt(jnp.square(x - mean).mean(axes(x), keepdims=True))

    def apply(statistics: Any, x: Array) -> Array:
        mean, std = statistics
        varies = std > 0
        scaled = (_as_float(x) - mean) / jnp.where(varies, std, 1.0)
        return jnp.where(varies, scaled, 0.0)

    return _leaf_by_leaf(fit, apply)


def min_max(low: ScalarLike = 0.0, high: ScalarLike = 1.0, *, per: Per = "entry") -> Normalization:
    """Returns the normalization that takes the training split's minimum to `low` and its maximum to `high`.

    What is constant in the training split becomes `low`; other splits may lie outside.

    Args:
      low: may be traced.
      high: may be traced.
      per: what has its own minimum and maximum.
    """
    _check.number("low", low)
    _check.number("high", high)
    axes = _axes_of(per)

    def fit(x: Array) -> Any:
        x = _as_float(x)
        return x.min(axes(x), keepdims=True), x.max(axes(x), keepdims=True)

    def apply(statistics: Any, x: Array) -> Array:
        least, most = statistics
        varies = most > least
        share = (_as_float(x) - least) / jnp.where(varies, most - least, 1.0)
        return low + (high - low) * jnp.where(varies, share, 0.0)

    return _leaf_by_leaf(fit, apply)


def whiten(eps: ScalarLike = 1e-5) -> Normalization:
    """Returns the normalization to mean 0 and the identity as covariance, by `(V diag(l + e)^(-1/2) V') (x - mean)`.

    V and l are eigenvectors and eigenvalues of the training split's covariance, and e is `eps` times the mean of l. Of
    all whitenings this one (ZCA) changes the inputs least.

    Args:
      eps: what is added to the eigenvalues, as a share of their mean; above 0; may be traced.

    References:
      Kessy, Lewin, Strimmer, "Optimal whitening and decorrelation", The American Statistician 2018.
    """
    _check.number("eps", eps, low=0.0, exclusive=True)

    def fit(x: Array) -> Any:
        flat = _as_float(x).reshape(x.shape[0], -1)
        mean = _mean(flat, (0,))
        centered = flat - mean
        eigenvalues, vectors = jnp.linalg.eigh(centered.T @ centered / x.shape[0])
        enough = jnp.maximum(eigenvalues, 0.0) + eps * eigenvalues.mean()
        return mean, (vectors / jnp.sqrt(enough)[None]) @ vectors.T

    def apply(statistics: Any, x: Array) -> Array:
        mean, matrix = statistics
        return ((_as_float(x).reshape(x.shape[0], -1) - mean) @ matrix).reshape(x.shape)

    return _leaf_by_leaf(fit, apply)


def _axes_of(per: Per) -> Callable[[Array], tuple[int, ...]]:
    if per not in ("entry", "channel", "all"):
        raise InputError("per", per, "there is no such choice", "Pass 'entry', 'channel' or 'all'.")

    def axes(x: Array) -> tuple[int, ...]:
        return {"entry": (0,), "channel": tuple(range(max(x.ndim - 1, 1))), "all": tuple(range(x.ndim))}[per]

    return axes


def _mean(x: Array, axes: tuple[int, ...]) -> Array:
    """Returns the mean, without rounding where all values are equal, so that what is constant is seen to be so."""
    first = x[tuple(slice(1) if i in axes else slice(None) for i in range(x.ndim))]
    return first + (x - first).mean(axes, keepdims=True)


def _as_float(x: Array) -> Array:
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))


def _leaf_by_leaf(fit: Callable[[Array], Any], apply: Callable[[Any, Array], Array]) -> Normalization:
    """Returns the normalization of every array of the inputs on its own."""
    return Normalization(
        lambda x: jax.tree.map(fit, x), lambda statistics, x: jax.tree.map(lambda a, s: apply(s, a), x, statistics)
    )
