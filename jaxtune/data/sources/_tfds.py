"""TensorFlow Datasets, read from disk without TensorFlow; the only file that imports it."""

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxtune._errors import InputError, first_line
from jaxtune.data.sources import _tfrecord

_BLOCK = 1024
"""Records that are decoded at a time."""


class Source(NamedTuple):
    """A data set on disk.

    Attributes:
      folder: where it is.
      splits: numbers of examples by name.
      features: what an example has: names and forms, such as `"Image(shape=(28, 28, 1), dtype=uint8)"`.
      labels: the names of those features that are labels of classes, with the number of classes.
      images: the names of those that are images.
      read: `read(split, names) -> arrays`, with splits such as `"train[:80%]"`.
      access: `access(split) -> (size, example)`: random access to a split, `example(i)` being a dict of arrays.
      bytes: `bytes(split, names) -> number`: what these features of a split take in numbers of 32 bits; 0 if their shapes
        are not known.
    """

    folder: Path
    splits: dict[str, int]
    features: dict[str, str]
    labels: dict[str, int]
    images: list[str]
    read: Callable[[str, Sequence[str]], dict[str, np.ndarray]]
    access: Callable[[str], tuple[int, Callable[[int], dict[str, Any]]]]
    bytes: Callable[[str, Sequence[str]], int]


def default_folder() -> Path:
    """Returns where TFDS keeps data sets: `TFDS_DATA_DIR`, or `~/tensorflow_datasets`."""
    return Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")


def find(name: str, data_dir: Path) -> Path:
    """Returns the folder of a data set, of the newest version unless one is given.

    Args:
      name: such as `"mnist"`, `"mnist:3.0.1"` or `"glue/cola:2.0.0"`.
      data_dir: where to look.

    Raises:
      ValueError: it is not there, was not prepared to its end, or has several configurations.
    """
    path, _, version = name.partition(":")
    folder = data_dir / path
    if not folder.is_dir():
        raise InputError("name", name, _absent(path, data_dir), _how_to_prepare(path, data_dir))
    found = {child.name: child for child in folder.iterdir() if _is_version(child.name) and child.is_dir()}
    if not found:
        configs = sorted(child.name for child in folder.iterdir() if child.is_dir())
        reason = f"{folder} holds no version of it" + (f", but the configurations {configs}" if configs else "")
        cure = f"Pass {path + '/' + configs[0]!r}, say." if configs else _how_to_prepare(path, data_dir)
        raise InputError("name", name, reason, cure)
    if version and version not in found:
        raise InputError("name", name, f"{folder} has the versions {sorted(found)}", "Choose one of these.")
    return found[version or max(found, key=lambda v: tuple(map(int, v.split("."))))]


def open_folder(folder: Path) -> Source:
    """Returns the data set of a folder in TFDS's format.

    Raises:
      ValueError: there is none, or it was not prepared to its end.
    """
    for needed in ("dataset_info.json", "features.json"):
        if not (folder / needed).is_file():
            reason = f"it has no {needed}, so it is no data set of TFDS, or was not prepared to its end"
            raise InputError("folder", str(folder), reason, "Prepare it anew.")
    with _quiet():
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(str(folder))
    features, kinds = builder.info.features, tfds.features
    if not isinstance(features, kinds.FeaturesDict):
        reason = f"its examples are {type(features).__name__} and not dicts"
        raise InputError("folder", str(folder), reason, "Use a data set whose examples have names.")
    for split in builder.info.splits.values():
        for file in split.filepaths:
            if not Path(file).is_file():
                reason = f"the file {Path(file).name} is missing"
                raise InputError("folder", str(folder), reason, "Prepare the data set anew.")

    def read(split: str, names: Sequence[str]) -> dict[str, np.ndarray]:
        with _quiet():
            return _read(builder, split, names)

    def access(split: str) -> tuple[int, Callable[[int], dict[str, Any]]]:
        with _quiet():
            return _access(builder, split)

    def size(split: str, names: Sequence[str]) -> int:
        shapes: list[Any] = [getattr(features[name], "shape", None) for name in names]
        if any(shape is None or None in shape for shape in shapes):
            return 0
        return _info(builder, split).num_examples * sum(4 * int(np.prod(shape)) for shape in shapes)

    return Source(
        folder,
        {name: split.num_examples for name, split in builder.info.splits.items()},
        {name: repr(feature) for name, feature in features.items()},
        {n: f.num_classes for n, f in features.items() if isinstance(f, kinds.ClassLabel)},
        [n for n, f in features.items() if isinstance(f, kinds.Image)],
        read,
        access,
        size,
    )


def known_names() -> list[str]:
    """Returns the names of all data sets that TFDS can prepare."""
    with _quiet():
        from tensorflow_datasets.core import registered

        return list(registered.list_imported_builders())


def write(name: str, data_dir: Path, splits: Mapping[str, Mapping[str, np.ndarray]], *, classes: int | None) -> Path:
    """Writes arrays as a data set in TFDS's format, and returns its folder.

    Args:
      name: what it is called.
      data_dir: where it goes, as `data_dir/name/1.0.0`.
      splits: by name, each with the arrays `x` and `y`.
      classes: number of classes, None for targets.
    """
    with _quiet(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import tensorflow_datasets as tfds

        first = next(iter(splits.values()))

        def of(array: np.ndarray) -> Any:
            return tfds.features.Tensor(shape=array.shape[1:], dtype=array.dtype)

        label = tfds.features.ClassLabel(num_classes=classes) if classes is not None else of(first["y"])

        class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
            """Arrays as they are, in their order."""

            VERSION = tfds.core.Version("1.0.0")

            def _info(self) -> Any:
                features = tfds.features.FeaturesDict({"x": of(first["x"]), "y": label})
                return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

            def _split_generators(self, dl_manager: Any) -> Any:
                del dl_manager
                return {split: self._generate_examples(arrays) for split, arrays in splits.items()}

            def _generate_examples(self, arrays: Mapping[str, np.ndarray]) -> Iterator[Any]:
                for i in range(len(arrays["y"])):
                    y = arrays["y"][i]
                    yield i, {"x": arrays["x"][i], "y": int(y) if classes is not None else y}

        Builder.name = name
        builder = Builder(data_dir=str(data_dir), file_format="array_record")
        builder.download_and_prepare()
        return Path(builder.data_dir)


def _read(builder: Any, split: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns the arrays of a split, record by record."""
    info = _info(builder, split)
    examples = _from_tfrecords(builder, info) if _is_tfrecord(builder) else _from_source(builder, split)
    columns: dict[str, np.ndarray] = {}
    i = -1
    try:
        for i, example in enumerate(examples):
            for name in names:
                value = np.asarray(example[name])
                if i == 0:
                    columns[name] = np.empty((info.num_examples, *value.shape), value.dtype)
                if value.shape != columns[name].shape[1:]:
                    reason = f"example {i} has shape {value.shape}, and those before {columns[name].shape[1:]}"
                    raise InputError(name, split, reason, "Bring them to one shape when you prepare the data set.")
                columns[name][i] = value
        if i + 1 < info.num_examples:  # a file that ends between two records
            reason = f"the split {split} has {info.num_examples} examples, and its files hold {i + 1}"
            raise InputError("folder", str(builder.data_dir), reason, "The file is damaged: prepare it anew.")
    except InputError:
        raise
    except Exception as error:  # decoders, protocol buffers and file readers raise what comes
        raise _unreadable(builder, error) from error
    return columns


def _access(builder: Any, split: str) -> tuple[int, Callable[[int], dict[str, Any]]]:
    """Returns the size of a split, and a function from a number to an example."""
    info = _info(builder, split)
    if _is_tfrecord(builder):
        parts = [
            (Path(part.filename), part.skip, None if part.take < 0 else part.skip + part.take)
            for part in info.file_instructions
        ]
        records = _tfrecord.indexed(parts)
        size = len(records.places)

        def read(i: int) -> Any:
            return builder.info.features.deserialize_example_np(records.read(i))
    else:
        source = builder.as_data_source(split=split)
        size, read = len(source), source.__getitem__
    if size < info.num_examples:
        reason = f"the split {split} has {info.num_examples} examples, and its files hold {size}"
        raise InputError("folder", str(builder.data_dir), reason, "The file is damaged: prepare it anew.")

    def example(i: int) -> dict[str, Any]:
        try:
            return read(i)
        except InputError:
            raise
        except Exception as error:  # decoders, protocol buffers and file readers raise what comes
            raise _unreadable(builder, error) from error

    return size, example


def _info(builder: Any, split: str) -> Any:
    """Returns what TFDS says of a split.

    Raises:
      ValueError: there is none, or no example in it.
    """
    try:
        info = builder.info.splits[split]
    except Exception as error:  # TFDS raises what comes: KeyError, ValueError, AssertionError
        known = ", ".join(builder.info.splits)
        reason = f"it cannot be made of the splits {known}"
        raise InputError("splits", split, reason, "Write 'train', 'train[:80%]' or 'train[1000:]', say.") from error
    if info.num_examples == 0:
        raise InputError("splits", split, "no example is in it", "Choose a larger part.")
    return info


def _is_tfrecord(builder: Any) -> bool:
    return bool(builder.info.file_format.value == "tfrecord")


def _unreadable(builder: Any, error: Exception) -> InputError:
    reason = f"a record cannot be read ({type(error).__name__}: {first_line(error)})"
    return InputError("folder", str(builder.data_dir), reason, "The file is damaged: prepare it anew.")


def _from_source(builder: Any, split: str) -> Iterator[dict[str, Any]]:
    source = builder.as_data_source(split=split)
    for start in range(0, len(source), _BLOCK):
        yield from source.__getitems__(list(range(start, min(start + _BLOCK, len(source)))))


def _from_tfrecords(builder: Any, info: Any) -> Iterator[dict[str, Any]]:
    """Reads the format that `tfds.load` leaves on disk, which TFDS reads with TensorFlow alone."""
    for part in info.file_instructions:
        stop = None if part.take < 0 else part.skip + part.take
        for record in _tfrecord.records(Path(part.filename), part.skip, stop):
            yield builder.info.features.deserialize_example_np(record)


def _is_version(name: str) -> bool:
    return re.fullmatch(r"\d+\.\d+\.\d+", name) is not None


def _absent(name: str, data_dir: Path) -> str:
    there = sorted(p.name for p in data_dir.iterdir() if p.is_dir()) if data_dir.is_dir() else None
    if there is None:
        return f"the folder {data_dir} does not exist"
    return f"it is not in {data_dir}, which holds {', '.join(there) or 'nothing'}"


def _how_to_prepare(name: str, data_dir: Path) -> str:
    return (
        f"Where there is a network and TensorFlow: `tfds.load({name!r}, data_dir={str(data_dir)!r})`; "
        "or pass data_dir=, where it has been prepared."
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TFDS from speaking of what it does not find and is not needed."""
    import logging

    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    os.environ.setdefault("NO_GCE_CHECK", "true")  # or it looks for a server
    try:
        yield
    finally:
        logger.setLevel(before)
