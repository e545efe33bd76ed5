"""One axis of a space: its values, their labels, and whether they are traced."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxtune._errors import InputError, InputTypeError
from jaxtune._tree import is_key

_RESERVED = (
    "seed",
    "step",
    "arm",
    "run",
    "status",
    "best_step",
    "first_bad_step",
    "not_finite",
    "not_finite_path",
    "gradient_norm",
    "keys",
    "values",
    "items",
    "get",
)
_PREFIXES = ("train_", "valid_", "test_")


@dataclasses.dataclass(frozen=True)
class Marked:
    """Values that the user has declared traced or static."""

    values: Any
    traced: bool


def static(values: Any) -> Any:
    """Returns the values of an axis marked as static: each is a Python value and a program of its own.

    Args:
      values: a sequence of values, or a dict of labels to values; in `jt.arms`, one value.
    """
    return Marked(values, traced=False)


def traced(values: Any) -> Any:
    """Returns the values of an axis marked as traced: JAX scalars, all served by one program.

    Args:
      values: a sequence of numbers or of pytrees of numbers, or a dict of labels to such; in `jt.arms`, one value.
    """
    return Marked(values, traced=True)


@dataclasses.dataclass(frozen=True)
class Axis:
    """The values that one hyperparameter takes along one dimension.

    Attributes:
      name: the hyperparameter.
      values: one value per position of the dimension; along `arm` they may repeat.
      labels: how they are called in the result; equal labels mean equal values.
      traced: whether they are lanes of one program.
    """

    name: str
    values: tuple[Any, ...]
    labels: tuple[Any, ...]
    traced: bool

    def stacked(self, positions: Sequence[int]) -> Any:
        """Returns the traced values at these positions, each leaf with a leading axis."""
        chosen = [self.values[i] for i in positions]
        real = jax.tree.map(lambda *leaves: not all(_is_int(x) for x in leaves), *self.values)

        def stack(is_real: bool, *leaves: Any) -> np.ndarray:
            return np.stack([np.asarray(x, np.float32 if is_real else np.int32) for x in leaves])

        return jax.tree.map(stack, real, *chosen)


def make_axis(name: str, given: Any) -> Axis:
    """Returns the axis of distinct values that a user has given to `grid` or `choice`.

    Raises:
      ValueError, TypeError: no values, equal values, a reserved name, NaN, missing labels, or a mixture that is neither
        traced nor static.
    """
    check_name(name)
    mark = given.traced if isinstance(given, Marked) else None
    raw = given.values if isinstance(given, Marked) else given
    if isinstance(raw, Mapping):
        labels, values = list(raw), list(raw.values())
        for label in labels:
            if not isinstance(label, str):
                raise InputTypeError(name, label, "labels are strings", "Write the axis as {'label': value, ...}.")
    elif isinstance(raw, (str, bytes)) or not isinstance(raw, Iterable) or getattr(raw, "ndim", 1) == 0:
        raise InputTypeError(name, raw, "an axis is a sequence of values", f"Write {name}=[{raw!r}].")
    else:
        values, labels = list(raw), None
    values = [_plain(name, v) for v in values]
    if not values:
        raise InputError(name, raw, "the axis is empty", "Give it at least one value.")
    is_traced = decide(name, values, mark)
    if labels is None:
        labels = [_own_label(name, v) for v in values]
    if len({_identity(label) for label in labels}) < len(labels):
        raise InputError(name, labels, "two values are equal", "Give every value once.")
    if is_traced and all(_is_number(v) for v in values):
        _check_precision(name, values)
    return Axis(name, tuple(values), tuple(labels), is_traced)


def make_column(name: str, given: Sequence[Any], arms: Sequence[str]) -> Axis:
    """Returns the axis of the values that a name takes in named arms, one value per arm.

    Values without a natural label are called after the first arm that has them.
    """
    check_name(name)
    marks = {v.traced for v in given if isinstance(v, Marked)}
    if len(marks) > 1:
        raise InputError(name, list(given), "it is marked traced in one arm and static in another", "Mark it one way.")
    values = [v.values if isinstance(v, Marked) else v for v in given]
    values = [_plain(name, v) for v in values]
    is_traced = decide(name, values, marks.pop() if marks else None)
    labels: list[Any] = []
    for i, value in enumerate(values):
        same = next((j for j in range(i) if same_value(values[j], value)), None)
        plain = isinstance(value, (bool, int, float, str))
        labels.append(value if plain else arms[i] if same is None else labels[same])
    for i, j in itertools.combinations(range(len(values)), 2):
        if _identity(labels[i]) == _identity(labels[j]) and not same_value(values[i], values[j]):
            raise InputError(
                name, labels[i], "an arm of this name and a value of this name are confused", "Rename the arm."
            )
    return Axis(name, tuple(values), tuple(labels), is_traced)


def decide(name: str, values: Sequence[Any], mark: bool | None) -> bool:
    """Returns whether an axis is traced, from all values that its name takes.

    Real numbers of which one is a float are traced, and so are pytrees of numbers of one structure; all else is static.
    """
    for value in values:
        if any(_is_nan(leaf) for leaf in _leaves(value)):
            raise InputError(name, value, "NaN is no setting", "Remove it.")
        if any(_is_int(leaf) and not -(2**63) <= leaf < 2**63 for leaf in _leaves(value)):
            raise InputError(name, value, "no whole number of 64 bits is as large", "Rescale it.")
    is_traced = _decided(name, values, mark)
    if is_traced:
        _check_range(name, values)
    return is_traced


def _decided(name: str, values: Sequence[Any], mark: bool | None) -> bool:
    if mark is False:
        return False
    numbers = [_is_number(v) for v in values]
    if all(numbers):
        return bool(mark) or not all(_is_int(v) for v in values)
    floats = [isinstance(v, float) for v in values]
    if any(floats):
        raise InputTypeError(
            name,
            list(values),
            "floats are traced, and None, strings and bools cannot be",
            f"Write {name}=jt.static({{'label': value, ...}}), a program for each value.",
        )
    trees = [_is_number_tree(v) for v in values]
    if all(trees):
        forms = {str(jax.tree.structure(v)) + str([np.shape(x) for x in jax.tree.leaves(v)]) for v in values}
        if len(forms) > 1:
            raise InputError(
                name,
                list(values),
                "the values are pytrees of different structure or shapes",
                "Give them one structure, or mark them jt.static.",
            )
        return True
    if mark:
        raise InputTypeError(
            name, list(values), "only numbers and pytrees of numbers can be traced", "Mark the axis jt.static."
        )
    return False


def _check_range(name: str, values: Sequence[Any]) -> None:
    """Refuses traced numbers that 32 bits do not hold, in which they are traced."""
    largest = np.finfo(np.float32).max
    columns = zip(*(jax.tree.leaves(v) for v in values), strict=True)
    for column in columns:
        whole = all(_is_int(x) for x in column)
        for x in column:
            bad = not -(2**31) <= x < 2**31 if whole else bool(np.any(np.isfinite(x) & (np.abs(x) > largest)))
            if bad:
                kind = "int32" if whole else "float32"
                raise InputError(
                    name, x, f"it is traced as {kind}, which does not hold it", "Rescale it, or mark it jt.static."
                )


def _check_precision(name: str, values: Sequence[Any]) -> None:
    """Refuses numbers that float32, in which they are traced, cannot tell apart."""
    with np.errstate(over="ignore", under="ignore"):
        single = np.array(values, np.float64).astype(np.float32)
    lost = [v for v, s in zip(values, single, strict=True) if (v == 0) != (s == 0) or math.isinf(v) != np.isinf(s)]
    if lost or len(set(single.tolist())) < len(values):
        raise InputError(
            name,
            lost[0] if lost else list(values),
            "float32 does not tell these numbers apart",
            "Space them further, or rescale.",
        )


def check_name(name: str) -> None:
    """Refuses names that a result or `hp` uses for something else."""
    if not isinstance(name, str) or not name.isidentifier():
        raise InputError("axis", name, "it is no identifier", "Use a name that can follow `hp.`.")
    if name in _RESERVED or name.startswith(_PREFIXES) or name.startswith("_"):
        raise InputError(
            "axis",
            name,
            "this name is reserved",
            f"Choose a name that is none of {', '.join(_RESERVED)} and begins with none of {', '.join(_PREFIXES)}, _.",
        )


def same_value(a: Any, b: Any) -> bool:
    """Returns whether two values of an axis are the same setting; functions and modules are compared by identity first."""
    if a is b:
        return True
    if type(a) is not type(b) and not (_is_number(a) and _is_number(b)):
        return False
    try:
        return bool(jax.tree.all(jax.tree.map(lambda x, y: np.array_equal(x, y), a, b)))
    except (TypeError, ValueError):
        return False


def coordinate(labels: Sequence[Any]) -> np.ndarray:
    """Returns labels as a coordinate: float64 and int64 exactly as written, bools, or text."""
    kinds = {
        bool if isinstance(x, bool) else float if isinstance(x, float) else int if isinstance(x, int) else str
        for x in labels
    }
    if kinds == {bool}:
        return np.array(labels, bool)
    if kinds == {int}:
        return np.array(labels, np.int64)
    if kinds <= {int, float}:
        return np.array(labels, np.float64)
    return np.array([str(x) for x in labels], dtype=str)


def _plain(name: str, value: Any) -> Any:
    """Returns a value without JAX or NumPy scalars in it: Python numbers, NumPy arrays.

    Raises:
      TypeError: it holds random keys, or dicts whose keys have no order.
    """

    def leaf(x: Any) -> Any:
        if isinstance(x, jax.Array) and is_key(x):
            raise InputTypeError(name, value, "a random key is no setting", "Let seeds differ, or fold in a number.")
        x = np.asarray(x) if isinstance(x, jax.Array) else x
        return x.item() if isinstance(x, (np.generic, np.ndarray)) and x.ndim == 0 else x

    if callable(value) or type(value) in (tuple, list):
        return value
    try:
        return jax.tree.map(leaf, value)
    except ValueError as error:  # JAX sorts the keys of dicts
        reason = f"it cannot be taken apart ({error})"
        raise InputTypeError(name, value, reason, "Give dicts in it keys of one type.") from error


def _is_nan(leaf: Any) -> bool:
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f":
        return bool(np.isnan(leaf).any())
    return isinstance(leaf, (float, np.floating)) and math.isnan(leaf)


def _own_label(name: str, value: Any) -> Any:
    if isinstance(value, (bool, int, float, str)):
        return value
    raise InputTypeError(
        name, value, "a value that is no number, string or bool needs a label", f"Write {name}={{'label': value, ...}}."
    )


def _identity(label: Any) -> Any:
    return isinstance(label, bool), label


def _leaves(value: Any) -> list[Any]:
    return [value] if callable(value) or type(value) in (tuple, list) else jax.tree.leaves(value)


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _is_number_tree(value: Any) -> bool:
    if callable(value) or type(value) in (tuple, list):
        return False
    leaves = jax.tree.leaves(value)
    return bool(leaves) and all(_is_number(x) or (isinstance(x, np.ndarray) and x.dtype.kind in "fiu") for x in leaves)
