"""Offline data sets as data sets of TFDS on disk."""

import os
from pathlib import Path

import numpy as np

from jaxtune._errors import InputError
from jaxtune.data import _tfds
from jaxtune.data._load import OFFLINE
from jaxtune.data._splits import Arrays, split


def prepare(name: str, data_dir: str | os.PathLike[str], *, seed: int = 0) -> Path:
    """Writes an offline data set in TFDS's format, with the splits that `jt.data.load(name)` has, and returns its folder.

    `jt.data.load(name, data_dir=data_dir)` reads it back, to the bit; so does `tfds.data_source`.

    Args:
      name: `"digits"`, `"iris"`, or another set that comes with an installed package.
      data_dir: the folder that it is put into, as `data_dir/name/1.0.0`.
      seed: fixes the split.

    Raises:
      ValueError: no such name, or there is a set of this name already.
    """
    if name not in OFFLINE:
        raise InputError("name", name, "it is no offline data set", f"Choose among: {', '.join(OFFLINE)}.")
    root = Path(data_dir).absolute()
    if (root / name).exists():
        raise InputError("data_dir", str(root), f"it holds {name} already", "Choose another folder, or delete that.")
    splits = split(Arrays(*OFFLINE[name]()), seed, (0.6, 0.2, 0.2))

    def columns(part: Arrays) -> dict[str, np.ndarray]:
        return {"x": part.x, "y": part.y}

    parts = {"train": columns(splits.train), "validation": columns(splits.valid), "test": columns(splits.test)}
    return _tfds.write(name, root, parts, classes=splits.classes)
