"""What pytrees need here beyond `jax.tree`."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxtune._types import Flag, PyTree


def path_name(path: tuple[Any, ...]) -> str:
    """Returns a key path as text, such as `"Dense_0/kernel"`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def select(condition: Flag, new: PyTree, old: PyTree) -> PyTree:
    """Returns `new` where `condition` holds, else `old`, leaf by leaf.

    A selection and not a multiplication: zero times NaN is NaN.
    """

    def pick(n: Any, o: Any) -> Any:
        return jnp.where(condition, n, o)

    return jax.tree.map(pick, new, old)


def as_arrays(tree: PyTree) -> PyTree:
    """Returns the tree with Python and NumPy scalars as arrays."""
    return jax.tree.map(lambda a: a if isinstance(a, jax.Array) else jnp.asarray(a, jnp.result_type(a)), tree)


def with_dtypes_of(old: PyTree, new: PyTree) -> PyTree:
    """Returns `new` with each leaf in the type that it has in `old`."""

    def cast(o: Any, n: Any) -> Any:
        return n if jnp.result_type(n) == o.dtype else jnp.asarray(n, o.dtype)

    return jax.tree.map(cast, old, new)


def is_key(leaf: Any) -> bool:
    """Returns whether an array, or its shape, holds random keys of JAX's own type."""
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def all_finite(tree: PyTree) -> Flag:
    """Returns whether every floating-point leaf is finite throughout."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(jnp.result_type(x), jnp.inexact)]
    return jnp.stack([jnp.isfinite(x).all() for x in leaves]).all() if leaves else jnp.array(True)


def size_bytes(tree: PyTree) -> int:
    """Returns the bytes of all leaves; shapes suffice (`jax.ShapeDtypeStruct`)."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def structure_name(tree: PyTree) -> str:
    """Returns the names of all leaves, to compare two structures in a message."""
    return ", ".join(path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree))
