"""Splits of a data set into training, validation and test examples."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxtune._errors import InputError
from jaxtune._types import PyTree
from jaxtune.data._validate import check_arrays, check_fractions, check_labels, check_same_form


@dataclasses.dataclass(frozen=True)
class Arrays:
    """Examples in memory.

    Attributes:
      x: inputs, an array of shape (n, ...) or a pytree of such.
      y: integer labels of shape (n,), or float targets of shape (n,) or (n, targets).
      weight: weight of each example in losses and metrics, shape (n,); None weighs all alike.

    Raises:
      ValueError: lengths differ, values are not finite, or there is no example.
      TypeError: the entries are not numbers.
    """

    x: PyTree
    y: np.ndarray
    weight: np.ndarray | None = None

    def __post_init__(self) -> None:
        x = np.asarray(self.x) if isinstance(self.x, list) else self.x
        object.__setattr__(self, "x", jax.tree.map(_plain, x))
        y = _plain(self.y)
        object.__setattr__(self, "y", y.astype(np.int32) if y.dtype == bool else y)
        if self.weight is not None:
            object.__setattr__(self, "weight", _plain(self.weight))
        check_arrays(self.x, self.y, self.weight)
        if self.weight is not None:
            object.__setattr__(self, "weight", self.weight.astype(np.float32))

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: Any) -> "Arrays":
        """Returns the examples at these positions."""
        weight = None if self.weight is None else self.weight[index]
        return Arrays(jax.tree.map(lambda a: a[index], self.x), self.y[index], weight)


@dataclasses.dataclass(frozen=True)
class Splits:
    """Three disjoint sets of examples of one form.

    Attributes:
      train: what parameters are fitted on.
      valid: what hyperparameters are chosen on.
      test: what the choice is reported on, once.
      classes: number of classes of integer labels; by default one more than the largest label.

    Raises:
      ValueError: the splits differ in form, or labels lie outside the classes.
    """

    train: Arrays
    valid: Arrays
    test: Arrays
    classes: int | None = None

    def __post_init__(self) -> None:
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        for name, part in parts.items():
            if not isinstance(part, Arrays):
                raise InputError(
                    name,
                    type(part).__name__,
                    "a split is a jt.data.Arrays(x, y)",
                    "Wrap the arrays: jt.data.Arrays(x, y).",
                )
        check_same_form({name: (part.x, part.y, part.weight) for name, part in parts.items()})
        object.__setattr__(self, "classes", check_labels({name: part.y for name, part in parts.items()}, self.classes))

    @property
    def outputs(self) -> int:
        """What a model has to return per example: one logit per class, or one number per target."""
        return self.classes if self.classes is not None else int(np.prod(self.train.y.shape[1:]))


def from_arrays(
    x: PyTree,
    y: Any,
    *,
    seed: int = 0,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    weight: Any = None,
    classes: int | None = None,
) -> Splits:
    """Returns the examples shuffled and split, stratified by label where labels are integers.

    Args:
      x: inputs, an array of shape (n, ...) or a pytree of such.
      y: labels or targets, shape (n,) or (n, targets).
      seed: fixes the split.
      fractions: shares of training, validation and test examples; positive, at most 1 in sum. What they leave is unused.
      weight: weight of each example, shape (n,).
      classes: number of classes, if some have no example here.

    Raises:
      ValueError: bad fractions, an empty split, or what `Arrays` and `Splits` refuse.

    Example:
      >>> import numpy as np
      >>> import jaxtune as jt
      >>> splits = jt.data.from_arrays(np.zeros((10, 3), "float32"), np.arange(10) % 2, fractions=(0.6, 0.2, 0.2))
      >>> len(splits.train), len(splits.valid), len(splits.test), splits.classes
      (6, 2, 2, 2)
    """
    everything = Arrays(x, y, weight)
    sizes = check_fractions(fractions, len(everything))
    order = _shuffled(everything.y, np.random.default_rng(seed))
    cuts = np.cumsum(sizes)
    parts = [everything.take(np.sort(part)) for part in np.split(order, cuts)[:3]]
    train, valid, test = parts
    return Splits(train, valid, test, classes)


def _shuffled(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a random order in which every stretch holds the classes in equal shares, within two examples each."""
    order = rng.permutation(len(y))
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        return order
    place = np.empty(len(y))
    for label in np.unique(y):
        members = order[y[order] == label]
        place[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return order[np.argsort(place[order], kind="stable")]


def _plain(array: Any) -> np.ndarray:
    """Returns a NumPy array in the types that programs use: float32 and int32."""
    array = np.asarray(array)
    if np.issubdtype(array.dtype, np.floating):
        with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
            return array.astype(np.float32)
    if np.issubdtype(array.dtype, np.integer) and array.dtype.itemsize > 4:
        info = np.iinfo(np.int32)
        if array.size and not info.min <= array.min() <= array.max() <= info.max:
            outside = array[(array < info.min) | (array > info.max)].flat[0].item()
            raise InputError("array", outside, "integers beyond 32 bits are not used", "Renumber or rescale them.")
        return array.astype(np.int32)
    return array
