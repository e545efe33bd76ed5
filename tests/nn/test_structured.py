"""Dropout of channels, layers, regions and weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asserts import assert_same_bits

from jaxtune.nn import drop_block, drop_connect, drop_path, dropout, spatial_dropout

KEY = jax.random.key(5)


@pytest.mark.parametrize("space", [(7,), (4, 5), (2, 3, 4)])
def test_channels_live_or_die_as_a_whole(space):
    x = 1.0 + jax.random.uniform(KEY, (40, *space, 30))
    y = np.asarray(spatial_dropout(KEY, x, 0.3)).reshape(40, -1, 30)
    alive = (y != 0).all(axis=1)
    assert (alive | (y == 0).all(axis=1)).all()
    assert abs(alive.mean() - 0.7) < 4 * np.sqrt(0.21 / alive.size)
    expected = np.where(alive[:, None], np.asarray(x).reshape(40, -1, 30) / np.float32(0.7), 0)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_channels_need_space():
    with pytest.raises(ValueError, match="no space to drop channels of"):
        spatial_dropout(KEY, jnp.ones((4, 3)), 0.5)


@pytest.mark.parametrize("shape", [(60, 8), (60, 3, 3, 2)])
def test_paths_are_dropped_for_examples(shape):
    y = np.asarray(drop_path(KEY, jnp.ones(shape), 0.25)).reshape(60, -1)
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert (y == y[:, :1]).all()


def test_connections_are_dropped_as_units_are():
    w = jax.random.normal(KEY, (8, 9))
    assert_same_bits(drop_connect(KEY, w, 0.4), dropout(KEY, w, 0.4))


@pytest.mark.parametrize("block", [1, 3])
@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_regions(block, rate):
    y = np.asarray(drop_block(KEY, jnp.ones((50, 12, 12, 8)), rate, block))
    dropped = y == 0
    # Every entry that was dropped lies in a square of which all was.
    squares = np.lib.stride_tricks.sliding_window_view(dropped, (block, block), axis=(1, 2)).all(axis=(-1, -2))
    covered = np.zeros_like(dropped)
    for i, j in np.ndindex(block, block):
        covered[:, i : i + squares.shape[1], j : j + squares.shape[2]] |= squares
    np.testing.assert_array_equal(covered, dropped)
    gamma = rate / block**2 * 144 / (13 - block) ** 2
    middle = dropped[:, 4:-4, 4:-4].mean()  # where all corners can reach
    np.testing.assert_allclose(middle, 1 - (1 - gamma) ** (block**2), atol=0.02)
    np.testing.assert_allclose(y.sum(), y.size, rtol=1e-5)  # scaled to keep the sum
    assert len(np.unique(y[~dropped])) == 1


def test_blocks_have_to_fit():
    with pytest.raises(ValueError, match="blocks of 5 x 5 do not fit"):
        drop_block(KEY, jnp.ones((2, 4, 8, 1)), 0.5, 5)


TABLE = {
    "spatial": (spatial_dropout, (6, 5, 4)),
    "path": (drop_path, (6, 5, 4)),
    "connect": (drop_connect, (6, 5)),
    "block": (lambda key, x, rate: drop_block(key, x, rate, 2), (6, 5, 5, 4)),
}


@pytest.mark.parametrize("name", TABLE)
def test_extremes_are_exact_with_finite_gradients(name):
    fn, shape = TABLE[name]
    x = jax.random.normal(KEY, shape)
    rates = jnp.array([0.0, 0.5, 1.0])
    lanes = jax.jit(jax.vmap(lambda rate: fn(KEY, x, rate)))(rates)
    assert_same_bits(lanes[0], x)
    np.testing.assert_array_equal(lanes[2], np.zeros(shape))
    for i, rate in enumerate((0, 0.5, 1)):
        np.testing.assert_allclose(fn(KEY, x, rate), lanes[i], rtol=1e-6)
        slopes = jax.grad(lambda x, rate: fn(KEY, x, rate).sum(), (0, 1))(x, float(rate))  # noqa: B023 (called at once)
        assert all(np.isfinite(slope).all() for slope in slopes)


@pytest.mark.parametrize("name", TABLE)
def test_rates_out_of_range_are_refused(name):
    fn, shape = TABLE[name]
    with pytest.raises(ValueError, match="`rate` is 1.5"):
        fn(KEY, jnp.ones(shape), 1.5)
