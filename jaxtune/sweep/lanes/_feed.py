"""Batches from the host: made while the devices compute on the batches before."""

import concurrent.futures
from collections.abc import Sequence
from typing import Any, cast

import jax

from jaxtune.data.batches._feed import Feed
from jaxtune.training._turns import Fed, Turns


class Feeder:
    """Hands out the batches of each call of a program on each device.

    One thread makes those of the next call while the devices are at work on this one; they are made once, and sent once to
    each device.

    Args:
      feed: where the batches come from.
      turns: the calls.
    """

    def __init__(self, feed: Feed, turns: Turns):
        self._feed, self._turns = feed, turns
        self._pool = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self._made: dict[int, Any] = {}
        self._sent: dict[tuple[int, jax.Device], Fed] = {}

    def fed(self, turn: int, device: jax.Device) -> Fed:
        """Returns the batches of a call on a device; makes those of the next in the meantime."""
        for wanted in range(turn, min(turn + 2, len(self._turns.ends))):
            if wanted not in self._made:
                self._made[wanted] = self._pool.submit(self._make, wanted)
        if (turn, device) not in self._sent:
            self._sent[turn, device] = jax.device_put(self._made[turn].result(), device)
        return self._sent[turn, device]

    def forget(self, turns: Sequence[int]) -> None:
        """Drops all batches but those of these calls and the ones after them."""
        keep = {t + i for t in turns for i in (0, 1)}
        self._made = {t: made for t, made in self._made.items() if t in keep}
        self._sent = {place: sent for place, sent in self._sent.items() if place[0] in keep}

    def _make(self, turn: int) -> Fed:
        start = self._turns.start(turn)
        batches = self._feed.segment(start, self._turns.length(turn), self._turns.longest)
        return Fed(batches, cast(Any, self._turns.measured[turn]))
