"""Batches: every example once an epoch, and tails that count like short batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtune.data import Arrays, Splits
from jaxtune.data.batches._table import (
    Batch,
    Span,
    Table,
    View,
    epoch_order,
    make_table,
    steps_per_epoch,
    take_batch,
    take_slice,
    weighted_mean,
)

KEY = jax.random.key(3)


def arrays(n, start=0, weight=None):
    x = start + np.arange(n, dtype=np.float32)
    return Arrays({"a": x[:, None], "b": np.stack([x, -x], 1)}, x * 10, weight)


@pytest.mark.parametrize("n", [1, 7, 100])
def test_epoch_order_is_a_permutation(n):
    orders = [np.asarray(epoch_order(KEY, jnp.array(epoch), n)) for epoch in range(3)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(n))
        assert order.dtype == np.int32
    assert n < 100 or ((orders[0] != orders[1]).any() and (orders[1] != orders[2]).any())


def test_epoch_order_is_fixed_by_seed_and_epoch():
    order = epoch_order(KEY, jnp.array(4), 50)
    np.testing.assert_array_equal(order, jax.jit(epoch_order, static_argnums=2)(jax.random.key(3), 4, 50))
    assert (order != epoch_order(jax.random.key(4), jnp.array(4), 50)).any()


@pytest.mark.parametrize("n, size, steps", [(12, 4, 3), (13, 4, 4), (11, 4, 3), (4, 4, 1), (5, 1, 5)])
def test_every_example_counts_once_an_epoch(n, size, steps):
    assert steps_per_epoch(n, size) == steps
    table, _ = make_table(Splits(arrays(n), arrays(3, 100), arrays(2, 200)))
    order = epoch_order(KEY, jnp.array(0), n)
    take = jax.jit(take_batch, static_argnums=3)
    counts = np.zeros(n)
    for position in range(steps):
        batch = take(table, order, jnp.array(position), size)
        assert batch.y.shape == (size,) and (batch.weight is None) == (n % size == 0)
        np.testing.assert_array_equal(batch.x["b"], np.stack([batch.x["a"][:, 0], -batch.x["a"][:, 0]], 1))
        np.testing.assert_array_equal(batch.y, batch.x["a"][:, 0] * 10)
        np.add.at(counts, np.asarray(batch.x["a"][:, 0], int), 1.0 if batch.weight is None else batch.weight)
    np.testing.assert_array_equal(counts, np.ones(n))


def test_batches_follow_the_order():
    table, _ = make_table(Splits(arrays(10), arrays(3, 100), arrays(2, 200)))
    order = np.array([9, 0, 8, 1, 7, 2, 6, 3, 5, 4])
    batches = [take_batch(table, jnp.asarray(order), jnp.array(i), 4) for i in range(3)]
    seen = np.concatenate([b.y[b.weight > 0] for b in batches])
    np.testing.assert_array_equal(seen, order * 10)


def test_weights_of_examples_meet_those_of_the_tail():
    weight = np.arange(1.0, 11.0)
    parts = arrays(10, 0, weight), arrays(3, 100, np.ones(3)), arrays(2, 200, np.ones(2))
    table, _ = make_table(Splits(*parts))
    total = np.zeros(10)
    for position in range(3):
        batch = take_batch(table, epoch_order(KEY, jnp.array(1), 10), jnp.array(position), 4)
        np.add.at(total, np.asarray(batch.y, int) // 10, batch.weight)
    np.testing.assert_array_equal(total, weight)


def test_gradient_of_the_tail_is_that_of_the_short_batch():
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(10, 3)), rng.normal(size=10), rng.normal(size=3)
    order = rng.permutation(10)
    with jax.enable_x64(True):
        batch = take_batch(Table(jnp.asarray(x), jnp.asarray(y), None), jnp.asarray(order), jnp.array(2), 4)
        gradient = jax.grad(lambda w: weighted_mean(jnp.square(batch.x @ w - batch.y), batch.weight))(w)
    short = order[8:]
    np.testing.assert_allclose(gradient, 2 * x[short].T @ (x[short] @ w - y[short]) / 2, rtol=1e-12)


def test_table_holds_the_splits_behind_each_other():
    table, spans = make_table(Splits(arrays(5), arrays(3, 100), arrays(2, 200)))
    assert spans == {"train": Span(0, 5), "valid": Span(5, 3), "test": Span(8, 2)}
    expected = np.array([0, 1, 2, 3, 4, 100, 101, 102, 200, 201])
    np.testing.assert_array_equal(table.y, expected * 10)
    np.testing.assert_array_equal(table.x["b"][:, 1], -expected)
    assert table.weight is None


@pytest.mark.parametrize("split, start, n", [("train", 0, 9), ("valid", 100, 4), ("test", 200, 3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_slices_cover_a_split_once(split, start, n, weighted):
    parts = [arrays(n, s, np.full(n, 1 / n) if weighted else None) for n, s in ((9, 0), (4, 100), (3, 200))]
    table, spans = make_table(Splits(*parts))
    take = jax.jit(take_slice, static_argnums=2)
    batches = [take(View(table, spans[split]), jnp.array(i), 4) for i in range(-(-n // 4))]
    y, weight = (np.concatenate([getattr(b, name) for b in batches]) for name in ("y", "weight"))
    assert set((y // 10).tolist()) <= set(range(start, start + n)), "a slice has left its split"
    np.testing.assert_array_equal(y[weight > 0], (start + np.arange(n)) * 10)
    np.testing.assert_array_equal(weight[weight > 0], np.full(n, 1 / n if weighted else 1, np.float32))


def test_weighted_mean():
    values, weight = np.array([1.0, 5.0, -2.0]), np.array([0.5, 0.0, 2.0])
    with jax.enable_x64(True):
        np.testing.assert_allclose(weighted_mean(jnp.asarray(values), weight), np.average(values, weights=weight))
        np.testing.assert_allclose(weighted_mean(jnp.asarray(values), None), values.mean())


@pytest.mark.parametrize("garbage", [np.nan, np.inf])
def test_what_weighs_nothing_may_be_anything(garbage):
    values, weight = jnp.array([1.0, garbage, 3.0]), jnp.array([1.0, 0.0, 1.0])
    value, gradient = jax.value_and_grad(weighted_mean)(values, weight)
    assert value == 2.0
    np.testing.assert_array_equal(gradient, [0.5, 0.0, 0.5])


def test_no_weight_at_all_is_zero():
    value, gradient = jax.value_and_grad(weighted_mean)(jnp.array([1.0, 2.0]), jnp.zeros(2))
    assert value == 0.0
    np.testing.assert_array_equal(gradient, [0.0, 0.0])


def test_a_batch_is_a_pytree():
    assert jax.tree.leaves(Batch({"a": 1}, 2, None)) == [1, 2]
