"""What several processes know of the trials of one program, as one of them would have saved it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxtune._types import PyTree

_ENDED = np.iinfo(np.int64).max


def merged(parts: Sequence[PyTree]) -> PyTree:
    """Returns where the trials of a program stand by several accounts: of each trial the one that has it farthest.

    Accounts of one trial do not contradict each other, for its bits depend on nothing else.

    Args:
      parts: what `Standing.take` has returned, in chunks of one shape.
    """
    if len(parts) == 1:
        return parts[0]
    far = np.stack([_progress(part) for part in parts])
    best, known = far.argmax(0), far.max(0)
    records = [part["record"] for part in parts]

    def chosen(name: str, lead: int) -> np.ndarray:
        """Returns an array of the record, whose axes (arms, seeds) follow on `lead` others."""
        stacked = np.stack([record[name] for record in records])
        index = best.reshape((1, *[1] * lead, *best.shape, *[1] * (stacked.ndim - 3 - lead)))
        return np.take_along_axis(stacked, index, axis=0)[0]

    record: dict[str, Any] = {name: chosen(name, 1) for name in ("curves", "finals")}
    record |= {name: chosen(name, 0) for name in ("status", "counters", "norms", "ended")}
    ended = [(int(best[place]), place) for place in map(tuple, np.argwhere(known == _ENDED))]
    rows = [{tuple(place): i for i, place in enumerate(np.argwhere(r["ended"]).tolist())} for r in records]
    record["variables"] = _picked([r.get("variables", {}) for r in records], [(p, rows[p][at]) for p, at in ended])
    going = [
        (p, i)
        for p, part in enumerate(parts)
        for i, (arm, seed, _) in enumerate(part["trials"].tolist())
        if best[arm, seed] == p and known[arm, seed] < _ENDED
    ]
    return {
        "shape": parts[0]["shape"],
        "record": record,
        "trials": np.array([parts[p]["trials"][i] for p, i in going], np.int64).reshape(-1, 3),
        "state": _picked([part.get("state", {}) for part in parts], going),
    }


def _progress(part: PyTree) -> np.ndarray:
    """Returns how many calls each trial has made, shape (arms, seeds); -1 where it has not begun."""
    calls = np.where(part["record"]["ended"], _ENDED, -1)
    arms, seeds, turns = part["trials"].T
    calls[arms, seeds] = np.maximum(calls[arms, seeds], turns)
    return calls


def _picked(leaves: Sequence[dict[str, np.ndarray]], rows: Sequence[tuple[int, int]]) -> dict[str, np.ndarray]:
    """Returns some rows of arrays by name, each row by the number of its part and its place there."""
    if not rows:
        return {}
    names = leaves[rows[0][0]]
    return {name: np.stack([leaves[p][name][i] for p, i in rows]) for name in names}
