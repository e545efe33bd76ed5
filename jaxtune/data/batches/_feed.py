"""Batches of a stream, as functions of the number of the update."""

import functools as ft
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jaxtune._tree import size_bytes
from jaxtune.data._stream import Stream
from jaxtune.data.batches._aligned import aligned
from jaxtune.data.batches._grain import read_ahead
from jaxtune.data.batches._table import Batch, steps_per_epoch

_PIECE = 8 * 2**20
"""Bytes of batches that are sent together: enough to hide what sending costs."""

_BLOCK = 2**20
"""Bytes of batches that are read together, by one thread."""


class Feed(NamedTuple):
    """Training batches that come from the host. All lanes see the same.

    Attributes:
      segment: `segment(start, length, room=None) -> Batch`, the batches of updates start, ..., start + length - 1 as NumPy
        arrays with the leading axes (length, batch), or (room, batch) with zeros at the end; a function of its arguments alone,
        called on a thread of its own.
      example: shapes and types of one batch, as `jax.ShapeDtypeStruct`.
      most: number of batches that are sent together, at most.
    """

    segment: Callable[..., Batch]
    example: Batch
    most: int


def feed_of(stream: Stream, batch_size: int, classes: int | None) -> Feed:
    """Returns the batches of a stream.

    As with arrays every example counts once per epoch: where the batch size does not divide their number, the last batch
    is filled up with examples that the epoch has already used, which weigh nothing.

    Args:
      stream: the examples.
      batch_size: examples per update, at most as many as there are.
      classes: number of classes, None for targets.
    """
    n = len(stream)
    per_epoch = steps_per_epoch(n, batch_size)
    order = ft.lru_cache(maxsize=2)(stream.order)

    def rows_of(update: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows of a batch, and which of them the epoch has not used before."""
        epoch, position = divmod(update, per_epoch)
        start = min(position * batch_size, n - batch_size)
        place = np.arange(start, start + batch_size)
        return order(epoch)[place], (place >= position * batch_size).astype(np.float32)

    def block(start: int, stop: int) -> Batch:
        """Returns the batches of some updates, read together."""
        rows, fresh = map(np.stack, zip(*map(rows_of, range(start, stop)), strict=True))
        given = stream.take(rows.reshape(-1), classes)
        x, y, weight = jax.tree.map(lambda a: a.reshape(*rows.shape, *a.shape[1:]), given)
        if n % batch_size:
            weight = fresh if weight is None else weight * fresh
        return Batch(x, y, weight)

    def segment(start: int, length: int, room: int | None = None) -> Batch:
        stop = start + length
        whole = jax.tree.map(lambda a: aligned((room or length, *a.shape), a.dtype), example)

        def fill(first: int) -> int:
            part = block(first, min(first + together, stop))
            for to, leaf in zip(jax.tree.leaves(whole), jax.tree.leaves(part), strict=True):
                to[first - start : first - start + len(leaf)] = leaf
            return first  # for Grain leaves out what is None

        for _ in read_ahead(fill, range(start, stop, together)):
            pass
        return whole

    x, y, weight = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct((batch_size, *a.shape[1:]), a.dtype),
        (stream.sample.x, stream.sample.y, stream.sample.weight),
    )
    if n % batch_size:
        weight = jax.ShapeDtypeStruct((batch_size,), np.float32)
    example = Batch(x, y, weight)
    together = max(1, _BLOCK // size_bytes(example))
    return Feed(segment, example, max(1, _PIECE // size_bytes(example)))
