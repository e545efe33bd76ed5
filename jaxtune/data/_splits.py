"""Splits of a data set into training, validation and test examples."""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxtune._errors import InputError
from jaxtune._types import PyTree
from jaxtune.data._validate import (
    check_arrays,
    check_classes,
    check_fractions,
    check_labels,
    check_same_form,
    warn_of_duplicates,
)


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
      names: names of the classes, if their labels came as texts.

    Raises:
      ValueError: the splits differ in form, or labels lie outside the classes.
    """

    train: Arrays
    valid: Arrays
    test: Arrays
    classes: int | None = None
    names: tuple[str, ...] | None = None

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

    Images of type uint8, of shape (n, height, width) or (n, height, width, channels), become float32 in [0, 1] with a
    channel axis. Rows of inputs that are in more than one split are counted in a warning.

    Args:
      x: inputs, an array of shape (n, ...), a table of pandas, or a pytree of such.
      y: labels or targets, shape (n,) or (n, targets). Texts are numbered in their alphabetical order, which is kept as
        `names`.
      seed: fixes the split.
      fractions: shares of training, validation and test examples; positive, at most 1 in sum. What they leave is unused.
      weight: weight of each example, shape (n,).
      classes: number of classes, if some have no example here.

    Raises:
      ValueError: bad fractions, an empty split, a class without examples, a training split of one class, or what `Arrays`
        and `Splits` refuse.

    Example:
      >>> import numpy as np
      >>> import jaxtune as jt
      >>> splits = jt.data.from_arrays(np.arange(30.0).reshape(10, 3), np.arange(10) % 2, fractions=(0.6, 0.2, 0.2))
      >>> len(splits.train), len(splits.valid), len(splits.test), splits.classes
      (6, 2, 2, 2)
    """
    y, names = numbered(y)
    splits = split(Arrays(_as_images(x), y, weight), seed, fractions, classes, names)
    if names is None and classes is None and splits.classes is not None:
        check_classes([splits.train.y, splits.valid.y, splits.test.y])
    warn_of_duplicates({"train": splits.train.x, "valid": splits.valid.x, "test": splits.test.x})
    return splits


def split(
    everything: Arrays,
    seed: int,
    fractions: Sequence[float],
    classes: int | None = None,
    names: tuple[str, ...] | None = None,
) -> Splits:
    """Returns the examples shuffled and split, without a look at them."""
    sizes = check_fractions(fractions, len(everything))
    order = _shuffled(everything.y, np.random.default_rng(seed))
    cuts = np.cumsum(sizes)
    train, valid, test = [everything.take(np.sort(part)) for part in np.split(order, cuts)[:3]]
    return Splits(train, valid, test, classes, names)


def numbered(y: Any) -> tuple[Any, tuple[str, ...] | None]:
    """Returns labels that are texts as numbers, and the texts; anything else as it is, and None."""
    labels = np.asarray(y)
    if labels.dtype.kind == "O" and labels.ndim == 1 and all(isinstance(label, str) for label in labels):
        labels = labels.astype(str)
    if labels.dtype.kind not in "US" or labels.ndim != 1:
        return y, None
    names, numbers = np.unique(labels.astype(str), return_inverse=True)
    return numbers.astype(np.int32), tuple(str(name) for name in names)


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


def _as_images(x: Any) -> Any:
    """Returns images of bytes as floats with channels last, and anything else as it is.

    Raises:
      ValueError: channels come first.
    """
    if not isinstance(x, (np.ndarray, jax.Array)) or x.dtype != np.uint8 or x.ndim not in (3, 4):
        return x
    if x.ndim == 4 and x.shape[1] in (1, 3, 4) and x.shape[3] not in (1, 3, 4):
        reason = "these look like images whose channels come first"
        raise InputError("x", f"an array of shape {x.shape}", reason, "Pass x.transpose(0, 2, 3, 1).")
    if x.ndim == 3:
        warnings.warn(f"x, images of shape {x.shape}, was given a channel axis at its end", stacklevel=3)
        x = x[..., None]
    return np.asarray(x, np.float32) / np.float32(255)


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
