"""Streaming means against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtune.metrics import Metric, mean

RNG = np.random.default_rng(0)
OUTPUTS, Y, WEIGHT = RNG.normal(size=(11, 1)), RNG.normal(size=11), RNG.uniform(size=11)


def error(outputs, y):
    return jnp.abs(outputs[:, 0] - y)


def streamed(metric, outputs, y, weight, size):
    state = metric.init()
    for start in range(0, len(y), size):
        part = slice(start, start + size)
        state = jax.jit(metric.update)(state, jnp.asarray(outputs[part]), y[part], weight[part])
    return metric.compute(state)


@pytest.mark.parametrize("size", [1, 4, 11])
def test_mean_does_not_depend_on_the_batches(size):
    with jax.enable_x64(True):
        value = streamed(mean(error), OUTPUTS, Y, WEIGHT, size)
    np.testing.assert_allclose(value, np.average(np.abs(OUTPUTS[:, 0] - Y), weights=WEIGHT), rtol=1e-12)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -1e30])
def test_padding_may_hold_anything(garbage):
    y, weight = np.append(Y, [garbage] * 3), np.append(np.ones(11), np.zeros(3))
    outputs = np.append(OUTPUTS, [[garbage], [1.0], [0.0]], axis=0)
    with jax.enable_x64(True):
        value = streamed(mean(error), outputs, y, weight, 7)
    np.testing.assert_allclose(value, np.abs(OUTPUTS[:, 0] - Y).mean(), rtol=1e-12)


def test_a_counted_nan_shows():
    assert np.isnan(streamed(mean(error), OUTPUTS, np.append(Y[:-1], np.nan), np.ones(11), 4))


@pytest.mark.parametrize("mode", ["min", "max", None])
def test_mode_is_kept(mode):
    assert mean(error, mode).mode == mode
    assert mean(error).mode is None


def test_a_metric_that_is_no_mean():
    largest = Metric(
        lambda: -jnp.inf,
        lambda state, outputs, y, weight: jnp.maximum(state, jnp.where(weight > 0, error(outputs, y), -jnp.inf).max()),
        lambda state: state,
        "min",
    )
    value = streamed(largest, OUTPUTS, Y, np.ones(11), 4)
    np.testing.assert_allclose(value, np.abs(OUTPUTS[:, 0] - Y).max(), rtol=1e-6)
