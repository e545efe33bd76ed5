"""Training examples that are read as they are needed."""

import dataclasses
import functools as ft
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError, JaxtuneError
from jaxtune._types import PyTree
from jaxtune.data._arrays import Arrays, as_array, plain
from jaxtune.data._validate import check_arrays, check_labels, check_same_form


@dataclasses.dataclass(frozen=True)
class Stream:
    """Training examples that are read as they are needed, for more of them than fit in memory.

    It stands in the place of the training split: `jt.data.Splits(jt.data.Stream(source), valid, test)`. Its batches are read
    while the devices compute on the ones before, with the extra `jaxtune[stream]`. All trials see the same
    batches: every epoch goes through all examples in an order that follows from `seed` and the number of the epoch, and not
    from the seed of a trial.

    What needs training examples apart from updates gets a random sample of them, which stays in memory: what is measured as
    `train_loss`, what `normalize` and `reestimate` are fitted to.

    Attributes:
      source: random access to the examples, from several threads: `len(source)`, and `source[i]`, a pair `(x, y)` or a
        triple `(x, y, weight)`, the same whenever it is asked for. x is an array or a pytree of such; shapes and types are the same for all.
        A `grain.MapDataset` is one, and a data set of PyTorch's; so are `jt.data.Arrays`, which may be memory-mapped. A run
        folder knows a source that is not of arrays by its length and the sample alone.
      seed: fixes the order and the sample.
      sample_size: number of examples in the sample, at most; at least 1.

    Raises:
      ValueError: there is no example, they cannot be read, or the sample is not what `jt.data.Arrays` takes.
      TypeError: the source gives no random access, or no pairs.
    """

    source: Any
    seed: int = 0
    sample_size: int = 5000

    def __post_init__(self) -> None:
        if not isinstance(self.source, Arrays) and not (
            hasattr(self.source, "__len__") and hasattr(self.source, "__getitem__")
        ):
            cure = "Pass jt.data.Arrays, a grain.MapDataset, or a class with __len__ and __getitem__."
            raise InputTypeError("source", type(self.source).__name__, "it has no len(source) and source[i]", cure)
        if getattr(self.source, "ndim", 1) == 0:
            raise InputTypeError("source", self.source, "a single number is no set of examples", "Pass jt.data.Arrays.")
        if len(self.source) == 0:
            raise InputError("source", "a source of length 0", "there is no example", "Pass at least one example.")
        if len(self.source) >= 2**31:
            reason = "an epoch has to end: more than 2,147,483,647 examples are not numbered"
            raise InputError("source", f"a source of length {len(self.source)}", reason, "Leave out .repeat(), say.")
        _check.count("sample_size", self.sample_size)
        _check.seed("seed", self.seed)
        self.sample  # noqa: B018  # reads it, so that what is wrong with it is found here

    def __len__(self) -> int:
        return len(self.source)

    @ft.cached_property
    def sample(self) -> Arrays:
        """A random sample of the examples, in memory."""
        size = min(len(self), self.sample_size)
        rows = np.random.default_rng(self.seed).choice(len(self), size, replace=False, shuffle=False)
        return Arrays(*self._read(np.sort(rows)))

    def order(self, epoch: int) -> np.ndarray:
        """Returns the order of the examples in an epoch, int32 (n,): a permutation that follows from `seed` and the epoch."""
        return np.random.default_rng((self.seed, 1, epoch)).permutation(len(self)).astype(np.int32)

    def take(self, index: np.ndarray, classes: int | None) -> tuple[PyTree, np.ndarray, np.ndarray | None]:
        """Returns x, y and weight of some examples along a leading axis, having checked them.

        Args:
          index: their positions, shape (batch,).
          classes: number of classes, None for targets.

        Raises:
          ValueError: a value is not finite, a label outside the classes, or shapes and types differ from those of the sample.
        """
        batch = self._read(index)
        try:
            self._check(batch, classes)
        except ValueError:
            for i in index:  # to name the one
                one = self._read(np.array([i]))
                try:
                    self._check(one, classes)
                except ValueError as error:
                    cure = "Mend it, or leave it out of the source."
                    raise InputError(
                        "source", f"a source whose example {i} cannot be used", str(error), cure
                    ) from error
            raise
        x, y, weight = batch
        return x, y, None if weight is None else weight.astype(np.float32)

    def _check(self, batch: tuple[PyTree, np.ndarray, np.ndarray | None], classes: int | None) -> None:
        x, y, weight = batch
        check_arrays(x, y, weight, whole=False)
        reference = (self.sample.x, self.sample.y, self.sample.weight)
        check_same_form({"sample": reference, "example": batch})
        check_labels({"example": y}, classes)

    def _read(self, index: np.ndarray) -> tuple[PyTree, np.ndarray, np.ndarray | None]:
        if isinstance(self.source, Arrays):
            whole = self.source
            weight = None if whole.weight is None else whole.weight[index]
            return jax.tree.map(lambda a: np.asarray(a[index]), whole.x), whole.y[index], weight
        examples = _examples(self.source, index.tolist())
        x, y, *rest = jax.tree.map(lambda *leaves: plain(np.stack(leaves)), *examples)
        if not isinstance(y, np.ndarray):
            reason = "the second of a pair is a label, or an array of targets"
            raise InputTypeError("source", f"a {type(y).__name__} for y", reason, "Map the source to pairs (x, y).")
        y = y.astype(np.int32) if y.dtype == bool else y
        return x, y, rest[0] if rest else None


def _examples(source: Any, index: Sequence[int]) -> list[tuple[Any, ...]]:
    """Returns some examples as pairs or triples of arrays.

    Raises:
      TypeError: they are none, or differ in structure.
      ValueError: they differ in shape.
    """
    read = getattr(source, "__getitems__", None)
    try:
        found = list(read(index)) if read is not None else [source[i] for i in index]
    except JaxtuneError:
        raise
    except Exception as error:  # sources raise what comes
        shown = f"{', '.join(map(str, index[:3]))}{', ...' if len(index) > 3 else ''}"
        reason = f"reading examples {shown} raised {type(error).__name__}: {error}"
        raise InputError("source", type(source).__name__, reason, "Mend the source, and run again.") from error
    for i, example in zip(index, found, strict=True):
        if not isinstance(example, (tuple, list)) or len(example) not in (2, 3):
            kind = type(example).__name__
            reason = "an example is a pair (x, y), or a triple (x, y, weight)"
            raise InputTypeError("source", f"a {kind} at {i}", reason, "Map the source to pairs.")
    examples = [tuple(map(_as_arrays, example)) for example in found]
    forms = [jax.tree.map(np.shape, example) for example in examples]
    for i, form in zip(index, forms, strict=True):
        if form != forms[0]:
            reason = f"its shapes differ from those of example {index[0]}, {forms[0]}"
            raise InputError("source", f"{form} at {i}", reason, "Bring the examples to one shape.")
    return examples


def _as_arrays(part: Any) -> Any:
    """Returns a part of an example as arrays; a list is one array, as it is in `Arrays`."""
    try:
        return jax.tree.map(lambda leaf: as_array("source", leaf), part, is_leaf=lambda leaf: isinstance(leaf, list))
    except JaxtuneError:
        raise
    except ValueError as error:  # JAX sorts the keys of dicts
        kind = f"an example with a {type(part).__name__}"
        reason = f"it cannot be taken apart ({error})"
        raise InputTypeError("source", kind, reason, "Give dicts in it keys of one type.") from error


def in_memory(split: Arrays | Stream) -> Arrays:
    """Returns the examples of a split, of a stream its sample."""
    return split.sample if isinstance(split, Stream) else split
