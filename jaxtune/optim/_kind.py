"""Gradient descent, momentum, RMSprop and Adam as one optimizer whose coefficients may be traced.

They all are exponentially weighted averages of the gradient and of its square, put together in different ways. Which of
them it is are numbers here, so that one compiled program holds them all, each in lanes of its own.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError
from jaxtune._tree import path_name
from jaxtune._types import Array, Count, PyTree, Scalar, ScalarLike
from jaxtune.penalties import Where

Schedule = Callable[[Count], Scalar]
"""From the number of updates done to a number, such as the learning rate of the next."""


class Kind(NamedTuple):
    """The coefficients that make one optimizer of the family; all are numbers, so a kind is a traced hyperparameter.

    With the gradient g, the parameters w and t updates done, this one included:

        m <- b1 m + (1 - b1) g   if averaged, else  b1 m + g
        v <- b2 v + (1 - b2) g^2
        m' = b1 m + (1 - b1) g, or b1 m + g,   if nesterov, else  m
        u = m' / (1 - b1^t) / (sqrt(v / (1 - b2^t) + eps_root) + eps)
        w <- w - lr (u + weight_decay w)

    Without `debiased` the two divisors 1 - b^t are 1; without `adaptive` so is the root.

    Attributes:
      b1: share of the average gradient that an update keeps, in [0, 1).
      b2: share of the average squared gradient that an update keeps, in [0, 1).
      eps: added to the root, at least 0.
      eps_root: added inside the root, at least 0.
      averaged: 1.0 if m is an average of gradients, 0.0 if it is their decaying sum.
      nesterov: 1.0 to look ahead by one update, else 0.0.
      adaptive: 1.0 to divide by the root, else 0.0.
      debiased: 1.0 to correct averages for having begun at 0, else 0.0.
      weight_decay: decoupled weight decay, at least 0.
    """

    b1: ScalarLike = 0.0
    b2: ScalarLike = 0.0
    eps: ScalarLike = 0.0
    eps_root: ScalarLike = 0.0
    averaged: ScalarLike = 0.0
    nesterov: ScalarLike = 0.0
    adaptive: ScalarLike = 0.0
    debiased: ScalarLike = 0.0
    weight_decay: ScalarLike = 0.0


def gd_kind(*, weight_decay: ScalarLike = 0.0) -> Kind:
    """Returns gradient descent, `w <- w - lr g`; equal to `optax.sgd(lr)` to the bit.

    Args:
      weight_decay: decoupled weight decay, at least 0.
    """
    return Kind(weight_decay=weight_decay)


def momentum_kind(decay: ScalarLike = 0.9, *, averaged: bool = False, weight_decay: ScalarLike = 0.0) -> Kind:
    """Returns gradient descent with momentum, `m <- decay m + g`; equal to `optax.sgd(lr, momentum=decay)` to the bit.

    Args:
      decay: share of the velocity that an update keeps, in [0, 1).
      averaged: whether the new gradient counts `1 - decay` times, as in the course's `v = b v + (1 - b) g`. That equals
        the sum with the learning rate `lr (1 - decay)`.
      weight_decay: decoupled weight decay, at least 0.

    References:
      Polyak, "Some methods of speeding up the convergence of iteration methods", USSR Comp. Math. 1964.
    """
    return Kind(b1=decay, averaged=float(averaged), weight_decay=weight_decay)


def nesterov_kind(decay: ScalarLike = 0.9, *, weight_decay: ScalarLike = 0.0) -> Kind:
    """Returns Nesterov's momentum; equal to `optax.sgd(lr, momentum=decay, nesterov=True)` to the bit.

    Args:
      decay: share of the velocity that an update keeps, in [0, 1).
      weight_decay: decoupled weight decay, at least 0.

    References:
      Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep learning", ICML 2013.
    """
    return Kind(b1=decay, nesterov=1.0, weight_decay=weight_decay)


def rmsprop_kind(decay: ScalarLike = 0.9, eps: ScalarLike = 1e-8, *, weight_decay: ScalarLike = 0.0) -> Kind:
    """Returns RMSprop, `w <- w - lr g / sqrt(v + eps)`; equal to `optax.rmsprop(lr, decay, eps)` to the bit.

    Args:
      decay: share of the average squared gradient that an update keeps, in [0, 1).
      eps: added inside the root, as in Optax and Keras; PyTorch adds it outside.
      weight_decay: decoupled weight decay, at least 0.

    References:
      Tieleman and Hinton, "Lecture 6.5: RMSprop", *Neural Networks for Machine Learning*, Coursera 2012.
    """
    return Kind(b2=decay, eps_root=eps, adaptive=1.0, weight_decay=weight_decay)


def adam_kind(b1: ScalarLike = 0.9, b2: ScalarLike = 0.999, eps: ScalarLike = 1e-8) -> Kind:
    """Returns Adam; equal to `optax.adam(lr, b1, b2, eps)` but for rounding.

    Args:
      b1: share of the average gradient that an update keeps, in [0, 1).
      b2: share of the average squared gradient that an update keeps, in [0, 1).
      eps: added to the root, at least 0.

    References:
      Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """
    return Kind(b1=b1, b2=b2, eps=eps, averaged=1.0, adaptive=1.0, debiased=1.0)


def adamw_kind(
    b1: ScalarLike = 0.9, b2: ScalarLike = 0.999, eps: ScalarLike = 1e-8, *, weight_decay: ScalarLike = 1e-4
) -> Kind:
    """Returns Adam with decoupled weight decay; equal to `optax.adamw(lr, b1, b2, eps)` but for rounding.

    Args:
      b1: share of the average gradient that an update keeps, in [0, 1).
      b2: share of the average squared gradient that an update keeps, in [0, 1).
      eps: added to the root, at least 0.
      weight_decay: an update shrinks parameters by `lr * weight_decay`; at least 0.

    References:
      Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """
    return adam_kind(b1, b2, eps)._replace(weight_decay=weight_decay)


class KindState(NamedTuple):
    """What an optimizer of the family remembers: updates done, the average gradient, the average squared gradient."""

    step: Count
    mu: PyTree
    nu: PyTree


def from_kind(
    kind: Kind, lr: ScalarLike | Schedule, *, decayed: Where | None = None
) -> optax.GradientTransformationExtraArgs:
    """Returns the optimizer that these coefficients make, an Optax gradient transformation.

    Args:
      kind: its coefficients, each of which may be traced.
      lr: learning rate, at least 0, may be traced; or a schedule of it.
      decayed: `where(path, leaf)` chooses the parameters that weight decay falls on. None is all, as in Optax.

    Raises:
      ValueError: a coefficient is a number out of range.

    Example:
      >>> import jaxtune as jt
      >>> def recipe(hp):
      ...     optimizer = jt.optim.from_kind(hp.optimizer, hp.lr)
      ...     return jt.Recipe(jt.models.MLP((16,), hp.run.outputs), optimizer=optimizer, batch_size=32)
      >>> kinds = {"momentum": jt.optim.momentum_kind(), "adam": jt.optim.adam_kind()}
      >>> len(jt.grid(optimizer=kinds, lr=[1e-3, 1e-2]))  # one program
      4
    """
    kind = checked_kind(kind)
    if not callable(lr):
        _check.number("lr", lr, low=0.0)

    def init(params: PyTree) -> KindState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return KindState(jnp.zeros((), jnp.int32), zeros, jax.tree.map(jnp.zeros_like, params))

    def update(updates: PyTree, state: KindState, params: PyTree = None, **extra: Any) -> tuple[PyTree, KindState]:
        del extra
        count = optax.safe_increment(state.step)
        rate = lr(state.step) if callable(lr) else lr
        fresh = jax.tree.map(lambda g: jnp.where(kind.averaged > 0, (1 - kind.b1) * g, g), updates)
        mu = jax.tree.map(lambda f, m: f + kind.b1 * m, fresh, state.mu)
        nu = jax.tree.map(lambda g, v: (1 - kind.b2) * jnp.square(g) + kind.b2 * v, updates, state.nu)
        debias = _debias(kind.debiased, kind.b1, count), _debias(kind.debiased, kind.b2, count)
        steps = jax.tree.map(lambda *leaves: _direction(kind, *debias, *leaves), fresh, mu, nu)
        if not _is_zero(kind.weight_decay):
            steps = _decay(steps, params, kind.weight_decay, decayed)
        return jax.tree.map(lambda u: -rate * u, steps), KindState(count, mu, nu)

    return optax.GradientTransformationExtraArgs(init, update)


def checked_kind(kind: Kind) -> Kind:
    """Returns the kind, having checked the coefficients that are concrete numbers.

    Raises:
      TypeError: it is no `Kind`.
      ValueError: a coefficient is out of range.
    """
    if not isinstance(kind, Kind):
        raise InputTypeError("kind", kind, "it is no jt.optim.Kind", "Pass jt.optim.adam_kind(), say.")
    for name, value in kind._asdict().items():
        high = math.inf if name in ("eps", "eps_root", "weight_decay") else 1.0
        _check.number(f"kind.{name}", value, low=0.0, high=high)
    return kind


def _direction(kind: Kind, debias_m: Scalar, debias_v: Scalar, fresh: Array, m: Array, v: Array) -> Array:
    """Returns u, without weight decay."""
    ahead = jnp.where(kind.nesterov > 0, fresh + kind.b1 * m, m)
    # Both sides of the choice are finite, so that training can be differentiated where a gradient is zero.
    adaptive = jnp.asarray(kind.adaptive) > 0
    root = jnp.sqrt(jnp.where(adaptive, v * debias_v + kind.eps_root, 1.0))
    return jnp.where(adaptive, 1 / jnp.where(adaptive, root + kind.eps, 1.0), 1.0) * (ahead * debias_m)


def _debias(on: ScalarLike, decay: ScalarLike, count: Count) -> Scalar:
    """Returns 1 / (1 - decay^count), or 1 where it is off: a factor, for many divisions cost more than one."""
    weight = 1 - jnp.asarray(decay, jnp.result_type(float)) ** count
    return jnp.where(jnp.asarray(on) > 0, 1 / jnp.where(weight > 0, weight, 1.0), 1.0)


def _decay(steps: PyTree, params: PyTree, weight_decay: ScalarLike, decayed: Where | None) -> PyTree:
    """Returns the steps with weight decay added where it falls."""
    if params is None:
        raise InputError("params", None, "weight decay needs the parameters", "Call update(grads, state, params).")

    def add(path: Any, u: Array, w: Array) -> Array:
        return u + weight_decay * w if decayed is None or decayed(path_name(path), w) else u

    return jax.tree_util.tree_map_with_path(add, steps, params)


def _is_zero(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == 0
