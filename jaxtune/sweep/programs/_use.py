"""Hyperparameters that change nothing: the worst failure of an ablation is an axis that is silently ignored."""

from collections.abc import Sequence
from typing import Any, Protocol

from jaxtune._errors import UnusedHyperparameterError
from jaxtune.sweep.programs._probe import Probe
from jaxtune.sweep.space._space import Space


class _Program(Protocol):
    """What is asked of a program here."""

    @property
    def static(self) -> dict[str, Any]: ...
    @property
    def arms(self) -> tuple[int, ...]: ...
    @property
    def probe(self) -> Probe: ...
    @property
    def identity(self) -> str: ...


def check_use(space: Space, programs: Sequence[_Program]) -> None:
    """Refuses axes that change nothing.

    Raises:
      UnusedHyperparameterError: no program depends on a traced axis, or two values of a static one make one program
        wherever both occur.
    """
    for axis in space.axes:
        cure = f"Use hp.{axis.name} in the recipe, or remove the axis"
        if axis.traced:
            if not any(axis.name in p.probe.used for p in programs):
                raise UnusedHyperparameterError(
                    f"`{axis.name}` is an axis, but nothing that the recipe computes depends on it. {cure}."
                )
            continue
        contexts: dict[Any, dict[Any, str]] = {}
        for p in programs:
            rest = tuple((k, type(v), v) for k, v in p.static.items() if k != axis.name)
            contexts.setdefault(rest, {})[_key(p.static[axis.name])] = p.identity
        labels = list(dict.fromkeys(_key(label) for label in axis.labels))
        for i, a in enumerate(labels):
            for b in labels[:i]:
                shared = [c for c in contexts.values() if a in c and b in c]
                if shared and all(c[a] == c[b] for c in shared):
                    raise UnusedHyperparameterError(
                        f"`{axis.name}` is an axis, but its values {b[1]!r} and {a[1]!r} make the same program. {cure} or the value."
                    )


def duplicates(space: Space, programs: Sequence[_Program]) -> dict[int, int]:
    """Returns the arms that repeat an earlier arm, for nothing depends on the axes in which they differ."""
    found: dict[int, int] = {}
    seen: dict[Any, int] = {}
    for p in programs:
        for arm in p.arms:
            at = space.positions(arm)
            used = tuple(a.labels[at[a.name]] for a in space.axes if a.name in p.probe.used)
            first = seen.setdefault((p.identity, used), arm)
            if first != arm:
                found[arm] = first
    return found


def _key(label: Any) -> tuple[type, Any]:
    return type(label), label  # True is not 1
