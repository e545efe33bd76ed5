"""Examples from files: NumPy archives, CSV tables, and folders of images."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError
from jaxtune.data._splits import Splits, from_arrays

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def from_npz(
    path: str | os.PathLike[str],
    *,
    x: str = "x",
    y: str = "y",
    weight: str | None = None,
    groups: str | None = None,
    **options: Any,
) -> Splits:
    """Returns the arrays of an `.npz` file, split as by `jt.data.from_arrays`.

    Args:
      path: the file. Pickled objects in it are refused.
      x: name of the inputs in it.
      y: name of the labels or targets.
      weight: name of the weights, if there are any.
      groups: name of the groups, if there are any.
      **options: `seed`, `fractions`, `classes` of `jt.data.from_arrays`.

    Raises:
      ValueError: it cannot be read, holds no such array, or one of objects.
    """
    file = _existing(path)
    names = {"x": x, "y": y, "weight": weight, "groups": groups}
    found: dict[str, np.ndarray] = {}
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            for argument, name in names.items():
                if name is None:
                    continue
                if name not in archive.files:
                    reason = f"{file.name} holds {', '.join(archive.files) or 'nothing'}"
                    raise InputError(argument, name, reason, "Choose one of these.")
                found[argument] = archive[name]
    except InputError:
        raise
    except ValueError as error:
        if "pickle" in str(error).lower():
            reason = "it holds pickled objects, which could run code when read"
            raise InputError("path", str(file), reason, "Save plain arrays of numbers.") from error
        raise _unreadable(file, error) from error
    except Exception as error:  # zip files, their compressions and NumPy's headers raise what comes
        raise _unreadable(file, error) from error
    given = {"weight": found.get("weight"), "groups": found.get("groups"), **options}
    return from_arrays(found["x"], found["y"], **given)


def from_csv(
    path: str | os.PathLike[str],
    target: str,
    *,
    inputs: Sequence[str] | None = None,
    regression: bool = False,
    groups: str | None = None,
    separator: str = ",",
    **options: Any,
) -> Splits:
    """Returns the rows of a CSV file with a header as examples, split as by `jt.data.from_arrays`.

    Labels that are not numbers are numbered in the order of their names, which `splits.names` keeps.

    Args:
      path: the file.
      target: the column that is y: whole numbers and texts are classes, other numbers targets.
      inputs: the columns that are x, shape (n, columns); None: all others.
      regression: whether whole numbers are targets, too.
      groups: the column that says which rows belong together, if there is one.
      separator: between the fields.
      **options: `seed`, `fractions`, `classes` of `jt.data.from_arrays`.

    Raises:
      ValueError: no such column, rows of different lengths, or inputs that are not finite numbers.
    """
    file = _existing(path)
    if not isinstance(separator, str) or len(separator) != 1 or separator in '"\r\n':
        raise InputError("separator", separator, "it is no single character between fields", "Pass ',' or ';', say.")
    if not isinstance(target, str):
        raise InputTypeError("target", target, "it is no name of a column", "Pass one of those in the header.")
    if inputs is not None:
        inputs = [inputs] if isinstance(inputs, str) else list(_check.sequence("inputs", inputs))
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines, delimiter=separator)
            rows = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise _unreadable(file, error) from error
    if len(rows) < 2:
        raise InputError("path", str(file), "it has no row below a header", "Pass a table.")
    header = [name.strip() for name in rows[0][1]]
    for line, row in rows[1:]:
        if len(row) != len(header):
            reason = f"line {line} has {len(row)} fields, the header has {len(header)}"
            raise InputError("path", str(file), reason, "Fix the line, or pass another `separator`.")
    for argument, name in [("target", target), ("groups", groups), *(("inputs", name) for name in inputs or [])]:
        if name is not None and name not in header:
            raise InputError(argument, name, "there is no such column", f"Choose among: {', '.join(header)}.")
    columns = [name for name in header if name not in (target, groups)] if inputs is None else list(inputs)
    x = np.empty((len(rows) - 1, len(columns)), np.float64)
    for j, name in enumerate(columns):
        place = header.index(name)
        for i, (line, row) in enumerate(rows[1:]):
            try:
                x[i, j] = float(row[place])
            except ValueError as error:
                reason = f"in line {line} it is no number"
                cure = "Encode it as numbers, or leave the column out with `inputs`."
                raise InputError(f"column {name}", row[place], reason, cure) from error

    def texts(name: str) -> list[str]:
        return [row[header.index(name)].strip() for _, row in rows[1:]]

    y = _typed(texts(target))
    if regression and y.dtype.kind not in "iuf":
        reason = "with regression=True it has to be of numbers"
        raise InputError("target", target, reason, "Choose another column, or leave out regression=.")
    if groups is not None:
        options["groups"] = np.array(texts(groups))
    return from_arrays(x, y.astype(np.float64) if regression else y, **options)


def from_folder(path: str | os.PathLike[str], *, size: tuple[int, int] | None = None, **options: Any) -> Splits:
    """Returns images from a folder of folders, one for each class, split as by `jt.data.from_arrays`.

    Images are float32 in [0, 1], shape (n, height, width, channels), with one channel if all are gray and three otherwise.
    Classes are numbered in the order of the folders' names, which `splits.names` keeps.

    Args:
      path: the folder; files in other formats than images are left aside.
      size: height and width that images are brought to; None: they have to have one size.
      **options: `seed`, `fractions` of `jt.data.from_arrays`.

    Raises:
      ValueError: an image cannot be read, sizes differ, or a class is empty.
    """
    from PIL import Image, UnidentifiedImageError

    root = _existing(path, folder=True)
    kinds = sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))
    if len(kinds) < 2:
        raise InputError(
            "path", str(root), f"it holds {len(kinds)} folders, and a class is a folder", "Sort the images."
        )
    images, labels = [], []
    for kind in kinds:
        files = sorted(file for file in kind.iterdir() if file.suffix.lower() in _IMAGES)
        if not files:
            raise InputError("path", str(kind), "the class has no image", "Add some, or remove the folder.")
        for file in files:
            try:
                with Image.open(file) as opened:
                    image = opened.convert("L" if opened.mode in ("1", "L", "I", "I;16") else "RGB")
                    if size is not None:
                        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
                    images.append(np.asarray(image))
            except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
                raise _unreadable(file, error) from error
            labels.append(kind.name)
            if images[-1].shape[:2] != images[0].shape[:2]:
                reason = f"it has {images[-1].shape[:2]} pixels, and those before {images[0].shape[:2]}"
                raise InputError("path", str(file), reason, "Pass size=(height, width).")
    if len({image.ndim for image in images}) > 1:
        images = [np.repeat(image[..., None], 3, -1) if image.ndim == 2 else image for image in images]
    stacked = np.stack(images)
    return from_arrays(stacked if stacked.ndim == 4 else stacked[..., None], labels, **options)


def _typed(texts: list[str]) -> np.ndarray:
    """Returns integers if all texts are whole numbers, else floats if all are numbers, else the texts."""
    for kind in (np.int64, np.float64):
        try:
            return np.array(texts).astype(kind)
        except (ValueError, OverflowError):
            continue
    return np.array(texts)


def _existing(path: str | os.PathLike[str], folder: bool = False) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise InputTypeError("path", path, "it is no path", "Pass a text or a pathlib.Path.")
    found = Path(path)
    if not _check.exists(found) or not (found.is_dir() if folder else found.is_file()):
        raise InputError("path", str(found), f"there is no such {'folder' if folder else 'file'}", "Check the path.")
    return found


def _unreadable(file: Path, error: Exception) -> InputError:
    return InputError("path", str(file), f"it cannot be read ({type(error).__name__}: {error})", "Replace the file.")
