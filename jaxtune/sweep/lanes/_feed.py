"""Batches from the host: made and sent to the devices while these compute on the batches before."""

import concurrent.futures
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxtune.data._batches import Batch, Feed, longest_segment


class Feeder:
    """Hands out the batches of each segment on each device.

    One thread makes the next segment while the devices are at work on this one; a segment is made once, and sent once to
    each device.

    Args:
      feed: where the batches come from.
      ends: the updates after which segments end.
    """

    def __init__(self, feed: Feed, ends: np.ndarray):
        self._feed, self._ends = feed, ends
        self._longest = longest_segment(feed, ends)
        self._pool = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self._made: dict[int, Any] = {}
        self._sent: dict[tuple[int, jax.Device], Batch] = {}

    def batches(self, turn: int, device: jax.Device) -> Batch:
        """Returns the batches of a segment on a device; makes the next one in the meantime."""
        for wanted in range(turn, min(turn + 2, len(self._ends))):
            if wanted not in self._made:
                self._made[wanted] = self._pool.submit(self._make, wanted)
        if (turn, device) not in self._sent:
            self._sent[turn, device] = jax.device_put(self._made[turn].result(), device)
        return self._sent[turn, device]

    def forget(self, turns: Sequence[int]) -> None:
        """Drops all segments but those of these turns and the ones after them."""
        keep = {t + i for t in turns for i in (0, 1)}
        self._made = {t: made for t, made in self._made.items() if t in keep}
        self._sent = {place: batch for place, batch in self._sent.items() if place[0] in keep}

    def _make(self, turn: int) -> Batch:
        start = int(self._ends[turn - 1]) if turn else 0
        batches = self._feed.segment(start, int(self._ends[turn]) - start)

        def fill(shape: Any, a: Any) -> np.ndarray:
            full = np.zeros(shape.shape, shape.dtype)
            full[: len(a)] = a
            return full

        return jax.tree.map(fill, self._longest, batches)
