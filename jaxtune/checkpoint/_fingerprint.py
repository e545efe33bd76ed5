"""What makes two experiments the same."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from jaxtune._types import PyTree


def text_hash(texts: Iterable[str]) -> str:
    """Returns the SHA-256 of some texts, such as those of lowered programs."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
        digest.update(b"\0")
    return digest.hexdigest()


_BLOCK = 2**22
"""Numbers that are hashed at a time."""


def data_hash(tree: PyTree) -> str:
    """Returns the SHA-256 of the values, shapes and types of all arrays."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        flat = array.reshape(-1)
        for start in range(0, len(flat), _BLOCK):  # an array may be mapped from a file that is larger than memory
            digest.update(flat[start : start + _BLOCK].tobytes())
    return digest.hexdigest()


def differences(recorded: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Returns, in words, in which parts two fingerprints differ; both have passed through JSON."""
    found = []
    for name in sorted({*recorded, *given}):
        a, b = recorded.get(name), given.get(name)
        if a != b:
            shown = f"`{name}` ({_short(a)} there, {_short(b)} here)"
            found.append(f"`{name}`" if isinstance(a, (dict, list)) or isinstance(b, (dict, list)) else shown)
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 16 else text[:12] + "..."
