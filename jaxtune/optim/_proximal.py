"""Proximal steps and projections: what penalties and constraints do to weights exactly, after each update.

They come last in a chain of Optax transformations, and change its updates such that the parameters end where they should.
A gradient step on a penalty never makes a weight zero; a proximal one does.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._tree import path_name
from jaxtune._types import Array, PyTree, ScalarLike
from jaxtune.penalties import GroupsOf, Where, group_norms, is_kernel, selected

Projection = Callable[[Array], Array]
"""From a parameter to the parameter that takes its place, of the same shape."""


def proximal(project: Projection, *, where: Where = is_kernel) -> optax.GradientTransformation:
    """Returns the transformation after which parameters are `project` of what they would have been.

    Args:
      project: applied to each parameter after the update.
      where: `where(path, leaf)` chooses the parameters; by default kernels, not biases or normalization parameters.

    Raises:
      ValueError: at the start, if `where` holds for no parameter.
    """

    def init(params: PyTree) -> Any:
        selected(params, where)  # for its check
        return optax.EmptyState()

    def update(updates: PyTree, state: Any, params: PyTree = None) -> tuple[PyTree, Any]:
        if params is None:
            raise InputError("params", None, "this needs the parameters", "Call update(grads, state, params).")

        def moved(path: Any, u: Array, w: Array) -> Array:
            return project(w + u) - w if where(path_name(path), w) else u

        return jax.tree_util.tree_map_with_path(moved, updates, params), state

    return optax.GradientTransformation(init, update)


def prox_l1(strength: ScalarLike, *, where: Where = is_kernel) -> optax.GradientTransformation:
    """Returns the proximal step of `strength sum |w|`: `sign(w) max(|w| - strength, 0)`, with exact zeros.

    Args:
      strength: learning rate times the penalty's strength, at least 0; may be traced.
      where: `where(path, leaf)` chooses the parameters; by default kernels.

    Example:
      >>> import optax
      >>> import jaxtune as jt
      >>> lr, l1 = 0.1, 1e-3
      >>> optimizer = optax.chain(optax.sgd(lr), jt.optim.prox_l1(lr * l1))  # ISTA, whose penalty is l1 sum |w|

    References:
      Parikh and Boyd, "Proximal algorithms", Foundations and Trends in Optimization 2014, section 6.5.
    """
    return prox_elastic_net(_check.number("strength", strength, low=0.0), 0.0, where=where)


def prox_elastic_net(l1: ScalarLike, l2: ScalarLike, *, where: Where = is_kernel) -> optax.GradientTransformation:
    """Returns the proximal step of `l1 sum |w| + l2 sum w^2`: `sign(w) max(|w| - l1, 0) / (1 + 2 l2)`.

    Args:
      l1: learning rate times the strength of the absolute values, at least 0; may be traced.
      l2: learning rate times the strength of the squares, at least 0; may be traced.
      where: `where(path, leaf)` chooses the parameters; by default kernels.

    References:
      Parikh and Boyd, "Proximal algorithms", Foundations and Trends in Optimization 2014, section 6.5.
    """
    _check.number("l1", l1, low=0.0)
    _check.number("l2", l2, low=0.0)

    def project(w: Array) -> Array:
        return jnp.sign(w) * jnp.maximum(jnp.abs(w) - l1, 0) / (1 + 2 * l2)

    return proximal(project, where=where)


def prox_group_lasso(
    strength: ScalarLike, *, groups: GroupsOf = "units", where: Where = is_kernel
) -> optax.GradientTransformation:
    """Returns the proximal step of the group lasso: each group `w max(0, 1 - strength sqrt(n) / ||w||)`.

    Args:
      strength: learning rate times the penalty's strength, at least 0; may be traced.
      groups: `"units"`, `"filters"` or `"inputs"`, as in `jt.penalties.group_lasso`.
      where: `where(path, leaf)` chooses the parameters; by default kernels.

    References:
      Yuan and Lin, "Model selection and estimation in regression with grouped variables", JRSS B 2006.
    """
    _check.number("strength", strength, low=0.0)

    def project(w: Array) -> Array:
        norms = group_norms(w, groups)
        size = w.size / norms.size
        share = 1 - strength * jnp.sqrt(size) / jnp.where(norms > 0, norms, 1.0)
        return w * jnp.where(norms > 0, jnp.maximum(share, 0), 0).astype(w.dtype)

    return proximal(project, where=where)


def max_norm(limit: ScalarLike, *, where: Where = is_kernel) -> optax.GradientTransformation:
    """Returns the projection that keeps the norm of the weights into each unit at most at `limit`.

    Args:
      limit: at least 0; may be traced; infinity is off.
      where: `where(path, leaf)` chooses the parameters; by default kernels.

    References:
      Srebro and Shraibman, "Rank, trace-norm and max-norm", COLT 2005.
    """
    _check.number("limit", limit, low=0.0, infinity="never binds")

    def project(w: Array) -> Array:
        norms = group_norms(w, "units")
        within = norms <= limit
        return jnp.where(within, w, w / jnp.where(within, 1.0, norms) * limit)

    return proximal(project, where=where)


def unit_norm(*, where: Where = is_kernel) -> optax.GradientTransformation:
    """Returns the projection that gives the weights into each unit a norm of 1; those of norm 0 stay.

    Args:
      where: `where(path, leaf)` chooses the parameters; by default kernels.
    """

    def project(w: Array) -> Array:
        norms = group_norms(w, "units")
        return w / jnp.where(norms > 0, norms, 1.0)

    return proximal(project, where=where)


def non_negative(*, where: Where = is_kernel) -> optax.GradientTransformation:
    """Returns the projection that sets negative weights to 0.

    Args:
      where: `where(path, leaf)` chooses the parameters; by default kernels.
    """
    return proximal(lambda w: jnp.maximum(w, 0), where=where)
