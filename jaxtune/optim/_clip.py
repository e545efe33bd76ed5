"""Gradient clipping with traced thresholds, of which infinity is off, and a count of what was clipped."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._tree import by_prefix
from jaxtune._types import Array, PyTree, Scalar, ScalarLike


class ClipState(NamedTuple):
    """What was clipped so far.

    Attributes:
      clipped: shares of what was clipped, summed over the updates.
      updates: number of updates.
    """

    clipped: Scalar
    updates: Scalar

    @property
    def fraction(self) -> Scalar:
        """The mean share of what was clipped, in [0, 1]; 0 before the first update."""
        return self.clipped / jnp.maximum(self.updates, 1.0)


def clip_by_value(threshold: ScalarLike) -> optax.GradientTransformation:
    """Returns the transformation that clips each entry to [-threshold, threshold].

    Counted is the share of entries that were clipped.

    Args:
      threshold: at least 0; may be traced; infinity is off.
    """
    _threshold(threshold)

    def clip(updates: PyTree) -> tuple[PyTree, Scalar]:
        over = [(jnp.abs(g) > threshold).sum() for g in jax.tree.leaves(updates)]
        entries = sum(g.size for g in jax.tree.leaves(updates))
        return jax.tree.map(lambda g: jnp.clip(g, -threshold, threshold), updates), _share(over, entries)

    return _counting(clip)


def clip_by_global_norm(threshold: ScalarLike) -> optax.GradientTransformation:
    """Returns the transformation that scales the whole gradient down to a norm of at most `threshold`.

    Its direction stays: `g min(1, threshold / ||g||)`. Counted are the updates that were clipped.

    Args:
      threshold: at least 0; may be traced; infinity is off.

    References:
      Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.
    """
    _threshold(threshold)

    def clip(updates: PyTree) -> tuple[PyTree, Scalar]:
        norm = optax.tree.norm(updates)
        return jax.tree.map(lambda g: _scaled(g, norm, threshold), updates), (norm > threshold).astype(norm.dtype)

    return _counting(clip)


def clip_by_norm(threshold: ScalarLike | Mapping[str, ScalarLike]) -> optax.GradientTransformation:
    """Returns the transformation that scales the gradient of each parameter down to a norm of at most `threshold`.

    Counted is the share of parameters whose gradient was clipped.

    Args:
      threshold: at least 0; may be traced; infinity is off. A mapping from path prefixes, such as `"Dense_0"` or
        `"Dense_0/kernel"`, gives each its own, of which the longest counts; what has none is not clipped.

    Raises:
      ValueError: at the first update, a prefix that no parameter has.
    """
    thresholds = dict(threshold) if isinstance(threshold, Mapping) else {"": threshold}
    for given in thresholds.values():
        _threshold(given)

    def clip(updates: PyTree) -> tuple[PyTree, Scalar]:
        limits = by_prefix(updates, thresholds, float("inf"), "threshold")
        norms = jax.tree.map(lambda g: jnp.sqrt(jnp.square(g).sum()), updates)
        over = jax.tree.leaves(jax.tree.map(lambda n, c: (n > c).astype(n.dtype), norms, limits))
        return jax.tree.map(_scaled, updates, norms, limits), _share(over, len(over))

    return _counting(clip)


def adaptive_clip(threshold: ScalarLike, *, eps: ScalarLike = 1e-3) -> optax.GradientTransformation:
    """Returns adaptive clipping: the gradient of a unit has a norm of at most `threshold` times that of its weights.

    A unit is what leads to one output: for kernels all axes but the last; a bias or a scale is one unit, as in Optax.
    Counted is the share of units that were clipped.

    Args:
      threshold: at least 0; may be traced; infinity is off.
      eps: least norm of a unit's weights, so that those at zero can move; above 0.

    References:
      Brock, De, Smith, Simonyan, "High-performance large-scale image recognition without normalization", ICML 2021.
    """
    _threshold(threshold)
    _check.number("eps", eps, low=0.0, exclusive=True)

    def unit_norm(a: Array) -> Array:
        axes = tuple(range(a.ndim - 1)) if a.ndim > 1 else None
        return jnp.sqrt(jnp.square(a).sum(axes, keepdims=True))

    def clip(updates: PyTree, params: PyTree) -> tuple[PyTree, Scalar]:
        norms = jax.tree.map(unit_norm, updates)
        # Infinity times a norm is infinite, for eps keeps norms above 0.
        limits = jax.tree.map(lambda w: jnp.maximum(unit_norm(w), eps) * threshold, params)
        over = jax.tree.leaves(jax.tree.map(lambda n, c: (n > c).sum(), norms, limits))
        units = sum(n.size for n in jax.tree.leaves(norms))
        return jax.tree.map(_scaled, updates, norms, limits), _share(over, units)

    return _counting(clip, with_params=True)


def clipped_fraction(opt_state: PyTree) -> Scalar | None:
    """Returns the mean share that was clipped so far, of all clipping in an optimizer's state; None without any."""
    states = jax.tree.leaves(opt_state, is_leaf=lambda s: isinstance(s, ClipState))
    fractions = [s.fraction for s in states if isinstance(s, ClipState)]
    return jnp.stack(fractions).mean() if fractions else None


def _scaled(g: Array, norm: Array, limit: ScalarLike) -> Array:
    """Returns g where its norm is within the limit, else g scaled down to it; in the order in which Optax computes."""
    within = norm <= limit
    return jnp.where(within, g, (g / jnp.where(within, 1.0, norm).astype(g.dtype)) * limit)


def _share(parts: list[Array], whole: int) -> Scalar:
    return jnp.stack(parts).sum() / whole if parts else jnp.zeros(())


def _threshold(value: Any) -> None:
    _check.number("threshold", value, low=0.0, infinity="never clips")


def _counting(clip: Any, with_params: bool = False) -> optax.GradientTransformation:
    """Returns the transformation that clips and counts."""

    def init(params: PyTree) -> ClipState:
        del params
        return ClipState(jnp.zeros(()), jnp.zeros(()))

    def update(updates: PyTree, state: ClipState, params: PyTree = None) -> tuple[PyTree, ClipState]:
        if with_params and params is None:
            raise InputError("params", None, "this needs the parameters", "Call update(grads, state, params).")
        clipped, share = clip(updates, params) if with_params else clip(updates)
        share = jnp.asarray(share, state.clipped.dtype)
        return clipped, ClipState(state.clipped + share, state.updates + 1)

    return optax.GradientTransformation(init, update)
