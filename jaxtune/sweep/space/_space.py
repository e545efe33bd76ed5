"""Spaces of hyperparameters: products of axes, named arms, drawn arms."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtune._errors import InputError, InputTypeError
from jaxtune.sweep.space._axis import Axis, check_name, coordinate, make_axis, make_column, same_value


@dataclasses.dataclass(frozen=True)
class Dim:
    """One dimension of the result: its labels, and the hyperparameters that vary along it."""

    name: str
    labels: tuple[Any, ...]
    axes: tuple[Axis, ...]


@dataclasses.dataclass(frozen=True)
class Space:
    """The arms to run. Spaces multiply: `jt.arms(...) * jt.grid(lr=[...])`.

    Attributes:
      dims: the dimensions, in the order in which the result has them.
    """

    dims: tuple[Dim, ...]

    def __post_init__(self) -> None:
        names = [d.name for d in self.dims] + [a.name for a in self.axes if a.name not in [d.name for d in self.dims]]
        hyperparameters = [a.name for a in self.axes]
        for name in [*names, *hyperparameters]:
            if [d.name for d in self.dims].count(name) > 1 or hyperparameters.count(name) > 1:
                raise InputError("space", name, "two factors of the product have this axis", "Give every axis once.")

    @property
    def axes(self) -> tuple[Axis, ...]:
        """All hyperparameters."""
        return tuple(axis for dim in self.dims for axis in dim.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of labels of each dimension."""
        return tuple(len(d.labels) for d in self.dims)

    def __len__(self) -> int:
        return math.prod(self.shape)

    def __mul__(self, other: "Space") -> "Space":
        """Returns every arm of one space with every arm of the other."""
        if not isinstance(other, Space):
            return NotImplemented
        return Space(self.dims + other.dims)

    def positions(self, arm: int) -> dict[str, int]:
        """Returns where each hyperparameter of an arm lies on its axis."""
        place = np.unravel_index(arm, self.shape)
        return {axis.name: int(i) for dim, i in zip(self.dims, place, strict=True) for axis in dim.axes}

    def values(self, arm: int) -> dict[str, Any]:
        """Returns the hyperparameters of an arm as Python values."""
        at = self.positions(arm)
        return {axis.name: axis.values[at[axis.name]] for axis in self.axes}

    def static_labels(self, arm: int) -> dict[str, Any]:
        """Returns the labels of an arm's static hyperparameters, which tell its program."""
        at = self.positions(arm)
        return {axis.name: axis.labels[at[axis.name]] for axis in self.axes if not axis.traced}

    def stacked(self, arms: Sequence[int]) -> dict[str, Any]:
        """Returns the traced hyperparameters of some arms, each leaf with a leading axis."""
        at = [self.positions(arm) for arm in arms]
        return {axis.name: axis.stacked([p[axis.name] for p in at]) for axis in self.axes if axis.traced}

    def coordinates(self) -> dict[str, tuple[str, np.ndarray]]:
        """Returns the coordinates of the result: the labels of dimensions, and of what varies along `arm`."""
        found = {}
        for dim in self.dims:
            for axis in dim.axes:
                found[axis.name] = (dim.name, coordinate(axis.labels))
            found[dim.name] = (dim.name, coordinate(dim.labels))
        return found

    def __repr__(self) -> str:
        parts = [f"{d.name}: {len(d.labels)}" for d in self.dims]
        return f"Space({', '.join(parts)}; {len(self)} arms of {', '.join(a.name for a in self.axes)})"


def grid(**axes: Any) -> Space:
    """Returns the product of axes: every combination of their values.

    Args:
      **axes: for each hyperparameter a sequence of values, or a dict of labels to values. Real numbers of which one is a
        float are traced, as are pytrees of numbers; all else is static. `jt.traced` and `jt.static` override.

    Raises:
      ValueError, TypeError: an empty axis, equal values, NaN, a reserved name, or values that need labels.

    Example:
      >>> import jaxtune as jt
      >>> jt.grid(l2=[0.0, 1e-4], width=[32, 64])
      Space(l2: 2, width: 2; 4 arms of l2, width)
    """
    made = [make_axis(name, values) for name, values in axes.items()]
    return Space(tuple(Dim(axis.name, axis.labels, (axis,)) for axis in made))


def arms(
    default: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]] | None = None, /, **more: Mapping[str, Any]
) -> Space:
    """Returns named arms, each the default with some changes, as in the ablation table of a paper.

    Args:
      default: the hyperparameters of the arm `default`, which comes first.
      changes: for each further arm what it changes; for names that are no identifiers.
      **more: the same, for names that are identifiers.

    Raises:
      ValueError, TypeError: an arm called `default`, an arm that changes what the default does not have, two arms with
        equal values, or values that no axis can have.

    Example:
      >>> import jaxtune as jt
      >>> jt.arms(dict(l2=0.0, dropout=0.0), l2=dict(l2=1e-3), dropout=dict(dropout=0.5), both=dict(l2=1e-3, dropout=0.5))
      Space(arm: 4; 4 arms of l2, dropout)
    """
    if not isinstance(default, Mapping) or not default:
        raise InputTypeError(
            "default",
            default,
            "the default arm is a dict of hyperparameters",
            "Write jt.arms(dict(l2=0.0), l2=dict(l2=1e-3)).",
        )
    if not isinstance(changes, Mapping | None):
        cure = "Write jt.arms(default, {'no l2': dict(l2=0.0)})."
        raise InputTypeError("changes", changes, "further arms are a dict of names to dicts", cure)
    for name in default:
        check_name(name)
    clash = set(changes or {}) & set(more)
    named: dict[str, Mapping[str, Any]] = {**(changes or {}), **more}
    if "default" in named or clash:
        name = "default" if "default" in named else sorted(clash)[0]
        raise InputError("arms", name, "this arm is there already", "Choose another name.")
    for name, change in named.items():
        if not isinstance(name, str) or not name:
            raise InputTypeError("arms", name, "names of arms are strings that are not empty", "Use a string.")
        if not isinstance(change, Mapping):
            raise InputTypeError(name, change, "an arm is a dict of what it changes", f"Write {name}=dict(l2=1e-3).")
        for key in change:
            if key not in default:
                raise InputError(
                    name,
                    key,
                    "the default arm does not have this hyperparameter",
                    f"Give the default a value for it; it has {', '.join(default)}.",
                )
    settings = [dict(default), *({**default, **change} for change in named.values())]
    names = ["default", *named]
    columns = tuple(make_column(key, [s[key] for s in settings], names) for key in default)
    for i in range(len(names)):
        for j in range(i):
            if all(same_value(c.values[i], c.values[j]) for c in columns):
                raise InputError(
                    "arms", (names[j], names[i]), "these two arms have equal values", "Remove one of them."
                )
    return Space((Dim("arm", tuple(names), columns),))


def drawn(axes: Sequence[Axis]) -> Space:
    """Returns arms that are numbered from 0 and have the values of these axes."""
    return Space((Dim("arm", tuple(range(len(axes[0].values))), tuple(axes)),))
