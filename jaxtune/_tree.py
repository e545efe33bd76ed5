"""What pytrees need here beyond `jax.tree`."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxtune._errors import InputError
from jaxtune._types import Flag, PyTree


def path_name(path: tuple[Any, ...]) -> str:
    """Returns a key path as text, such as `"Dense_0/kernel"`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def by_path(tree: PyTree) -> dict[str, Any]:
    """Returns the leaves by path."""
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


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


def longest_prefix(path: str, prefixes: Iterable[str]) -> str | None:
    """Returns the longest of some prefixes that a path has, part by part; None if it has none."""
    return max((p for p in prefixes if p in ("", path) or path.startswith(p + "/")), key=len, default=None)


def by_prefix(params: PyTree, values: Mapping[str, Any], default: Any, name: str) -> PyTree:
    """Returns for every parameter the value of the longest path prefix that it has.

    Raises:
      ValueError: a prefix that no parameter has.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    paths = [path_name(path) for path, _ in leaves]
    check_prefixes(paths, values, name)
    found = [longest_prefix(path, values) for path in paths]
    return jax.tree.unflatten(structure, [default if prefix is None else values[prefix] for prefix in found])


def check_prefixes(paths: Iterable[str], prefixes: Iterable[str], name: str) -> None:
    """Refuses prefixes that no path has.

    Args:
      paths: paths such as `"Dense_0/kernel"`.
      prefixes: prefixes such as `"Dense_0"`.
      name: the argument that they came in.
    """
    paths = list(paths)
    for prefix in prefixes:
        if not any(longest_prefix(path, [prefix]) is not None for path in paths):
            reason = f"no parameter lies under {prefix!r}"
            raise InputError(name, prefix, reason, f"Choose among: {', '.join(paths)}.")


def structure_name(tree: PyTree) -> str:
    """Returns the names of all leaves, to compare two structures in a message."""
    return ", ".join(by_path(tree))
