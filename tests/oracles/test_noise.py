"""Noise and dropout against the penalties that they equal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtune.nn import dropout, gaussian_dropout, noise

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
W = RNG.normal(size=3)
Y = X @ np.array([1.0, -1.0, 0.5]) + RNG.normal(size=40)
DRAWS = 20_000
PLAIN = ((Y - X @ W) ** 2).sum()


def mean_loss(draw):
    """Returns the mean over draws of the sum of squares, and its standard error."""
    losses = jax.lax.map(draw, jax.random.split(jax.random.key(0), DRAWS), batch_size=1000)
    losses = np.asarray(losses)
    return losses.mean(), losses.std() / np.sqrt(DRAWS)


def of_inputs(change):
    return lambda key: jnp.square(Y - change(key, jnp.asarray(X)) @ W).sum()


CASES = {
    "input noise is ridge": (of_inputs(lambda k, x: noise(k, x, 0.3)), PLAIN + 40 * 0.09 * (W**2).sum()),
    "uniform noise, too": (
        of_inputs(lambda k, x: noise(k, x, 0.3, distribution="uniform")),
        PLAIN + 40 * 0.09 * (W**2).sum(),
    ),
    "relative noise weighs by the inputs": (
        of_inputs(lambda k, x: noise(k, x, 0.3, multiplicative=True)),
        PLAIN + 0.09 * ((X**2).sum(0) * W**2).sum(),
    ),
    "dropout is an adaptive ridge": (
        of_inputs(lambda k, x: dropout(k, x, 0.2)),
        PLAIN + 0.25 * ((X**2).sum(0) * W**2).sum(),
    ),
    "Gaussian dropout is the same": (
        of_inputs(lambda k, x: gaussian_dropout(k, x, 0.2)),
        PLAIN + 0.25 * ((X**2).sum(0) * W**2).sum(),
    ),
    "noise on weights is a constant": (
        lambda key: jnp.square(Y - X @ noise(key, jnp.asarray(W), 0.3)).sum(),
        PLAIN + 0.09 * (X**2).sum(),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_expected_loss_of_a_linear_model(name):
    draw, expected = CASES[name]
    mean, error = mean_loss(draw)
    assert abs(mean - expected) < 4 * error
    assert abs(PLAIN - expected) > 20 * error  # and the test could tell


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_variance_of_predictions_under_dropout(rate):
    """Monte Carlo dropout of a linear head: the variance is rate / (1 - rate) sum (w x)^2."""
    x = X[0]
    found = jax.vmap(lambda k: dropout(k, jnp.asarray(x), rate) @ W)(jax.random.split(jax.random.key(1), 100_000))
    expected = rate / (1 - rate) * ((W * x) ** 2).sum()
    np.testing.assert_allclose(np.var(np.asarray(found)), expected, rtol=0.03)
    assert abs(np.mean(np.asarray(found)) - x @ W) < 4 * np.sqrt(expected / 100_000)
