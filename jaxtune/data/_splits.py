"""Splits of a data set into training, validation and test examples."""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError
from jaxtune._types import PyTree
from jaxtune.data._arrays import Arrays, as_array
from jaxtune.data._stream import Stream, in_memory
from jaxtune.data._validate import (
    check_classes,
    check_fractions,
    check_labels,
    check_same_form,
    warn_of_duplicates,
)


@dataclasses.dataclass(frozen=True)
class Splits:
    """Three disjoint sets of examples of one form.

    Attributes:
      train: what parameters are fitted on; a `jt.data.Stream` where it does not fit in memory.
      valid: what hyperparameters are chosen on.
      test: what the choice is reported on, once.
      classes: number of classes of integer labels; by default one more than the largest label, of a stream's source one more
        than the largest that its sample and the other splits have.
      names: names of the classes, if their labels came as texts.

    Raises:
      ValueError: the splits differ in form, or labels lie outside the classes.
    """

    train: Arrays | Stream
    valid: Arrays
    test: Arrays
    classes: int | None = None
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        given = {"train": self.train, "valid": self.valid, "test": self.test}
        for name, part in given.items():
            if not isinstance(part, Arrays) and not (name == "train" and isinstance(part, Stream)):
                raise InputError(
                    name,
                    type(part).__name__,
                    "a split is a jt.data.Arrays(x, y)",
                    "Wrap the arrays: jt.data.Arrays(x, y).",
                )
        parts = {name: in_memory(part) for name, part in given.items()}
        check_same_form({name: (part.x, part.y, part.weight) for name, part in parts.items()})
        labels = {name: part.y for name, part in parts.items()}
        if isinstance(self.train, Stream) and isinstance(self.train.source, Arrays):
            labels["train"] = self.train.source.y
        object.__setattr__(self, "classes", check_labels(labels, self.classes))

    @property
    def outputs(self) -> int:
        """What a model has to return per example: one logit per class, or one number per target."""
        return self.classes if self.classes is not None else int(np.prod(self.valid.y.shape[1:]))


def from_arrays(
    x: PyTree,
    y: Any,
    *,
    seed: int = 0,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    weight: Any = None,
    classes: int | None = None,
    groups: Any = None,
) -> Splits:
    """Returns the examples shuffled and split, stratified by label where labels are integers, or by group.

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
      groups: which examples belong together, shape (n,): no group is in two splits. Groups are drawn in random order, each
        for the split that lacks most of its share; labels are not looked at.

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
    parts = split(Arrays(_as_images(x), y, weight, groups), seed, fractions)
    splits = Splits(*parts, classes, names)
    if names is None and classes is None and splits.classes is not None:
        check_classes([part.y for part in parts])
    warn_of_duplicates({name: part.x for name, part in zip(("train", "valid", "test"), parts, strict=True)})
    return splits


def split(everything: Arrays, seed: int, fractions: Sequence[float]) -> tuple[Arrays, Arrays, Arrays]:
    """Returns training, validation and test examples, shuffled, without a look at them."""
    sizes = check_fractions(fractions, len(everything))
    rng = np.random.default_rng(_check.seed("seed", seed))
    if everything.groups is not None:
        parts = _by_group(everything.groups, sizes, rng)
    else:
        parts = np.split(_shuffled(everything.y, rng), np.cumsum(sizes))[:3]
    train, valid, test = (everything.take(np.sort(part)) for part in parts)
    return train, valid, test


def numbered(y: Any) -> tuple[Any, tuple[str, ...] | None]:
    """Returns labels that are texts as numbers, and the texts; anything else as it is, and None."""
    labels = as_array("y", y)
    if labels.dtype.kind == "O" and labels.ndim == 1 and all(isinstance(label, str) for label in labels):
        labels = labels.astype(str)
    if labels.dtype.kind not in "US" or labels.ndim != 1:
        return y, None
    try:
        names, numbers = np.unique(labels.astype(str), return_inverse=True)
    except UnicodeDecodeError as error:
        raise InputTypeError("y", labels, "these bytes are no text", "Decode them first.") from error
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


def _by_group(groups: np.ndarray, sizes: Sequence[int], rng: np.random.Generator) -> list[np.ndarray]:
    """Returns the positions of each split, no group in two.

    Raises:
      ValueError: a split stays empty.
    """
    names, number = np.unique(groups, return_inverse=True)
    wanted = np.array([*sizes, len(groups) - sum(sizes)], float)  # the last is what stays unused
    got = np.zeros(4)
    place = np.empty(len(names), int)
    for group in rng.permutation(len(names)):
        place[group] = np.argmax((wanted - got) / np.maximum(wanted, 1))
        got[place[group]] += np.sum(number == group)
    parts = [np.flatnonzero(place[number.reshape(-1)] == i) for i in range(3)]
    if min(map(len, parts)) == 0:
        reason = f"{len(names)} groups leave a split empty"
        raise InputError("groups", f"{len(names)} groups", reason, "Pass more groups, or other fractions.")
    return parts


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
