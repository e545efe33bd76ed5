"""Pytrees on disk; the only file that imports Orbax."""

from pathlib import Path
from typing import Any

import jax
import jax.tree_util as jtu
import numpy as np

from jaxtune._types import PyTree


def save(path: Path, tree: PyTree) -> list[dict[str, Any]]:
    """Writes a tree of arrays to a folder that does not exist, and returns what to know of its leaves to read them.

    Leaves are stored by number; their paths, shapes and types are for the caller to keep. Empty arrays, which Orbax
    refuses, are in the description alone.
    """
    import orbax.checkpoint as ocp

    leaves = jtu.tree_leaves_with_path(tree)
    described = [{"path": [_key(k) for k in p], "shape": list(a.shape), "dtype": str(a.dtype)} for p, a in leaves]
    arrays = {str(i): np.asarray(a) for i, (_, a) in enumerate(leaves) if a.size}
    if arrays:
        with ocp.StandardCheckpointer() as writer:
            writer.save(path, arrays)
            writer.wait_until_finished()
    return described


def described(leaves: Any) -> list[dict[str, Any]]:
    """Returns what `save` has returned, after it has been through JSON.

    Raises:
      ValueError, KeyError, TypeError: it is something else.
    """
    found = []
    for leaf in leaves:
        path = [key for key in leaf["path"] if isinstance(key, (str, int))]
        if len(path) < len(leaf["path"]):
            raise ValueError("a path holds keys that are neither names nor numbers")
        shape = tuple(int(n) for n in leaf["shape"])
        found.append({"path": path, "shape": shape, "dtype": str(np.dtype(leaf["dtype"]))})
    return found


def load(path: Path, described: list[dict[str, Any]], like: PyTree | None) -> PyTree:
    """Returns the tree that `save` wrote, as NumPy arrays.

    Args:
      path: the folder.
      described: what `save` returned.
      like: a tree with the structure of the one saved; without it containers come back as nested dicts.
    """
    import orbax.checkpoint as ocp

    # NumPy arrays as a target come back as such: leaves of 64 bits keep them.
    leaves: list[Any] = [np.zeros(d["shape"], d["dtype"]) for d in described]
    wanted = {str(i): a for i, a in enumerate(leaves) if a.size}
    if wanted:
        with ocp.StandardCheckpointer() as reader:
            for i, array in reader.restore(path, wanted).items():
                leaves[int(i)] = np.asarray(array)
    if like is not None:
        return jax.tree.unflatten(jax.tree.structure(like), leaves)
    if len(described) == 1 and not described[0]["path"]:
        return leaves[0]
    root: Any = {}
    for leaf, d in zip(leaves, described, strict=True):
        node = root
        for key in d["path"][:-1]:
            node = node.setdefault(key, {})
        node[d["path"][-1]] = leaf
    return root


def _key(entry: Any) -> str | int:
    for name in ("key", "name", "idx"):
        value = getattr(entry, name, None)
        if isinstance(value, (str, int)):
            return value
    return str(entry)
