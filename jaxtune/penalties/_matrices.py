"""Penalties on kernels as matrices: on angles between their columns, and on their largest singular value."""

from collections.abc import Callable

import jax.numpy as jnp

from jaxtune import _check
from jaxtune._types import Array, PyTree, Scalar
from jaxtune.nn._power import power_method, power_start
from jaxtune.penalties._penalty import (
    Penalty,
    Strength,
    Where,
    check_strength,
    is_kernel,
    selected_by_path,
    times,
)


def orthogonality(strength: Strength, *, where: Where = is_kernel, name: str = "orthogonality") -> Penalty:
    """Returns `strength * sum ||W' W - I||^2` over kernels W of shape (inputs, units): their columns orthonormal.

    A convolution's kernel is (all but the last axis, filters). With more units than inputs it cannot be zero.

    Args:
      strength: at least 0, or strengths by path prefix; may be traced.
      where: `where(path, leaf)` chooses the parameters; by default kernels, not biases or normalization parameters.
      name: logged as `train_penalty_<name>`.

    References:
      Brock, Lim, Ritchie, Weston, "Neural photo editing with introspective adversarial networks", ICLR 2017.
    """
    check_strength("strength", strength)

    def of(w: Array) -> Scalar:
        matrix = _matrix(w)
        return jnp.square(matrix.T @ matrix - jnp.eye(matrix.shape[1], dtype=w.dtype)).sum()

    return _of_kernels(of, strength, where, name)


def spectral_norm(
    strength: Strength, *, iterations: int | None = None, where: Where = is_kernel, name: str = "spectral_norm"
) -> Penalty:
    """Returns `strength * sum sigma(W)^2`, with sigma the largest singular value of a kernel of shape (inputs, units).

    Args:
      strength: at least 0, or strengths by path prefix; may be traced.
      iterations: of the power method, from a fixed start, which then gives a lower bound of sigma: 5, say. None computes
        it exactly, by a singular value decomposition at every update, which is slow on CPUs. With few iterations prefer
        momentum to Adam, which moves weights that only the penalty moves at full rate.
      where: `where(path, leaf)` chooses the parameters; by default kernels, not biases or normalization parameters.
      name: logged as `train_penalty_<name>`.

    References:
      Yoshida and Miyato, "Spectral norm regularization for improving the generalizability of deep learning", 2017.
    """
    check_strength("strength", strength)
    if iterations is not None:
        _check.count("iterations", iterations)

    def of(w: Array) -> Scalar:
        matrix = _matrix(w)
        if iterations is None:
            return jnp.square(jnp.linalg.svd(matrix, compute_uv=False)[0])
        return jnp.square(largest_singular_value(matrix, iterations))

    return _of_kernels(of, strength, where, name)


def largest_singular_value(matrix: Array, iterations: int, start: Array | None = None) -> Scalar:
    """Returns an estimate from below of the largest singular value, by the power method.

    It is differentiable: the gradient is that of `u' W v` with both vectors held.

    Args:
      matrix: shape (rows, columns).
      iterations: how many times W' W is applied.
      start: shape (columns,), not orthogonal to the singular vector; None is a vector of no particular direction.
    """
    u, v = power_method(matrix, power_start(matrix.shape[1], matrix.dtype) if start is None else start, iterations)
    return u @ matrix @ v


def _matrix(kernel: Array) -> Array:
    return kernel.reshape(-1, kernel.shape[-1])


def _of_kernels(of: Callable[[Array], Scalar], strength: Strength, where: Where, name: str) -> Penalty:
    def fn(params: PyTree) -> Scalar:
        return times(strength, {path: of(w) for path, w in selected_by_path(params, where).items()})

    return Penalty(name, fn)
