"""Singular vectors by the power method."""

import jax
import jax.numpy as jnp

from jaxtune._types import Array, Float


def power_start(units: int, dtype: jnp.dtype) -> Float[Array, " units"]:
    """Returns a vector of no particular direction, to begin with."""
    return 1 + 0.1 * jnp.cos(jnp.arange(1, units + 1, dtype=dtype))


def power_method(
    matrix: Float[Array, "rows units"], start: Float[Array, " units"], iterations: int
) -> tuple[Float[Array, " rows"], Float[Array, " units"]]:
    """Returns estimates of the first singular vectors u and v, of length 1 and without a gradient.

    Args:
      matrix: a matrix; what is zero tells nothing, and leaves v as it is.
      start: v to begin with, not orthogonal to the singular vector.
      iterations: how many times W' W is applied.
    """
    held, v = jax.lax.stop_gradient(matrix), _unit(start)
    for _ in range(iterations):
        moved = _unit(held.T @ (held @ v))
        v = jnp.where(jnp.square(moved).sum() > 0, moved, v)
    u, v = jax.lax.stop_gradient((_unit(held @ v), v))
    return u, v


def _unit(x: Array) -> Array:
    norm = jnp.sqrt(jnp.square(x).sum())
    return x / jnp.where(norm > 0, norm, 1.0)
