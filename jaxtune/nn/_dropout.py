"""Dropout whose rate may be traced, and whose masks nest."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._errors import InputTypeError
from jaxtune._types import Array, Float, Key, ScalarLike


def dropout(
    key: Key, x: Float[Array, "..."], rate: ScalarLike, *, broadcast_dims: Sequence[int] = ()
) -> Float[Array, "..."]:
    """Returns `x` with each entry dropped with probability `rate`, and the others divided by `1 - rate`.

    With m ~ Bernoulli(1 - rate) the result is `y = x * m / (1 - rate)`, so E[y] = x and Var[y] = rate / (1 - rate) x^2.
    An entry is kept where a uniform number is below `1 - rate`: with one key the units kept at a higher rate are a
    subset of those kept at a lower one, and the masks equal those of `flax.linen.Dropout`.

    Args:
      key: random key, consumed.
      x: activations, any shape.
      rate: probability of dropping, in [0, 1]; may be traced. 0 returns `x` and 1 zeros, both exactly and with finite
        gradients.
      broadcast_dims: dimensions along which the mask is the same.

    Raises:
      ValueError: `rate` is a number outside [0, 1].
      TypeError: `x` is not of a floating-point type.

    References:
      Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout: a simple way to prevent neural networks from
      overfitting", JMLR 2014.
    """
    _check.number("rate", rate, low=0.0, high=1.0)
    if not jnp.issubdtype(jnp.result_type(x), jnp.inexact):
        raise InputTypeError(
            "x", str(jnp.result_type(x)), "dropout rescales, so it needs floats", "Convert x to float32."
        )
    if isinstance(rate, (int, float)) and rate == 0:
        return x
    keep = 1.0 - jnp.asarray(rate, jnp.float32)
    shared = {d % x.ndim for d in broadcast_dims}
    shape = tuple(1 if i in shared else n for i, n in enumerate(x.shape))
    kept = jnp.broadcast_to(jax.random.uniform(key, shape) < keep, x.shape)
    divisor = jnp.where(keep > 0, keep, 1.0).astype(x.dtype)
    return jnp.where(kept, x / divisor, jnp.zeros_like(x))
