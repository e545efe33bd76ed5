"""Figures, one function per question. Matplotlib is imported when one is drawn."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxtune._errors import InputError
from jaxtune.results import _cube
from jaxtune.results._result import Result
from jaxtune.results._statistics import t_interval

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_MOST_CURVES = 10


def learning_curves(
    result: Result,
    metric: str = "valid_loss",
    *,
    level: float = 0.95,
    ax: "matplotlib.axes.Axes | None" = None,
    **setting: Any,
) -> "matplotlib.figure.Figure":
    """Returns a figure of how a metric changes while each arm trains: the mean over seeds with its t interval.

    A trial that has stopped keeps its last value, so that the mean is always over the same trials; trials that did not
    end well are left out, and the legend says how many.

    Args:
      result: the result.
      metric: one that was followed through training, such as `"valid_loss"`.
      level: confidence of the band, in (0, 1).
      ax: where to draw; None makes a new figure.
      **setting: values of axes to hold fixed; of the rest, at most ten arms can be told apart.

    Raises:
      ValueError: no such metric, axis or value, or more than ten arms.
    """
    dataset = _chosen(result, setting)
    if metric not in dataset or "step" not in dataset[metric].dims:
        followed = [str(v) for v in dataset.data_vars if "step" in dataset[v].dims]
        raise InputError(
            "metric", metric, "it was not followed through training", f"Choose among: {', '.join(followed)}."
        )
    dims = _cube.arm_dims(dataset)
    arms = dataset[metric].transpose(*dims, "seed", "step").values
    arms = arms.reshape(-1, *arms.shape[-2:]).astype(np.float64)
    if len(arms) > _MOST_CURVES:
        raise InputError(
            "result",
            f"{len(arms)} arms",
            f"more than {_MOST_CURVES} curves cannot be told apart",
            f"Hold some of {', '.join(dims)} fixed, as in {dims[0]}=....",
        )
    good = _cube.rows(dataset, _cube.ended_well(dataset)).astype(bool)
    steps = dataset["step"].values
    figure, ax = _axes(ax)
    for curves, ended, label in zip(arms, good, _names(dataset, dims), strict=True):
        if not ended.any():
            ax.plot([], [], label=f"{label} (no trial ended well)")
            continue
        means, lows, highs, _ = np.array([t_interval(at, level) for at in _carried(curves[ended]).T]).T
        lost = f" ({int((~ended).sum())} lost)" if not ended.all() else ""
        (line,) = ax.plot(steps, means, label=f"{label}{lost}", marker="o" if len(steps) == 1 else None)
        ax.fill_between(steps, lows, highs, color=line.get_color(), alpha=0.15, linewidth=0)
    if metric.endswith("loss") and ax.get_ylim()[0] > 0:
        # Losses fall by orders of magnitude first and differ by percents later.
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("{x:g}")
    ax.set_xlabel("updates")
    ax.set_ylabel(_words(metric))
    ax.set_title(
        f"mean and {level:.0%} interval over {dataset.sizes['seed']} seeds; stopped trials keep their last value",
        fontsize="small",
    )
    ax.legend(
        title=", ".join(_telling(dataset, dims)),
        fontsize="small",
        loc="best" if len(arms) <= 5 else "upper left",
        bbox_to_anchor=None if len(arms) <= 5 else (1.01, 1.0),
    )
    return figure


def response(
    result: Result,
    metric: str = "valid_accuracy",
    *,
    axis: str,
    level: float = 0.95,
    ax: "matplotlib.axes.Axes | None" = None,
    **setting: Any,
) -> "matplotlib.figure.Figure":
    """Returns a figure of how a metric at the kept parameters responds to one axis: mean, interval, and every trial.

    Args:
      result: the result.
      metric: such as `"valid_accuracy"`.
      axis: the axis; the other axes make a line for each of their arms.
      level: confidence of the intervals, in (0, 1).
      ax: where to draw; None makes a new figure.
      **setting: values of other axes to hold fixed.

    Raises:
      ValueError: no such metric, axis or value, or more than ten lines.
    """
    dataset = _chosen(result, setting)
    dims = _cube.arm_dims(dataset)
    if axis not in dims and not (axis in dataset.coords and dataset[axis].dims == ("arm",)):
        raise InputError("axis", axis, "the result has no such axis", f"Axes: {', '.join(dims)}.")
    along = str(dataset[axis].dims[0])
    others = [d for d in dims if d != along]
    values = _cube.at_kept(dataset, metric).transpose(*others, along, "seed").values.astype(np.float64)
    values = values.reshape(-1, dataset.sizes[along], dataset.sizes["seed"])
    if len(values) > _MOST_CURVES:
        raise InputError(
            "result",
            f"{len(values)} lines",
            f"more than {_MOST_CURVES} lines cannot be told apart",
            f"Hold some of {', '.join(others)} fixed, as in {others[0]}=....",
        )
    labels = dataset[axis].values
    repeated = len(set(labels.tolist())) < len(labels)
    numeric = np.issubdtype(labels.dtype, np.number) and not repeated
    order = np.argsort(labels) if numeric else np.arange(len(labels))
    names, place = (
        np.unique(labels[order], return_inverse=True) if repeated else (labels[order], np.arange(len(labels)))
    )
    scale, at = _scale(labels[order]) if numeric else ("index", place.astype(float))
    figure, ax = _axes(ax)
    for i, (line_values, label) in enumerate(zip(values[:, order], _names(dataset, others), strict=True)):
        rows = np.array([t_interval(v[~np.isnan(v)], level) for v in line_values])
        lost = int(np.isnan(line_values).sum())
        shift = (i - (len(values) - 1) / 2) * 0.08 if scale == "index" else 0.0
        label = f"{label} ({lost} lost)" if lost else label
        (line,) = ax.plot(at + shift, rows[:, 0], marker="o", linestyle="-" if numeric else "none", label=label)
        ax.vlines(at + shift, rows[:, 1], rows[:, 2], color=line.get_color(), linewidth=2)
        spread = np.repeat(at + shift + (0.12 if scale == "index" else 0.0), line_values.shape[1])
        ax.scatter(spread, line_values.ravel(), s=12, alpha=0.5, color=line.get_color(), linewidths=0, zorder=3)
    if scale == "index":
        many = len(names) > 4
        ax.set_xticks(
            np.arange(len(names)),
            [_text(v) for v in names],
            rotation=30 if many else 0,
            ha="right" if many else "center",
        )
    elif scale == "log":
        ax.set_xscale("log")
    elif scale == "symlog":
        ax.set_xscale("symlog", linthresh=float(at[at > 0].min()), linscale=0.5)
    ax.set_xlabel(_words(axis))
    ax.set_ylabel(_words(metric))
    ax.set_title(f"mean and {level:.0%} interval over {dataset.sizes['seed']} seeds; dots are trials", fontsize="small")
    if others or np.isnan(values).any():
        ax.legend(title=", ".join(_telling(dataset, others)), fontsize="small")
    return figure


def _chosen(result: Result, setting: Mapping[str, Any]) -> Any:
    """Returns the cube at the given values of some axes, each of which keeps its dimension."""
    at = _cube.positions(result.dataset, setting, _cube.arm_dims(result.dataset), partial=True)
    return result.dataset.isel({d: [i] for d, i in at.items()})


def _carried(curves: np.ndarray) -> np.ndarray:
    """Returns curves, shape (seeds, evaluations), in which each NaN is replaced by the value before it."""
    last = np.maximum.accumulate(np.where(np.isnan(curves), 0, np.arange(curves.shape[1])), axis=1)
    return np.take_along_axis(curves, last, axis=1)


def _telling(dataset: Any, dims: list[str]) -> list[str]:
    """Returns the dimensions that tell arms apart: those of several values, or else all."""
    return [d for d in dims if dataset.sizes[d] > 1] or dims


def _names(dataset: Any, dims: list[str]) -> list[str]:
    """Returns what to call each arm."""
    if not dims:
        return [""]
    shape = [dataset.sizes[d] for d in dims]
    places = np.stack(np.unravel_index(np.arange(int(np.prod(shape))), shape), axis=1)
    telling = _telling(dataset, dims)
    return [
        ", ".join(_text(dataset[d].values[i]) for d, i in zip(dims, place, strict=True) if d in telling)
        for place in places
    ]


def _scale(values: np.ndarray) -> tuple[str, np.ndarray]:
    """Returns a scale on which numbers that span decades can be read, and their places on it."""
    values = values.astype(np.float64)
    if not np.isfinite(values).all() or len(values) == 1:
        return "index", np.arange(len(values), dtype=float)
    positive = values[values > 0]
    wide = len(positive) > 1 and positive.max() / positive.min() >= 8
    if wide and (values >= 0).all():
        return ("log" if len(positive) == len(values) else "symlog"), values
    return "linear", values


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)


def _words(name: str) -> str:
    split, _, rest = name.partition("_")
    return (
        f"{ {'train': 'training', 'valid': 'validation', 'test': 'test'}[split] } {rest.replace('_', ' ')}"
        if split in ("train", "valid", "test") and rest
        else name
    )


def _axes(ax: Any) -> tuple[Any, Any]:
    if ax is not None:
        return ax.figure, ax
    from matplotlib.figure import Figure

    # A figure of its own, not one of pyplot's: nothing is shown, kept or leaked.
    figure = Figure(figsize=(7, 4.3), layout="constrained")
    return figure, figure.subplots()
