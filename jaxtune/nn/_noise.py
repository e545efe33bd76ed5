"""Noise of traced strength, and the dropouts that are noise."""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._types import Array, Float, Key, PyTree, ScalarLike

_SELU_FLOOR = -1.7580993408473766  # -lambda alpha: what SELU tends to for large negative inputs


def noise(
    key: Key,
    x: PyTree,
    scale: ScalarLike,
    *,
    multiplicative: bool = False,
    distribution: Literal["normal", "uniform"] = "normal",
) -> PyTree:
    """Returns `x + scale n`, or `x (1 + scale n)`, with n independent noise of mean 0 and variance 1.

    Args:
      key: random key, consumed.
      x: inputs, activations, weights or gradients: an array or a pytree of arrays.
      scale: standard deviation of the noise, absolute or relative, at least 0; may be traced. 0 returns `x` exactly.
      multiplicative: whether the noise multiplies.
      distribution: `"normal"`, or `"uniform"`, which lies within `sqrt(3)`.

    Raises:
      ValueError: a negative scale, or no such distribution.

    Example:
      >>> import jax
      >>> import jaxtune as jt
      >>> noisy = jt.nn.noise(jax.random.key(0), {"kernel": jax.numpy.zeros((2, 3))}, 0.1)

    References:
      Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 1995.
    """
    _check.number("scale", scale, low=0.0)
    if distribution not in ("normal", "uniform"):
        raise InputError("distribution", distribution, "there is no such noise", "Pass 'normal' or 'uniform'.")
    leaves, structure = jax.tree.flatten(x)

    def noisy(place: int, leaf: Array) -> Array:
        own = key if len(leaves) == 1 else jax.random.fold_in(key, place)
        if distribution == "normal":
            n = jax.random.normal(own, leaf.shape, jnp.result_type(leaf))
        else:
            n = jax.random.uniform(own, leaf.shape, jnp.result_type(leaf), -(3**0.5), 3**0.5)
        strength = jnp.asarray(scale, n.dtype) * n
        return leaf * (1 + strength) if multiplicative else leaf + strength

    return jax.tree.unflatten(structure, [noisy(i, jnp.asarray(leaf)) for i, leaf in enumerate(leaves)])


def gaussian_dropout(key: Key, x: Float[Array, "..."], rate: ScalarLike) -> Float[Array, "..."]:
    """Returns `x` multiplied by normal noise of mean 1 and variance `rate / (1 - rate)`, which is that of dropout.

    Args:
      key: random key, consumed.
      x: activations, any shape.
      rate: in [0, 1); may be traced, where it has to be below 1 unseen. 0 returns `x` exactly.

    Raises:
      ValueError: `rate` is a number outside of [0, 1).

    References:
      Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout: a simple way to prevent neural networks from
      overfitting", JMLR 2014, section 10.
    """
    _check.number("rate", rate, low=0.0, high=1.0)
    if isinstance(rate, (int, float)) and rate == 1:
        raise InputError("rate", rate, "its noise would be infinite", "Pass a number below 1.")
    share = jnp.asarray(rate, jnp.float32)
    variance = share / jnp.where(share < 1, 1 - share, 1.0)
    some = variance > 0
    return noise(key, x, jnp.where(some, jnp.sqrt(jnp.where(some, variance, 1.0)), 0.0), multiplicative=True)


def alpha_dropout(key: Key, x: Float[Array, "..."], rate: ScalarLike) -> Float[Array, "..."]:
    """Returns `x` with dropped entries set to SELU's floor, then shifted and scaled to keep mean 0 and variance 1.

    With a' = -1.7581, q = 1 - rate, and m ~ Bernoulli(q): `y = a (x m + a' (1 - m)) + b`, where
    `a = (q + a'^2 q rate)^(-1/2)` and `b = -a a' rate`.

    Args:
      key: random key, consumed.
      x: activations of SELU units, of mean 0 and variance 1.
      rate: probability of dropping, in [0, 1]; may be traced. 0 returns `x` and 1 zeros, exactly.

    References:
      Klambauer, Unterthiner, Mayr, Hochreiter, "Self-normalizing neural networks", NeurIPS 2017.
    """
    _check.number("rate", rate, low=0.0, high=1.0)
    drop = jnp.asarray(rate, jnp.float32)
    keep = 1 - drop
    kept = jax.random.uniform(key, x.shape) < keep
    some = keep > 0
    a = jnp.where(some, jax.lax.rsqrt(jnp.where(some, keep * (1 + _SELU_FLOOR**2 * drop), 1.0)), 0.0)
    y = a * jnp.where(kept, x, _SELU_FLOOR) - a * _SELU_FLOOR * drop
    return jnp.where(some, y, 0.0).astype(x.dtype)
