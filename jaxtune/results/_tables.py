"""The three tables: each arm, each arm against a baseline, and the best arm."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxtune._errors import InputError, InputTypeError
from jaxtune.results import _cube
from jaxtune.results._statistics import (
    Interval,
    bootstrap_interval,
    fold_interval,
    fold_p,
    holm,
    paired_p,
    sign_flip_p,
    t_interval,
)

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

COVERS = "intervals cover all that seeds draw (initialization, batches, masks, subsets) on one split of the data"
COVERS_STREAMED = (
    "intervals cover all that seeds draw (initialization, masks) but not the order of batches, which was streamed and is "
    "the same for all, on one split of the data"
)
COVERS_DATA = (
    "intervals, corrected for folds that share examples, cover the choice of the data and the randomness of training"
)


@dataclasses.dataclass(frozen=True)
class Best:
    """The arm that validation chose.

    Attributes:
      arm: its setting, by dimension.
      metric: the validation metric that chose it.
      valid: that metric of the arm over the seeds. The arm was chosen for it, so the mean is optimistic.
      test: the same metric on the test split, read for the chosen arm alone.
      hyperparameters: what varies along `arm`, if the space has named or drawn arms.
      lost: trials of all arms that did not end well; arms with such trials are not chosen.
    """

    arm: dict[str, Any]
    metric: str
    valid: Interval
    test: Interval
    hyperparameters: dict[str, Any]
    lost: int

    def __str__(self) -> str:
        name = self.metric.removeprefix("valid_")
        drawn = self.hyperparameters if isinstance(self.arm.get("arm"), int) else {}
        setting = ", ".join(
            f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in {**self.arm, **drawn}.items()
        )
        lost = f"; {self.lost} trials did not end well" if self.lost else ""
        return (
            f"best by {self.metric}: {setting} (validation {_show(self.valid)}; test {name} {_show(self.test)}{lost})"
        )


def summary(dataset: "xr.Dataset", metric: str, level: float, folds: str | None = None) -> "pd.DataFrame":
    """Returns one row per arm: drawn values, mean, interval, number of trials, trials that did not end well."""
    import pandas as pd

    interval = t_interval if folds is None else fold_interval
    kept = _cube.at_kept(dataset, metric)
    if folds is not None:
        dataset = _cube.by_fold(dataset, metric, folds)
    values = _cube.rows(dataset, kept if folds is None else _cube.fold_means(kept, folds))
    intervals = [interval(row[~np.isnan(row)], level) for row in values]
    table = pd.DataFrame(intervals, index=_cube.arm_index(dataset), columns=["mean", "low", "high", "n"])
    table["lost"] = _cube.lost(dataset, kept)
    for position, (name, drawn) in enumerate(_cube.drawn_columns(dataset).items()):
        table.insert(position, f"hp.{name}" if name in table.columns else name, drawn)
    table.attrs["note"] = f"{metric} at the kept parameters; {level:.0%} t {_covers(dataset, folds)}."
    return table


def compare(
    dataset: "xr.Dataset",
    metric: str,
    baseline: Mapping[str, Any],
    level: float,
    method: Literal["t", "bootstrap"],
    folds: str | None = None,
) -> "pd.DataFrame":
    """Returns one row per arm that is not a baseline: its paired difference, interval and p values."""
    import pandas as pd

    if method not in ("t", "bootstrap"):
        raise InputError("method", method, "there is no such interval", "Pass 't' or 'bootstrap'.")
    interval = t_interval if method == "t" else bootstrap_interval
    if folds is not None:
        if method != "t":
            raise InputError("method", method, "with folds there is the corrected t interval alone", "Pass 't'.")
        interval = fold_interval
    dims = _cube.arm_dims(dataset)
    fixed = _cube.positions(dataset, baseline, dims, partial=True)
    values = _cube.at_kept(dataset, metric)
    # The baseline of an arm has the named axes at their baseline values and agrees with the arm in all others.
    against = values.isel(fixed).drop_vars(list(fixed)).broadcast_like(values)
    differences = values.astype(np.float64) - against.astype(np.float64)
    if folds is not None:
        if folds in fixed:
            raise InputError("baseline", baseline, "arms are compared within each fold", f"Leave out {folds}.")
        dataset, differences = _cube.by_fold(dataset, metric, folds), _cube.fold_means(differences, folds)
        dims = _cube.arm_dims(dataset)
    rows = _cube.rows(dataset, differences)
    shape = [dataset.sizes[d] for d in dims]
    place = np.stack(np.unravel_index(np.arange(len(rows)), shape), axis=1)
    is_baseline = np.all([place[:, dims.index(d)] == i for d, i in fixed.items()], axis=0)

    records = []
    for row in rows[~is_baseline]:
        difference = row[~np.isnan(row)]
        mean, low, high, pairs = interval(difference, level)
        p_sign, floor = sign_flip_p(difference)
        p = paired_p(difference) if folds is None else fold_p(difference)
        records.append((mean, low, high, p, np.nan, p_sign, floor, pairs))
    columns = ["difference", "low", "high", "p", "p_holm", "p_sign_flip", "p_sign_flip_floor", "pairs"]
    table = pd.DataFrame(records, index=_cube.arm_index(dataset)[~is_baseline], columns=columns)
    table["p_holm"] = holm(table["p"].to_numpy())
    table["lost"] = _cube.lost(dataset, values)[~is_baseline]
    if folds is not None:  # its signs are not exchangeable
        table = table.drop(columns=["p_sign_flip", "p_sign_flip_floor"])
    shown = ", ".join(f"{k}={v}" for k, v in baseline.items())
    kind = "t" if method == "t" else "studentized bootstrap"
    if folds is None:
        tests = f", and of the sign-flip test, which with n pairs is at least {_floor(table)}"
    else:
        tests = ", corrected likewise"
    table.attrs["note"] = (
        f"{metric}: arm minus baseline ({shown}), paired by {folds or 'seed'}; {level:.0%} {kind} {_covers(dataset, folds)}; "
        f"p of the paired t-test, by Holm over {len(table)} arms{tests}."
    )
    return table


def _covers(dataset: "xr.Dataset", folds: str | None) -> str:
    if folds is not None:
        return COVERS_DATA
    return COVERS_STREAMED if dataset.attrs.get("streamed") else COVERS


def best(dataset: "xr.Dataset", metric: str, mode: str | None, level: float) -> Best:
    """Returns the arm with the best mean of a validation metric, all of whose trials ended well."""
    sign = _sign(dataset, metric, mode)
    values = _cube.rows(dataset, _cube.at_kept(dataset, metric))
    means = np.where(np.isnan(values).any(axis=1), -np.inf, sign * values.mean(axis=1))
    if not np.isfinite(means).any():
        raise InputError(
            "metric",
            metric,
            "no arm has this metric of all its trials",
            "Look at result.dataset.status, and widen the space.",
        )
    row = int(np.argmax(means))
    dims = _cube.arm_dims(dataset)
    place = np.unravel_index(row, [dataset.sizes[d] for d in dims])
    chosen = dataset.isel(dict(zip(dims, place, strict=True)))
    setting = {d: chosen[d].item() for d in dims}
    test = _cube.at_kept(chosen, "test_" + metric.removeprefix("valid_")).values.astype(np.float64)
    lost = int((~_cube.ended_well(dataset)).sum())
    along = {str(n): c.item() for n, c in chosen.coords.items() if n not in dims and dataset[n].dims == ("arm",)}
    return Best(setting, metric, t_interval(values[row], level), t_interval(test, level), along, lost)


def best_per(dataset: "xr.Dataset", metric: str, per: str, mode: str | None, level: float) -> "pd.DataFrame":
    """Returns, for each value of one axis, the best of the other axes: one row per value."""
    import pandas as pd

    dims = _cube.arm_dims(dataset)
    if per not in dims:
        raise InputError("per", per, "the result has no such axis", f"Axes: {', '.join(dims)}.")
    records = []
    _sign(dataset, metric, mode)
    for i, label in enumerate(dataset[per].values.tolist()):
        part = dataset.isel({per: [i]})
        try:
            found = best(part, metric, mode, level)
        except InputError:  # no arm with this value has all its trials ended well
            records.append({per: label, "lost": int(_lost(part).sum())})
            continue
        ends = {f"valid_{k}": v for k, v in found.valid._asdict().items()}
        ends |= {f"test_{k}": v for k, v in found.test._asdict().items()}
        records.append({**found.arm, **ends, "lost": found.lost})
    columns = [
        *(d for d in dims if d != per),
        *(f"{s}_{e}" for s in ("valid", "test") for e in Interval._fields),
        "lost",
    ]
    table = pd.DataFrame(records).set_index(per).reindex(columns=columns).drop(columns=["test_n"])
    table = table.rename(columns={} if "n" in dims else {"valid_n": "n"})
    table.attrs["note"] = f"chosen by {metric} for each {per}; {level:.0%} t {COVERS}."
    return table


def _sign(dataset: "xr.Dataset", metric: str, mode: str | None) -> float:
    if not isinstance(metric, str):
        raise InputTypeError("metric", metric, "metrics have names", "Pass 'valid_loss', say.")
    if not metric.startswith("valid_"):
        raise InputError(
            "metric",
            metric,
            "the best arm is chosen on validation only",
            f"Pass 'valid_{metric.partition('_')[2] or metric}'.",
        )
    _cube.at_kept(dataset, metric)
    mode = mode or dataset[metric].attrs.get("mode")
    if mode not in ("min", "max"):
        raise InputError(
            "mode",
            mode,
            f"it is not known whether less or more of {metric} is better",
            "Pass mode='min' or mode='max'.",
        )
    return 1.0 if mode == "max" else -1.0


def _lost(dataset: "xr.Dataset") -> np.ndarray:
    return (~_cube.rows(dataset, _cube.ended_well(dataset)).astype(bool)).sum(axis=1)


def _floor(table: "pd.DataFrame") -> str:
    floors = sorted({f for f in table["p_sign_flip_floor"] if not np.isnan(f)})
    return ", ".join(f"1/{round(1 / f)}" for f in floors) or "unknown"


def _show(interval: Interval) -> str:
    return f"{interval.mean:.4f} [{interval.low:.4f}, {interval.high:.4f}] over {interval.n} seeds"
