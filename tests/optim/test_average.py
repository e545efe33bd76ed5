"""Exponentially weighted averages against their weights, written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asserts import assert_same_bits

from jaxtune import optim

SERIES = np.random.default_rng(0).normal(size=(40, 2))


def weighted(series, decay, debias):
    """Returns the averages from the weights (1 - b) b^k."""
    found = []
    for t in range(1, len(series) + 1):
        weights = (1 - decay) * decay ** np.arange(t)[::-1]
        found.append((weights[:, None] * series[:t]).sum(0) / (weights.sum() if debias else 1))
    return np.array(found)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("debias", [True, False])
def test_equals_the_weighted_sum(decay, debias):
    found = optim.ewa(jnp.array(SERIES, jnp.float32), decay, debias=debias)
    np.testing.assert_allclose(found, weighted(SERIES, decay, debias), rtol=1e-4, atol=1e-6)


def test_a_constant_series_is_its_own_average():
    np.testing.assert_allclose(optim.ewa(jnp.full(30, 7.0), 0.98), np.full(30, 7.0), rtol=1e-5)
    np.testing.assert_allclose(
        optim.ewa(jnp.full(3, 7.0), 0.9, debias=False), 7 * (1 - 0.9 ** np.arange(1, 4)), rtol=1e-5
    )


def test_a_decay_of_one_never_takes_anything_in():
    np.testing.assert_array_equal(optim.ewa(jnp.ones(3), 1.0), np.zeros(3))


def test_variance_of_independent_values():
    """After many values the variance is (1 - b) / (1 + b) of theirs."""
    values = jax.random.normal(jax.random.key(0), (200, 20_000))
    found = np.asarray(optim.ewa(values, 0.9)[-1], np.float64).var()
    np.testing.assert_allclose(found, 0.1 / 1.9, rtol=4 * np.sqrt(2 / 20_000))


def averages(average, series=SERIES):
    state, found = average.init(jnp.zeros(2)), []
    for t, w in enumerate(series, 1):
        state = average.update(state, jnp.array(w, jnp.float32), jnp.int32(t))
        found.append(np.asarray(average.value(state, jnp.array(w, jnp.float32))))
    return np.array(found)


def test_weights_averaged_exponentially():
    np.testing.assert_allclose(averages(optim.ema(0.8)), weighted(SERIES, 0.8, True), rtol=1e-4, atol=1e-6)
    assert_same_bits(averages(optim.ema(0.0)), SERIES.astype(np.float32))


@pytest.mark.parametrize("begin, every", [(0, 1), (10, 1), (5, 4), (100, 1), (10.5, 2.5)])
def test_stochastic_weight_averaging_is_the_mean(begin, every):
    expected = []
    for t in range(1, len(SERIES) + 1):
        first, apart = int(begin), int(every)
        chosen = [SERIES[s - 1] for s in range(1, t + 1) if s > first and (s - first) % apart == 0]
        expected.append(np.mean(chosen, axis=0) if chosen else SERIES[t - 1])
    np.testing.assert_allclose(averages(optim.swa(begin, every=every)), expected, rtol=1e-4, atol=1e-6)


def test_averages_in_lanes():
    series = jnp.array(SERIES, jnp.float32)

    def last(decay, begin):
        results = []
        for average in (optim.ema(decay), optim.swa(begin)):

            def step(state, item, average=average):
                t, w = item
                return average.update(state, w, t), None

            state, _ = jax.lax.scan(step, average.init(series[0]), (jnp.arange(1, 41), series))
            results.append(average.value(state, series[-1]))
        return results

    ema, swa = jax.jit(jax.vmap(last))(jnp.array([0.5, 0.9]), jnp.array([0.0, 20.0]))
    np.testing.assert_allclose(ema, [weighted(SERIES, b, True)[-1] for b in (0.5, 0.9)], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(swa, [SERIES.mean(0), SERIES[20:].mean(0)], rtol=1e-4, atol=1e-6)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="`decay` is 1.5"):
        optim.ema(1.5)
    with pytest.raises(ValueError, match="`every` is 0"):
        optim.swa(0, every=0)
