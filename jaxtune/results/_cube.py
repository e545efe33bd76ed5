"""Reading the cube: metrics at the kept parameters, arms as rows, settings as positions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxtune._errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

GOOD = ("finished", "stopped")
"""Statuses of trials that ended well."""


def arm_dims(dataset: "xr.Dataset") -> list[str]:
    """Returns the dimensions that tell arms apart, in order."""
    return [str(d) for d in dataset["status"].dims if d != "seed"]


def at_kept(dataset: "xr.Dataset", metric: str) -> "xr.DataArray":
    """Returns a metric of each trial at its kept parameters; NaN where the trial did not end well.

    Raises:
      ValueError: there is no such metric.
    """
    measured = [str(v) for v in dataset.data_vars if str(v).split("_")[0] in ("train", "valid", "test")]
    if metric not in measured:
        raise InputError("metric", metric, "it was not measured", f"Choose among: {', '.join(measured)}.")
    values: xr.DataArray = dataset[metric]
    if "step" in values.dims:
        # A trial that diverged at once keeps step 0, at which nothing was measured; only those are below the first.
        place = np.searchsorted(dataset["step"].values, dataset["best_step"].values)
        values = values.isel(step=dataset["best_step"].copy(data=np.minimum(place, dataset.sizes["step"] - 1)))
    return values.where(ended_well(dataset)).drop_vars("step", errors="ignore")


def ended_well(dataset: "xr.Dataset") -> "xr.DataArray":
    """Returns whether each trial ended as `finished` or `stopped`."""
    return dataset["status"].isin(GOOD)


def rows(dataset: "xr.Dataset", values: "xr.DataArray") -> np.ndarray:
    """Returns values as a matrix of float64, shape (arms, seeds)."""
    return values.transpose(*arm_dims(dataset), "seed").values.reshape(-1, dataset.sizes["seed"]).astype(np.float64)


def arm_index(dataset: "xr.Dataset") -> "pd.Index":
    """Returns the labels of the arms, one row each, in the order of `rows`."""
    import pandas as pd

    dims = arm_dims(dataset)
    if not dims:
        return pd.RangeIndex(1, name="arm")
    labels = [dataset[d].values for d in dims]
    if len(dims) == 1:
        return pd.Index(labels[0], name=dims[0])
    return pd.MultiIndex.from_product(labels, names=dims)


def drawn_columns(dataset: "xr.Dataset") -> dict[str, np.ndarray]:
    """Returns the values drawn by `sample`, one per arm, in the order of `rows`."""
    if "arm" not in dataset.dims or not np.issubdtype(dataset["arm"].dtype, np.integer):
        return {}
    dims = arm_dims(dataset)
    template = dataset["status"].isel(seed=0, drop=True)
    drawn = {str(n): c for n, c in dataset.coords.items() if c.dims == ("arm",) and n != "arm"}
    return {n: c.broadcast_like(template).transpose(*dims).values.reshape(-1) for n, c in drawn.items()}


def by_fold(dataset: "xr.Dataset", metric: str, folds: str) -> "xr.Dataset":
    """Returns a cube of arms alone with folds in the place of seeds, for `rows` and `arm_index`.

    Raises:
      ValueError: the metric is not of the validation split, which is what is held out; there is no such axis, or it has
        one value.
    """
    dims = arm_dims(dataset)
    if not metric.startswith("valid_"):
        reason = "the folds are validation splits, and other splits are shared by all"
        raise InputError("metric", metric, reason, "Pass a validation metric, or leave out folds=.")
    if folds not in dims or dataset.sizes[folds] < 2:
        reason = "the result has no such axis of two folds or more"
        raise InputError("folds", folds, reason, f"Axes: {', '.join(dims)}.")
    status = dataset["status"].isel(seed=0, drop=True).rename({folds: "seed"})
    kept = dataset.drop_vars([*dataset.data_vars, "seed", folds]).drop_dims(["seed", folds, "step"], errors="ignore")
    return kept.assign(status=status)


def fold_means(values: "xr.DataArray", folds: str) -> "xr.DataArray":
    """Returns the means over seeds, of those that are known, with folds in the place of seeds."""
    return values.astype(np.float64).mean("seed").rename({folds: "seed"})


def lost(dataset: "xr.Dataset", values: "xr.DataArray") -> np.ndarray:
    """Returns the number of unknown values of each arm of a cube, over seeds and all that is no arm there."""
    dims = arm_dims(dataset)
    return values.isnull().sum([d for d in values.dims if d not in dims]).transpose(*dims).values.reshape(-1)


def positions(
    dataset: "xr.Dataset", setting: Mapping[str, Any], dims: list[str], partial: bool = False
) -> dict[str, int]:
    """Returns the index of a setting along each dimension; dimensions of one value may be left out.

    Args:
      dataset: the cube.
      setting: labels by dimension.
      dims: the dimensions that there are.
      partial: whether any dimension may be left out, and then is so in what is returned.

    Raises:
      ValueError: an unknown dimension or label, or a dimension that is not settled.
    """
    unknown = set(setting) - set(dims)
    if unknown:
        raise InputError(
            sorted(unknown)[0], setting[sorted(unknown)[0]], "the result has no such axis", f"Axes: {', '.join(dims)}."
        )
    found = {}
    for dim in dims:
        labels = dataset[dim].values
        if dim in setting:
            found[dim] = _position(dim, setting[dim], labels)
        elif partial:
            continue
        elif len(labels) == 1:
            found[dim] = 0
        else:
            raise InputError(dim, None, "this axis has several values", f"Choose one of {[_short(v) for v in labels]}.")
    return found


def _position(dim: str, wanted: Any, labels: np.ndarray) -> int:
    for i, label in enumerate(labels.tolist()):
        if _matches(label, wanted):
            return i
    raise InputError(dim, wanted, "this axis has no such value", f"Values: {[_short(v) for v in labels]}.")


def _matches(label: Any, wanted: Any) -> bool:
    """Returns whether a value, or its text, is meant by a label; True is not 1."""
    wanted = _short(wanted)
    if isinstance(label, bool) or isinstance(wanted, bool):
        return str(label) == str(wanted)
    if isinstance(label, (int, float)) and isinstance(wanted, str):
        try:
            return label == float(wanted)
        except ValueError:
            return False
    return bool(np.all(label == wanted) and np.ndim(wanted) == 0) or str(label) == str(wanted)


def _short(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label
