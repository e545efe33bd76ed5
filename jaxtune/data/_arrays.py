"""Examples in memory."""

import dataclasses
import mmap
from typing import Any

import jax
import numpy as np

from jaxtune._errors import InputError, InputTypeError, JaxtuneError
from jaxtune._types import PyTree
from jaxtune.data._validate import check_arrays, check_groups


@dataclasses.dataclass(frozen=True)
class Arrays:
    """Examples in memory, or in files of float32 that are mapped into it (`np.load(file, mmap_mode="r")`).

    Attributes:
      x: inputs, an array of shape (n, ...) or a pytree of such.
      y: integer labels of shape (n,), or float targets of shape (n,) or (n, targets).
      weight: weight of each example in losses and metrics, shape (n,); None weighs all alike.
      groups: which examples belong together (a patient's, a speaker's), shape (n,), numbers or texts; for
        `jt.data.fold(..., groups=data.train.groups)`. Training does not see it.

    Raises:
      ValueError: lengths differ, values are not finite, or there is no example.
      TypeError: the entries are not numbers.
    """

    x: PyTree
    y: np.ndarray
    weight: np.ndarray | None = None
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        x = as_array("x", self.x) if isinstance(self.x, list) else self.x
        try:
            object.__setattr__(self, "x", jax.tree.map(lambda a: plain(a, "x"), x))
        except JaxtuneError:
            raise
        except ValueError as error:  # JAX sorts the keys of dicts
            reason = f"it cannot be taken apart ({error})"
            raise InputTypeError("x", type(x).__name__, reason, "Give dicts in it keys of one type.") from error
        y = plain(self.y, "y")
        object.__setattr__(self, "y", y.astype(np.int32) if y.dtype == bool else y)
        if self.weight is not None:
            object.__setattr__(self, "weight", plain(self.weight, "weight"))
        check_arrays(self.x, self.y, self.weight)
        if self.weight is not None:
            object.__setattr__(self, "weight", self.weight.astype(np.float32))
        if self.groups is not None:
            object.__setattr__(self, "groups", as_array("groups", self.groups))
            check_groups(self.groups, len(self.y))

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: Any) -> "Arrays":
        """Returns the examples at these positions."""
        weight = None if self.weight is None else self.weight[index]
        groups = None if self.groups is None else self.groups[index]
        return Arrays(jax.tree.map(lambda a: a[index], self.x), self.y[index], weight, groups)


def as_array(name: str, value: Any) -> np.ndarray:
    """Returns a value as a NumPy array.

    Raises:
      TypeError: its rows differ in length, or it is of random keys.
    """
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        kind = f"a {type(value).__name__}"
        raise InputTypeError(name, kind, f"it is no array ({error})", "Bring rows to one length.") from error


def plain(array: Any, name: str = "array") -> np.ndarray:
    """Returns a NumPy array in the types that programs use: float32 and int32.

    Args:
      array: what is taken for an array.
      name: what the caller calls it.
    """
    array = as_array(name, array)
    if array.dtype == np.float32 and _is_mapped(array):
        return array
    if np.issubdtype(array.dtype, np.floating):
        with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
            return array.astype(np.float32)
    if array.dtype.kind in "iu" and array.dtype.itemsize > 4:
        info = np.iinfo(np.int32)
        if array.size and not info.min <= array.min() <= array.max() <= info.max:
            outside = array[(array < info.min) | (array > info.max)].flat[0].item()
            raise InputError(name, outside, "integers beyond 32 bits are not used", "Renumber or rescale them.")
        return array.astype(np.int32)
    return array


def _is_mapped(array: Any) -> bool:
    """Returns whether an array is a view of a file that is mapped into memory."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return isinstance(array, mmap.mmap)
