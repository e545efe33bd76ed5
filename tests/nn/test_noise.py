"""Noise, and the dropouts that are noise, against their moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asserts import assert_same_bits

from jaxtune.nn import alpha_dropout, gaussian_dropout, noise

KEY = jax.random.key(5)
N = 200_000


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize("multiplicative", [False, True])
def test_moments_of_noise(distribution, multiplicative):
    x = jnp.full(N, 3.0)
    y = np.asarray(noise(KEY, x, 0.2, multiplicative=multiplicative, distribution=distribution), np.float64)
    deviation = 0.6 if multiplicative else 0.2
    assert abs(y.mean() - 3.0) < 4 * deviation / np.sqrt(N)
    np.testing.assert_allclose(y.std(), deviation, rtol=0.01)
    if distribution == "uniform":
        assert np.abs(y - 3.0).max() <= deviation * np.sqrt(3) * (1 + 1e-5)


def test_leaves_of_a_tree_draw_apart():
    y = noise(KEY, {"a": jnp.zeros((4, 5)), "b": jnp.zeros((4, 5))}, 1.0)
    assert (y["a"] != y["b"]).all()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_gaussian_dropout_has_dropouts_moments(rate):
    y = np.asarray(gaussian_dropout(KEY, jnp.full(N, 2.0), rate), np.float64)
    variance = 4 * rate / (1 - rate)
    assert abs(y.mean() - 2.0) < 4 * np.sqrt(variance / N)
    np.testing.assert_allclose(y.var(), variance, rtol=4 * np.sqrt(2 / N))


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.7])
def test_alpha_dropout_keeps_mean_and_variance(rate):
    y = np.asarray(alpha_dropout(KEY, jax.random.normal(jax.random.key(9), (N,)), rate), np.float64)
    assert abs(y.mean()) < 4 / np.sqrt(N)
    np.testing.assert_allclose(y.var(), 1.0, rtol=0.03)
    floor = -1.0507009873554805 * 1.6732632423543772
    keep = 1 - rate
    a = (keep + floor**2 * keep * rate) ** -0.5
    values, counts = np.unique(y, return_counts=True)
    np.testing.assert_allclose(values[counts.argmax()], a * floor - a * floor * rate, rtol=1e-5)
    assert abs(counts.max() / N - rate) < 4 * np.sqrt(rate * keep / N)


TABLE = {
    "additive": (lambda key, x, s: noise(key, x, s), [0.0, 0.5]),
    "multiplicative": (lambda key, x, s: noise(key, x, s, multiplicative=True), [0.0, 0.5]),
    "gaussian dropout": (gaussian_dropout, [0.0, 0.5]),
    "alpha dropout": (alpha_dropout, [0.0, 0.5, 1.0]),
}


@pytest.mark.parametrize("name", TABLE)
def test_strengths_are_lanes_and_zero_is_exact(name):
    fn, strengths = TABLE[name]
    x = jax.random.normal(KEY, (16, 8))
    lanes = jax.jit(jax.vmap(lambda s: fn(KEY, x, s)))(jnp.array(strengths))
    assert_same_bits(lanes[0], x)
    assert (lanes[1] != x).any()
    if len(strengths) > 2:
        np.testing.assert_array_equal(lanes[2], np.zeros_like(x))
    for strength in strengths:
        slopes = jax.grad(lambda x, s: fn(KEY, x, s).sum(), (0, 1))(x, strength)
        assert all(np.isfinite(slope).all() for slope in slopes)


@pytest.mark.parametrize("name", TABLE)
def test_lanes_share_one_draw(name):
    fn, _ = TABLE[name]
    text = str(jax.make_jaxpr(jax.vmap(lambda s: fn(KEY, jnp.ones((16, 8)), s)))(jnp.linspace(0.0, 0.9, 5)))
    assert "u32[16,8] = random_bits" in text and "u32[5," not in text


def test_bad_use_is_refused():
    with pytest.raises(ValueError, match="`scale` is -1.0"):
        noise(KEY, jnp.ones(3), -1.0)
    with pytest.raises(ValueError, match="`distribution` is 'cauchy'"):
        noise(KEY, jnp.ones(3), 1.0, distribution="cauchy")
    with pytest.raises(ValueError, match="its noise would be infinite"):
        gaussian_dropout(KEY, jnp.ones(3), 1.0)
