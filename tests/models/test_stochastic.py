"""Noise on weights, and Monte Carlo dropout, against linear models."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from problems import digits

import jaxtune as jt
from jaxtune.models import monte_carlo, with_weight_noise

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (3, 6))
W = jax.random.normal(jax.random.key(1), (6, 2))


class Linear(nn.Module):
    """One dense layer behind dropout."""

    rate: float = 0.0

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(2)(jt.nn.linen.Dropout(self.rate, deterministic=not train)(x))


PARAMS = {"Dense_0": {"kernel": W, "bias": jnp.ones(2)}}


@pytest.mark.parametrize("multiplicative", [False, True])
def test_variance_of_outputs_under_weight_noise(multiplicative):
    model = with_weight_noise(Linear(), 0.3, multiplicative=multiplicative)

    def draw(key):
        return model.apply(PARAMS, {}, X, key=key, train=True)[0]

    found = np.asarray(jax.vmap(draw)(jax.random.split(KEY, 40_000)), np.float64)
    expected = 0.09 * np.square(X) @ (np.square(W) if multiplicative else np.ones_like(W))
    np.testing.assert_allclose(found.var(0), expected, rtol=0.04)
    plain = X @ W + 1.0
    np.testing.assert_array_less(np.abs(found.mean(0) - plain), 4 * np.sqrt(expected / 40_000))


def test_evaluation_and_strength_zero_have_no_noise():
    for scale, train in ((0.3, False), (0.0, True)):
        found = with_weight_noise(Linear(), scale).apply(PARAMS, {}, X, key=KEY, train=train)[0]
        np.testing.assert_allclose(found, X @ W + 1.0, rtol=1e-5, atol=1e-6)


def test_weight_noise_is_an_axis():
    def recipe(hp):
        model = with_weight_noise(jt.models.MLP((8,), hp.run.outputs), hp.noise)
        return jt.Recipe(model, optimizer=optax.sgd(0.1), batch_size=16)

    def plain(hp):
        return jt.Recipe(jt.models.MLP((8,), hp.run.outputs), optimizer=optax.sgd(hp.lr), batch_size=16)

    settings = {"steps": 4, "seeds": 1, "eval_every": 4}
    noisy = jt.run(jt.Experiment(recipe, jt.grid(noise=[0.0, 0.2]), digits(), **settings)).dataset["valid_loss"]
    without = jt.run(jt.Experiment(plain, jt.grid(lr=[0.1]), digits(), **settings)).dataset["valid_loss"]
    np.testing.assert_allclose(noisy.sel(noise=0.0).values, without.sel(lr=0.1).values, rtol=1e-5)
    assert (noisy.sel(noise=0.2) != noisy.sel(noise=0.0)).all()


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_monte_carlo_dropout_of_a_linear_model(rate):
    mean, variance = monte_carlo(Linear(rate), PARAMS, {}, X, key=KEY, samples=20_000)
    expected = rate / (1 - rate) * np.square(X) @ np.square(W)
    np.testing.assert_allclose(variance, expected, rtol=0.05, atol=1e-9)
    np.testing.assert_allclose(mean, X @ W + 1.0, atol=5 * np.sqrt(expected.max() / 20_000) + 1e-5)


def test_monte_carlo_is_a_function_of_its_key():
    runs = [monte_carlo(Linear(0.5), PARAMS, {}, X, key=key, samples=5) for key in (KEY, KEY, jax.random.key(1))]
    assert_same_bits(runs[0], runs[1])
    assert (runs[0][0] != runs[2][0]).any()
    with pytest.raises(ValueError, match="`samples` is 1"):
        monte_carlo(Linear(0.5), PARAMS, {}, X, key=KEY, samples=1)
