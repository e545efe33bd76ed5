"""The cube as an xarray data set, in memory and as NetCDF; the only file that imports xarray."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxtune._errors import RunFolderError

if TYPE_CHECKING:
    import xarray as xr


_ROOM = 2**26
"""Bytes that texts may always take."""


def make_dataset(
    coordinates: Mapping[str, tuple[str, np.ndarray]],
    dims: Sequence[str],
    seeds: Sequence[int],
    steps: np.ndarray,
    curves: Mapping[str, np.ndarray],
    finals: Mapping[str, np.ndarray],
    modes: Mapping[str, Any],
    failures: Sequence[str],
) -> "xr.Dataset":
    """Returns the cube.

    Args:
      coordinates: for each name the dimension and the values.
      dims: dimensions of the space, in order.
      seeds: the seeds.
      steps: updates done at each evaluation.
      curves: metrics followed through training, shape (arms, seeds, evaluations).
      finals: what is known of each trial at the end, shape (arms, seeds).
      modes: for metric names without their split, `"min"`, `"max"` or None.
      failures: tracebacks of programs that raised.
    """
    import xarray as xr

    coords = dict(coordinates) | {"seed": ("seed", np.array(seeds, np.int64)), "step": ("step", steps)}
    shape = [len(coords[d][1]) for d in dims]
    data = {}
    for name, values in {**curves, **finals}.items():
        behind = ["seed", "step"] if name in curves else ["seed"]
        mode = modes.get(name.partition("_")[2])
        data[name] = ([*dims, *behind], values.reshape(*shape, *values.shape[1:]), {"mode": mode} if mode else {})
    attrs = {"failures": json.dumps(list(failures))} if failures else {}
    return xr.Dataset(data, coords, attrs)


def write_dataset(dataset: "xr.Dataset", path: Path) -> None:
    """Writes the cube as NetCDF."""
    dataset.to_netcdf(path, engine="h5netcdf")


def read_dataset(path: Path) -> "xr.Dataset":
    """Returns the cube from NetCDF, in memory.

    Raises:
      ValueError: the file is missing or damaged.
    """
    import xarray as xr

    try:
        _check_size(path)
        with xr.open_dataset(path, engine="h5netcdf") as file:
            dataset = file.load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise RunFolderError(f"{str(path)!r} cannot be read as results: {error}. Run the experiment again.") from error
    # NetCDF gives strings back as objects.
    texts = {n: v for n, v in dataset.variables.items() if v.dtype == object}
    return dataset.assign(
        {n: v.copy(data=v.values.astype(str)) for n, v in texts.items() if n not in dataset.coords}
    ).assign_coords({n: v.copy(data=v.values.astype(str)) for n, v in texts.items() if n in dataset.coords})


def _check_size(path: Path) -> None:
    """Refuses a file that would take far more memory than it has bytes, or that leads to others.

    Nothing in it is compressed, linked or kept elsewhere, and opening it would follow that.
    """
    import h5py

    lies = path.stat().st_size
    with h5py.File(path) as file:
        for name in file:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{name} is a link")
            item = file[name]
            if isinstance(item, h5py.Group) or (isinstance(item, h5py.Dataset) and (item.external or item.is_virtual)):
                raise ValueError(f"{name} is a group, or kept in other files")
            if not isinstance(item, h5py.Dataset):
                continue
            count = math.prod(item.shape or ())
            if count * item.dtype.itemsize > lies:
                raise ValueError(f"{count * item.dtype.itemsize} bytes of {name} are said to lie in {lies}")
            if (
                h5py.check_string_dtype(item.dtype) and item.ndim
            ):  # each takes the room of the longest, 4 bytes a character
                longest = max((len(text) for row in item for text in np.atleast_1d(row).reshape(-1)), default=0)
                if 4 * count * longest > max(_ROOM, 16 * lies):
                    raise ValueError(f"the texts of {name} would take {4 * count * longest} bytes")
