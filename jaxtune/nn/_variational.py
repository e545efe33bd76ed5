"""Variational dropout, in both of its meanings.

One mask for a whole sequence (Gal and Ghahramani), and Gaussian noise whose strength is learned, weight by weight (Kingma,
Salimans and Welling; Molchanov, Ashukha and Vetrov).
"""

import functools as ft
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._tree import path_name
from jaxtune._types import Array, Float, Key, PyTree, ScalarLike
from jaxtune.nn._dropout import dropout

Cell = Callable[[PyTree, Any], tuple[PyTree, Any]]
"""`cell(carry, x) -> (carry, y)`, as `jax.lax.scan` takes it."""


def variational_dropout(
    key: Key, x: Float[Array, "batch time features"], rate: ScalarLike
) -> Float[Array, "batch time features"]:
    """Returns a sequence with features dropped, the same ones at every time; the others are divided by `1 - rate`.

    For the inputs and the outputs of a recurrent network; `state_dropout` is for its state.

    Args:
      key: random key, consumed.
      x: sequences, shape (batch, time, features).
      rate: probability of dropping a feature of a sequence, in [0, 1]; may be traced.

    Raises:
      ValueError: x is no batch of sequences.

    References:
      Gal and Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", NeurIPS 2016.
    """
    if x.ndim != 3:
        reason = "the same features are dropped along the time of sequences (batch, time, features)"
        raise InputError("x", x.shape, reason, "Add the axis that is missing, or use dropout.")
    return dropout(key, x, rate, broadcast_dims=(1,))


def state_dropout(cell: Cell, key: Key, rate: ScalarLike, *, where: Callable[[str, Any], bool] | None = None) -> Cell:
    """Returns a recurrent cell that sees its state with features dropped, the same ones at every time.

    Args:
      cell: `cell(carry, x) -> (carry, y)`, to be scanned over time.
      key: random key, the same for all times; consumed.
      rate: probability of dropping a feature of a state, in [0, 1]; may be traced.
      where: `where(path, leaf)` chooses the parts of the carry. None: of a carry of two, as Flax's LSTMs have it, the
        second, which is the hidden state and not the memory; else all. What a cell hands on without squashing it, as a
        memory, grows by `1 / (1 - rate)` each time that it is dropped.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxtune as jt
      >>> cell = lambda h, x: (jnp.tanh(h + x), h)
      >>> dropped = jt.nn.state_dropout(cell, jax.random.key(0), 0.5)
      >>> h, ys = jax.lax.scan(dropped, jnp.zeros((2, 3)), jnp.ones((4, 2, 3)))

    References:
      Gal and Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", NeurIPS 2016.
    """
    _check.number("rate", rate, low=0.0, high=1.0)

    def dropped(carry: PyTree, x: Any) -> tuple[PyTree, Any]:
        pair = isinstance(carry, tuple) and len(carry) == 2
        chosen = where or (lambda path, leaf: not pair or path.split("/")[0] == "1")
        leaves, structure = jax.tree_util.tree_flatten_with_path(carry)
        seen = [
            dropout(jax.random.fold_in(key, i), leaf, rate) if chosen(path_name(path), leaf) else leaf
            for i, (path, leaf) in enumerate(leaves)
        ]
        return cell(jax.tree.unflatten(structure, seen), x)

    return dropped


def variational_dense(
    key: Key,
    x: Float[Array, "batch inputs"],
    kernel: Float[Array, "inputs outputs"],
    log_alpha: Float[Array, "inputs outputs"],
) -> Float[Array, "batch outputs"]:
    """Returns `x` times a kernel whose weights w have independent noise N(0, alpha w^2).

    The noise is drawn for the outputs and not for the weights (local reparametrization):
    `y ~ N(x W, x^2 (alpha W^2))`, which has the same distribution for each example and gives gradients of less variance.

    Args:
      key: random key, consumed.
      x: inputs.
      kernel: mean of the weights.
      log_alpha: log of the relative variance of each weight; a dropout rate p is `log(p / (1 - p))`.

    References:
      Kingma, Salimans, Welling, "Variational dropout and the local reparameterization trick", NeurIPS 2015.
    """
    variance = jnp.square(x) @ (jnp.exp(log_alpha) * jnp.square(kernel))
    some = variance > 0
    deviation = jnp.where(some, jnp.sqrt(jnp.where(some, variance, 1.0)), 0.0)
    return x @ kernel + deviation * jax.random.normal(key, variance.shape, variance.dtype)


@jax.custom_jvp
def variational_kl(log_alpha: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns the divergence of N(w, alpha w^2) from the log-uniform prior, exactly; 0 for infinite alpha.

    With Dawson's function D it is `2 int_0^u D(t) dt` for `u = 1 / sqrt(2 alpha)`; its derivative in log alpha is
    `-u D(u)`. It does not depend on w.

    Args:
      log_alpha: any shape.

    References:
      Hron, Matthews, Ghahramani, "Variational Bayesian dropout: pitfalls and fixes", ICML 2018.
      Molchanov, Ashukha, Vetrov, "Variational dropout sparsifies deep neural networks", ICML 2017.
    """
    u = jnp.exp(-0.5 * log_alpha) / 2**0.5
    near = jnp.minimum(u, _FAR)
    inner = jnp.square(near) * _polynomial("integral", near)
    return inner + 2 * jnp.where(u > _FAR, _tail(jnp.maximum(u, _FAR)) - _tail(jnp.asarray(_FAR, u.dtype)), 0.0)


@variational_kl.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (log_alpha,), (change,) = primals, tangents
    u = jnp.exp(-0.5 * log_alpha) / 2**0.5
    return variational_kl(log_alpha), -u * dawson(u) * change


_FAR = 10.0
"""Beyond it asymptotic series serve."""


def dawson(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns Dawson's function, `exp(-x^2) int_0^x exp(t^2) dt`.

    Args:
      x: any shape.

    References:
      Rybicki, "Dawson's integral and the sampling theorem", Computers in Physics 1989; here by Chebyshev polynomials.
    """
    x = jnp.asarray(x)
    inner = x * _polynomial("function", jnp.minimum(jnp.abs(x), _FAR))
    far = jnp.where(jnp.abs(x) > _FAR, x, _FAR)
    squared = 1 / (2 * jnp.square(far))
    # Terms of the asymptotic series, 1, 3, 15, 105, ...: the least of them is below 1e-10 from here on.
    series = 1 + squared * (1 + squared * (3 + squared * (15 + squared * (105 + squared * (945 + squared * 10395)))))
    return jnp.where(jnp.abs(x) > _FAR, series / (2 * far), inner)


def _polynomial(of: Literal["function", "integral"], x: Array) -> Array:
    """Returns `D(x) / x`, or `2 int_0^x D(t) dt / x^2`, for x in [0, 10], by Clenshaw's recurrence."""
    coefficients = _coefficients(of, 52 if x.dtype == jnp.float64 else 36)  # their errors: 1e-12 and 5e-8
    s = x * (2 / _FAR) - 1
    last, before = jnp.zeros_like(x), jnp.zeros_like(x)
    for c in coefficients[:0:-1]:
        last, before = c + 2 * s * last - before, last
    return coefficients[0] + s * last - before


@ft.cache
def _coefficients(of: Literal["function", "integral"], degree: int) -> list[float]:
    """Returns the coefficients of Chebyshev polynomials on [0, 10]."""
    places, weights = np.polynomial.legendre.leggauss(64)

    def exact(t: np.ndarray) -> np.ndarray:
        """Returns Dawson's function to the last digits but one, by Rybicki's sum."""
        odd = np.arange(-67, 68, 2)
        return (np.exp(-np.square(t[..., None] - odd * 0.25)) / odd).sum(-1) / np.pi**0.5

    def ratio(s: np.ndarray) -> Any:
        x = np.asarray(_FAR * (s + 1) / 2)
        if of == "function":
            return exact(x) / x
        return (exact(x[:, None] * 0.5 * (places + 1)) * weights).sum(-1) / x

    return [float(c) for c in np.polynomial.chebyshev.chebinterpolate(ratio, degree)]


def _tail(u: Array) -> Array:
    """Returns an integral of the asymptotic series of Dawson's function."""
    s = 1 / (2 * jnp.square(u))
    terms = (1.0, 3.0, 15.0, 105.0, 945.0, 10395.0)
    return 0.5 * jnp.log(u) - 0.5 * sum(c * s ** (k + 1) / (2 * (k + 1)) for k, c in enumerate(terms))
