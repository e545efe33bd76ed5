"""Offline data sets as data sets of TFDS on disk."""

import os
from pathlib import Path

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune.data._arrays import Arrays
from jaxtune.data._splits import Splits, split
from jaxtune.data.sources import _tfds
from jaxtune.data.sources._load import OFFLINE


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
    if not isinstance(name, str) or name not in OFFLINE:
        raise InputError("name", name, "it is no offline data set", f"Choose among: {', '.join(OFFLINE)}.")
    root = Path(data_dir).absolute()
    if (root / name).exists():
        raise InputError("data_dir", str(root), f"it holds {name} already", "Choose another folder, or delete that.")
    seed = _check.seed("seed", seed)
    parts = split(Arrays(*OFFLINE[name]()), seed, (0.6, 0.2, 0.2))
    columns = {n: {"x": p.x, "y": p.y} for n, p in zip(("train", "validation", "test"), parts, strict=True)}
    return _tfds.write(name, root, columns, classes=Splits(*parts).classes)
