"""Mini-batches as a function of (seed, epoch, step), drawn on the device from one resident table.

The splits lie behind each other in one table, which is on each device once, whatever the number of lanes; the devices of a CPU share it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxtune._errors import InputError
from jaxtune._keys import key_for
from jaxtune._types import Array, Count, Float, Int, Key, PyTree, ScalarLike
from jaxtune.data._splits import Splits
from jaxtune.data._stream import in_memory
from jaxtune.data.batches._aligned import joined
from jaxtune.data.batches._permutation import permuted

SPLITS = ("train", "valid", "test")


class Batch(NamedTuple):
    """Some examples; `weight`, shape (batch,), is None where all count alike."""

    x: PyTree
    y: Array
    weight: Float[Array, " batch"] | None


class Table(NamedTuple):
    """All examples, the training split first."""

    x: PyTree
    y: Array | np.ndarray
    weight: Float[Array | np.ndarray, " n"] | None


class Span(NamedTuple):
    """Where a split lies in the table: `size` rows from `start` on, or the first `size` of those that `rows` names.

    Attributes:
      start: the first row.
      size: number of rows.
      rows: which rows, None where they lie behind each other.
      draw: `draw(key, padded, size) -> positions`, shape (padded,), among the rows, of which the first `size` make a batch; None
        where batches go through all rows in every epoch.
    """

    start: int | Count
    size: int | Count
    rows: Int[Array, " n"] | None = None
    draw: Callable[[Key, int, ScalarLike], Int[Array, " padded"]] | None = None


class View(NamedTuple):
    """A split as a trial sees it: some rows of a table."""

    table: Table
    span: Span


def make_table(splits: Splits) -> tuple[Table, dict[str, Span]]:
    """Returns the splits behind each other as one table of NumPy arrays, and the span of each split.

    Of a stream the table holds the sample.
    """
    parts = [in_memory(splits.train), splits.valid, splits.test]
    x = jax.tree.map(lambda *arrays: joined(arrays), *(p.x for p in parts))
    weights = [p.weight for p in parts if p.weight is not None]
    table = Table(x, joined([p.y for p in parts]), joined(weights) if weights else None)
    starts = np.cumsum([0, *map(len, parts)])
    return table, {name: Span(int(s), len(p)) for name, s, p in zip(SPLITS, starts, parts, strict=False)}


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Returns the number of batches that cover n examples."""
    return -(-n // batch_size)


def epoch_order(key: Key, epoch: Count, n: int) -> Int[Array, " n"]:
    """Returns the order of the n training examples in one epoch: a permutation, a function of (seed, epoch)."""
    return jax.random.permutation(key_for(key, "batches", epoch), n).astype(jnp.int32)


def take_batch(
    table: Table,
    order: Int[Array, " n"],
    position: Count,
    batch_size: int,
    index: Int[Array, " n"] | None = None,
) -> Batch:
    """Returns the batch at a position within the epoch.

    Where the batch size does not divide n, the last batch is the last `batch_size` examples of the order, and those
    among them that the epoch has already used weigh nothing: every example counts once per epoch, and the mean is that
    of the short batch.

    Args:
      table: all examples, the training split first.
      order: the epoch's order of the training examples.
      position: index of the batch within the epoch.
      batch_size: number of examples, at most n.
      index: the rows that the order is of; None: the first n.
    """
    n = order.shape[0]
    first = position * batch_size
    start = jnp.minimum(first, n - batch_size)
    rows = jax.lax.dynamic_slice_in_dim(order, start, batch_size)
    batch = _at(table, rows if index is None else index[rows])
    if n % batch_size:
        fresh = (start + jnp.arange(batch_size) >= first).astype(jnp.float32)
        batch = batch._replace(weight=fresh if batch.weight is None else batch.weight * fresh)
    return batch


def take_padded(table: Table, key: Key, step: Count, span: Span, batch_size: ScalarLike, padded: int) -> Batch:
    """Returns the batch of an update, of a traced size or from a part of the training split of a traced size.

    It is that of `take_batch` but for the order. Beyond its size it repeats its own examples, with weight 0: where the size
    divides the padded one, the moments of the whole are those of the batch.

    Args:
      table: all examples, the training split first.
      key: key of the seed.
      step: the update, counted from 0.
      span: the examples to train on.
      batch_size: number of examples, at most `padded`.
      padded: number of rows.
    """
    size, n = jnp.asarray(batch_size).astype(jnp.int32), jnp.asarray(span.size).astype(jnp.int32)
    size = jnp.minimum(size, n)
    per_epoch = (n + size - 1) // size
    epoch, first = step // per_epoch, (step % per_epoch) * size
    start = jnp.minimum(first, n - size)
    place = jnp.arange(padded)
    slot = start + place % size
    rows = span.start + permuted(key_for(key, "batches", epoch), n, slot)
    batch = _at(table, rows if span.rows is None else span.rows[rows])
    fresh = ((place < size) & (slot >= first)).astype(jnp.float32)
    return batch._replace(weight=fresh if batch.weight is None else batch.weight * fresh)


def take_drawn(table: Table, key: Key, step: Count, span: Span, batch_size: ScalarLike, padded: int) -> Batch:
    """Returns the batch of an update where batches are drawn by `span.draw`; the rest is as with `take_padded`."""
    assert span.draw is not None
    size = jnp.asarray(batch_size).astype(jnp.int32)
    place = span.draw(key_for(key, "batches", step), padded, size)
    batch = _at(table, span.start + place if span.rows is None else span.rows[place])
    if isinstance(batch_size, int) and batch_size == padded:
        return batch
    used = (jnp.arange(padded) < size).astype(jnp.float32)
    return batch._replace(weight=used if batch.weight is None else batch.weight * used)


def _at(table: Table, rows: Int[Array, " batch"]) -> Batch:
    x, y = jax.tree.map(lambda a: a[rows], (table.x, table.y))
    return Batch(x, y, None if table.weight is None else table.weight[rows])


def take_all(view: View) -> PyTree:
    """Returns the inputs of a split.

    Raises:
      ValueError: its size is traced.
    """
    table, span = view
    if isinstance(span.size, jax.core.Tracer):
        reason = "what is fitted to the inputs, by `normalize` or `reestimate`, needs the size of the subset"
        raise InputError("size", "traced", reason, "Make it static: jt.static([...]).")
    if span.rows is None:
        return jax.tree.map(lambda a: a[span.start : span.start + span.size], table.x)
    rows = span.rows[: span.size]
    return jax.tree.map(lambda a: a[rows], table.x)


def take_slice(view: View, position: Count, size: int) -> Batch:
    """Returns a slice of a split for evaluation; beyond its end the last example is repeated, with weight 0."""
    table, span = view
    place = position * size + jnp.arange(size)
    rows = span.start + jnp.minimum(place, span.size - 1)
    rows = rows if span.rows is None else span.rows[rows]
    x, y = jax.tree.map(lambda a: jnp.take(a, rows, axis=0), (table.x, table.y))
    weight: Array = (place < span.size).astype(jnp.float32)
    if table.weight is not None:
        weight = weight * jnp.take(table.weight, rows)
    return Batch(x, y, weight)


def weighted_mean(values: Float[Array, " batch"], weight: Float[Array, " batch"] | None) -> Float[Array, ""]:
    """Returns the mean of one value per example, weighted where there are weights."""
    if weight is None:
        return values.mean()
    # Selected, not multiplied: the value of an example that counts nothing may be NaN (though not its gradient).
    return jnp.where(weight > 0, weight * values, 0.0).sum() / jnp.maximum(weight.sum(), jnp.finfo(weight.dtype).tiny)
