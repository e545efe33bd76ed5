"""Penalties on groups of weights, which vanish together."""

from typing import Literal

import jax.numpy as jnp

from jaxtune._errors import InputError
from jaxtune._types import Array, PyTree, Scalar
from jaxtune.penalties._penalty import (
    Penalty,
    Strength,
    Where,
    check_strength,
    is_kernel,
    is_off,
    selected_by_path,
    times,
)

GroupsOf = Literal["units", "filters", "inputs"]
"""What the weights of a group have in common: the unit or filter that they lead to, or the input that they come from."""


def group_norms(kernel: Array, groups: GroupsOf) -> Array:
    """Returns the norm of each group of a kernel, with the axes that a group spans kept at size 1.

    A kernel ends in (inputs, units), be it of a dense layer or of a convolution. Where a norm is 0 so is its gradient.

    Args:
      kernel: at least two axes.
      groups: `"units"` or `"filters"` group by the last axis, `"inputs"` by the one before.

    Raises:
      ValueError: no such groups.
    """
    axis = {"units": -1, "filters": -1, "inputs": -2}.get(groups)
    if axis is None or kernel.ndim < 2:
        reason = f"a parameter of shape {kernel.shape} has no such groups"
        raise InputError("groups", groups, reason, "Pass 'units', 'filters' or 'inputs', and kernels.")
    others = tuple(i for i in range(kernel.ndim) if i != kernel.ndim + axis)
    squares = jnp.square(kernel).sum(others, keepdims=True)
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0).astype(kernel.dtype)


def group_lasso(
    strength: Strength, *, groups: GroupsOf = "units", where: Where = is_kernel, name: str = "group_lasso"
) -> Penalty:
    """Returns the group lasso `strength * sum_g sqrt(n_g) ||w_g||`, with n_g the size of a group.

    Args:
      strength: at least 0, or strengths by path prefix; may be traced.
      groups: `"units"`: all weights that lead to a unit, which prunes units; `"filters"`: the same, of convolutions;
        `"inputs"`: all weights that leave an input or channel, which selects features.
      where: `where(path, leaf)` chooses the parameters; by default kernels, not biases or normalization parameters.
      name: logged as `train_penalty_<name>`.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxtune as jt
      >>> kernel = jnp.array([[3.0, 0.0], [4.0, 0.0]])
      >>> float(jt.penalties.group_lasso(1.0)({"kernel": kernel}))  # sqrt(2) (5 + 0)
      7.071067810058594

    References:
      Yuan and Lin, "Model selection and estimation in regression with grouped variables", JRSS B 2006.
      Wen, Wu, Wang, Chen, Li, "Learning structured sparsity in deep neural networks", NeurIPS 2016.
    """
    check_strength("strength", strength)
    return sparse_group_lasso(0.0, strength, groups=groups, where=where, name=name)


def sparse_group_lasso(
    l1: Strength,
    group: Strength,
    *,
    groups: GroupsOf = "units",
    where: Where = is_kernel,
    name: str = "sparse_group_lasso",
) -> Penalty:
    """Returns the sparse group lasso `l1 * sum |w| + group * sum_g sqrt(n_g) ||w_g||`.

    Args:
      l1: strength of the absolute values, at least 0, or strengths by path prefix; may be traced.
      group: strength of the group norms, at least 0, or strengths by path prefix; may be traced.
      groups: as in `group_lasso`.
      where: `where(path, leaf)` chooses the parameters; by default kernels, not biases or normalization parameters.
      name: logged as `train_penalty_<name>`.

    References:
      Simon, Friedman, Hastie, Tibshirani, "A sparse-group lasso", J. Comp. Graph. Stat. 2013.
    """
    check_strength("l1", l1)
    check_strength("group", group)

    def fn(params: PyTree) -> Scalar:
        kernels = selected_by_path(params, where)

        def of_groups(w: Array) -> Scalar:
            norms = group_norms(w, groups)
            return jnp.sqrt(w.size / norms.size) * norms.sum()

        total = times(group, {path: of_groups(w) for path, w in kernels.items()}, "group")
        if is_off(l1):
            return total
        return total + times(l1, {path: (w * jnp.sign(w)).sum() for path, w in kernels.items()}, "l1")

    return Penalty(name, fn)
