"""What is refused before a data set gets near a compiler."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError
from jaxtune._tree import path_name
from jaxtune._types import PyTree

_BLOCK = 2**22
"""Numbers that are looked at together: an array may be mapped from a file that is larger than memory."""


def check_arrays(x: PyTree, y: np.ndarray, weight: np.ndarray | None, whole: bool = True) -> None:
    """Checks one split, or a part of one: kinds of numbers, lengths, finite values."""
    leaves = jax.tree_util.tree_leaves_with_path(x)
    if not leaves:
        raise InputError("x", x, "there is no array in it", "Pass an array of shape (n, ...).")
    named = {f"x/{path_name(path)}".rstrip("/"): leaf for path, leaf in leaves} | {"y": y}
    if weight is not None:
        named["weight"] = weight
    for name, array in named.items():
        if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool) or np.issubdtype(
            array.dtype, np.complexfloating
        ):
            raise InputTypeError(
                name,
                f"an array of dtype {array.dtype}",
                "its entries are not real numbers",
                "Convert it to float32 or int32.",
            )
        if array.ndim == 0:
            raise InputError(name, array, "a single number is no set of examples", "Pass an array of shape (n, ...).")
    for name, array in named.items():
        if len(array) != len(y):
            raise InputError(
                name, array.shape, f"it has {len(array)} examples and y has {len(y)}", "Give every example one label."
            )
        if np.issubdtype(array.dtype, np.floating):
            _check_finite(name, array)
    if np.issubdtype(y.dtype, np.integer) and y.ndim != 1:
        raise InputError(
            "y",
            f"an array of shape {y.shape}",
            "integer labels are one number per example",
            "Pass shape (n,), or floats as targets.",
        )
    if len(y) == 0:
        raise InputError("y", y.shape, "there is no example", "Pass at least one example.")
    if weight is not None and (weight.ndim != 1 or (weight < 0).any() or (whole and weight.sum() == 0)):
        raise InputError(
            "weight",
            f"an array of shape {weight.shape}",
            "weights are one number of at least 0 per example, not all 0",
            "Fix the weights.",
        )


def check_groups(groups: Any, n: int) -> None:
    """Checks that every example has a group."""
    kind = groups.dtype.kind
    if groups.shape != (n,) or not (kind in "iuUSb" or (kind == "O" and all(isinstance(g, str) for g in groups))):
        reason = f"each of {n} examples is in one group, a whole number or a text"
        raise InputError("groups", f"{groups.dtype} of shape {groups.shape}", reason, "Pass one per example.")


def _check_finite(name: str, array: np.ndarray) -> None:
    rows = max(1, _BLOCK // max(1, array[:1].size))
    bad = np.concatenate(
        [
            np.argwhere(~np.isfinite(block)) + [start, *[0] * (array.ndim - 1)]
            for start in range(0, len(array), rows)
            if not np.isfinite(block := array[start : start + rows]).all()
        ]
        or [np.empty((0, array.ndim), int)]
    )
    if len(bad):
        raise InputError(
            name,
            f"an array of shape {array.shape}",
            f"{len(bad)} values are NaN or infinite, the first at {tuple(int(i) for i in bad[0])}",
            "Remove or impute them.",
        )


def check_same_form(parts: Mapping[str, tuple[PyTree, np.ndarray, Any]]) -> None:
    """Checks that all splits hold examples of one shape and type."""

    def form(part: tuple[PyTree, np.ndarray, Any]) -> Any:
        x, y, weight = part
        shapes = [
            (path_name(path), a.shape[1:], str(a.dtype)) for path, a in jax.tree_util.tree_leaves_with_path((x, y))
        ]
        return shapes, "without weight" if weight is None else "with weight"

    (first, reference), *others = parts.items()
    for name, part in others:
        if form(part) != form(reference):
            raise InputError(
                name,
                form(part),
                f"its examples differ in form from those of {first}, {form(reference)}",
                "Give all splits the same shapes and types.",
            )


def check_labels(labels: Mapping[str, np.ndarray], classes: int | None) -> int | None:
    """Returns the number of classes, None for float targets, having checked the labels."""
    kinds = {name: y for name, y in labels.items() if np.issubdtype(y.dtype, np.integer) and y.ndim == 1}
    if not kinds:
        if classes is not None:
            dtype = next(iter(labels.values())).dtype
            raise InputTypeError(
                "y",
                f"an array of dtype {dtype}",
                "`classes` needs integer labels of shape (n,)",
                "Convert the labels with y.astype('int32').",
            )
        return None
    largest = max(int(y.max()) for y in kinds.values())
    classes = largest + 1 if classes is None else _check.count("classes", classes, low=1)
    for name, y in kinds.items():
        outside = (y < 0) | (y >= classes)
        if outside.any():
            first = int(np.argmax(outside))
            raise InputError(
                f"{name}.y",
                int(y[first]),
                f"{int(outside.sum())} labels lie outside the classes 0 to {classes - 1}, the first at {first}",
                "Number the classes from 0.",
            )
    return classes


def check_classes(labels: Sequence[np.ndarray]) -> None:
    """Checks that every class has examples, and that those to train on are not of one class."""
    largest, n = max(int(y.max()) for y in labels), sum(map(len, labels))
    if largest > 2**20 + n:  # or to count them would take gigabytes
        reason = f"no example is of most of the classes below {largest}"
        raise InputError("y", f"labels from 0 to {largest}", reason, "Number the classes without gaps.")
    counts = np.bincount(np.concatenate(labels))
    if (counts == 0).any():
        empty = np.flatnonzero(counts == 0)
        reason = f"no example is of {'class' if len(empty) == 1 else 'classes'} {', '.join(map(str, empty[:5]))}"
        cure = (
            "Number the classes without gaps; pass classes= if they are meant to be empty, or floats for a regression."
        )
        raise InputError("y", f"labels from 0 to {len(counts) - 1}", reason, cure)
    if len(counts) > 1 and len(np.unique(labels[0])) == 1:
        reason = "the training split has one class only"
        raise InputError("y", f"labels of {len(counts)} classes", reason, "Pass more examples, or larger fractions.")


def warn_of_duplicates(inputs: Mapping[str, PyTree]) -> None:
    """Warns of inputs that are in more than one split, and so make validation and test look better than they are."""
    seen: dict[bytes, str] = {}
    shared: dict[tuple[str, str], int] = {}
    for name, x in inputs.items():
        leaves = [np.ascontiguousarray(leaf).reshape(len(leaf), -1) for leaf in jax.tree.leaves(x)]
        for i in range(len(leaves[0])):
            row = b"".join(leaf[i].tobytes() for leaf in leaves)
            first = seen.setdefault(hashlib.blake2b(row, digest_size=16).digest(), name)
            if first != name:
                shared[first, name] = shared.get((first, name), 0) + 1
    if shared:
        counted = ", ".join(f"{n} of {name} also in {first}" for (first, name), n in shared.items())
        warnings.warn(f"splits share inputs: {counted}; remove duplicates before splitting", stacklevel=3)


def check_fractions(fractions: Sequence[float], n: int) -> list[int]:
    """Returns the sizes of the three splits, having checked their shares."""
    given = [_check.number("fractions", f, low=0.0, high=1.0) for f in _check.sequence("fractions", fractions)]
    if any(np.ndim(f) for f in given):
        raise InputTypeError("fractions", fractions, "a share is one number", "Pass (0.6, 0.2, 0.2), say.")
    shares = [float(f) for f in given]
    if len(shares) != 3 or sum(shares) > 1 + 1e-9 or min(shares) <= 0:
        raise InputError(
            "fractions",
            tuple(fractions),
            "three positive shares of at most 1 in sum are needed",
            "Pass (train, valid, test), such as (0.6, 0.2, 0.2).",
        )
    cuts = np.rint(np.cumsum(shares) * n).astype(int)
    sizes = np.diff(cuts, prepend=0)
    if sizes.min() == 0:
        raise InputError(
            "fractions",
            tuple(fractions),
            f"a split of {n} examples would be empty",
            "Pass more examples or larger shares.",
        )
    return [int(s) for s in sizes]
