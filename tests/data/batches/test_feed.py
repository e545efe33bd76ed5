"""Batches of a stream: every example once per epoch, a function of the number of the update."""

import jax
import numpy as np
import pytest
from asserts import assert_same_bits

from jaxtune.data import Arrays, Stream
from jaxtune.data.batches._feed import feed_of


def stream(n, weight=None, seed=0):
    x = np.arange(n, dtype=np.float32)
    return Stream(Arrays({"a": x[:, None], "b": np.stack([x, -x], 1)}, x * 10, weight), seed=seed)


@pytest.mark.parametrize(("n", "batch_size"), [(12, 4), (13, 4), (5, 5), (7, 1)])
def test_every_example_counts_once_per_epoch(n, batch_size):
    feed = feed_of(stream(n), batch_size, None)
    per_epoch = -(-n // batch_size)
    orders = []
    for epoch in range(3):
        batches = feed.segment(epoch * per_epoch, per_epoch)
        weight = np.ones(batches.y.shape) if batches.weight is None else batches.weight
        assert (batches.weight is None) == (n % batch_size == 0)
        assert batches.y.shape == (per_epoch, batch_size)
        np.testing.assert_array_equal(batches.x["a"][..., 0] * 10, batches.y)
        np.testing.assert_array_equal(batches.x["b"][..., 1] * -10, batches.y)
        counted = batches.y[weight > 0]
        np.testing.assert_array_equal(np.sort(counted), np.arange(n) * 10)
        orders.append(counted.tolist())
    assert orders[0] != orders[1] != orders[2]


def test_a_batch_follows_from_the_number_of_its_update():
    feed = feed_of(stream(50, np.linspace(1, 2, 50)), 8, None)
    whole, late = feed.segment(0, 20), feed_of(stream(50, np.linspace(1, 2, 50)), 8, None).segment(9, 7)
    assert_same_bits(jax.tree.map(lambda a: a[9:16], whole), late)
    other = feed_of(stream(50, np.linspace(1, 2, 50), seed=1), 8, None).segment(9, 7)
    assert (other.y != late.y).any()


def test_weights_stay_with_their_examples():
    batches = feed_of(stream(10, np.arange(1.0, 11.0)), 4, None).segment(0, 3)
    counted = batches.weight > 0
    np.testing.assert_array_equal(batches.weight[counted], batches.y[counted] / 10 + 1)
    assert counted.sum() == 10 and batches.weight.dtype == np.float32
