"""Names for what the layers of a model return."""

from typing import Any

import jax

from jaxtune._tree import path_name
from jaxtune._types import Array, PyTree


def named_intermediates(seen: PyTree) -> dict[str, Array]:
    """Returns what Flax has recorded of a call by name, such as `"Dense_0"`, or `"block/hidden"` for what was sown.

    What is recorded more than once, of a layer that is called again, ends in the number of the call: `"Dense_0/1"`. What
    the whole model returns has no name, and is left out.

    Args:
      seen: nested dicts that end in tuples of what was recorded.
    """
    found: dict[str, Array] = {}
    for path, calls in jax.tree_util.tree_leaves_with_path(seen, is_leaf=lambda t: isinstance(t, tuple)):
        name = "/".join(part for part in path_name(path).split("/") if part != "__call__")
        if not name:
            continue
        values: tuple[Any, ...] = calls if isinstance(calls, tuple) else (calls,)
        for i, value in enumerate(values):
            called = name if len(values) == 1 else f"{name}/{i}"
            for inner, leaf in jax.tree_util.tree_leaves_with_path(value):
                found[f"{called}/{path_name(inner)}" if inner else called] = leaf
    return found
