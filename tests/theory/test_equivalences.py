"""What regularizers are in theory, as lanes: noise and early stopping are ridge, dropout is an adaptive L2, AdamW is not L2."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from theory.linear_models import curvature, fitted, full_batch, linear, weights

import jaxtune as jt

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
N = 64
X = RNG.normal(size=(N, 4)) * np.array([0.5, 1.0, 1.5, 2.0])
Y = X @ np.array([2.0, -1.0, 0.5, 1.0]) + 0.3 * RNG.normal(size=N)
GRAM, TARGET = X.T @ X / N, X.T @ Y / N
SEEDS = 8


def averaged_weights(recipe, space, steps=6000):
    """Returns weights of all seeds for an arm: averages over a long training at a small rate, whose mean is the minimum."""
    params, _ = fitted(recipe, space, full_batch(X, Y), steps=steps, seeds=SEEDS)
    return lambda **arm: np.array([params(seed=s, **arm)["w"] for s in range(SEEDS)], np.float64)


def assert_mean_is(found, expected):
    """Asserts that the mean over seeds is the expected one, within its own uncertainty (99.9%) and little more."""
    spread = found.std(0, ddof=1) / np.sqrt(len(found)) * stats.t.ppf(0.9995, len(found) - 1)
    assert (np.abs(found.mean(0) - expected) < spread + 2e-3).all(), (found.mean(0), expected, spread)
    assert (spread < 0.05).all()  # it says something


def test_noise_on_inputs_is_ridge():
    scales = [0.0, 0.5, 1.0]

    def recipe(hp):
        return jt.Recipe(
            linear(bias=False),
            optimizer=optax.sgd(0.01),
            batch_size=N,
            augment=jt.data.augment.noise(hp.noise),
            weight_average=jt.optim.swa(1000),
        )

    found = averaged_weights(recipe, jt.grid(noise=scales))
    for noise in scales:
        assert_mean_is(found(noise=noise), np.linalg.solve(GRAM + noise**2 * np.eye(4), TARGET))
    gap = np.linalg.solve(GRAM + np.eye(4), TARGET) - np.linalg.solve(GRAM, TARGET)
    assert np.abs(gap).max() > 0.5  # and not what least squares gives


def test_dropout_on_inputs_is_an_adaptive_l2():
    rates = [0.0, 0.2, 0.5]

    def recipe(hp):
        model = linear(transform=lambda key, x: jt.nn.dropout(key, x, hp.rate), bias=False)
        return jt.Recipe(model, optimizer=optax.sgd(0.01), batch_size=N, weight_average=jt.optim.swa(1000))

    found = averaged_weights(recipe, jt.grid(rate=rates))
    for rate in rates:
        adaptive = rate / (1 - rate) * np.diag(np.diag(GRAM))
        assert_mean_is(found(rate=rate), np.linalg.solve(GRAM + adaptive, TARGET))


def test_early_stopping_is_ridge_at_one_over_rate_times_steps():
    steps = 50
    rates = [2e-5, 5e-5, 1e-4]  # small against curvature and steps, where alpha = 1 / (rate * steps) holds

    def recipe(hp):
        return jt.Recipe(linear(bias=False), optimizer=optax.sgd(hp.lr), batch_size=N)

    params, _ = fitted(recipe, jt.grid(lr=rates), full_batch(X, Y), steps=steps)
    values, vectors = np.linalg.eigh(2 * GRAM)
    for lr in rates:
        found = np.asarray(params(lr=lr)["w"], np.float64)
        shrunk = 1 - (1 - lr * values) ** steps
        exact = vectors @ (shrunk / values * (vectors.T @ (2 * TARGET)))
        np.testing.assert_allclose(found, exact, rtol=1e-4)
        # Half the mean of squares has the curvature GRAM; with the whole one both sides double.
        ridge = np.linalg.solve(2 * GRAM + np.eye(4) / (lr * steps), 2 * TARGET)
        np.testing.assert_allclose(found, ridge, rtol=0.03)


def test_stopping_early_by_patience_leaves_ridge_weights_behind():
    """A trial that stops at an evaluation has what gradient descent has then: the ridge of a matrix of penalties."""
    lr = 0.05 / curvature(X)[0]

    def recipe(hp):
        stopping = jt.EarlyStopping(hp.patience, min_delta=1e6, start=hp.start)
        return jt.Recipe(linear(bias=False), optimizer=optax.sgd(lr), batch_size=N, early_stopping=stopping)

    experiment = jt.Experiment(
        recipe, jt.grid(patience=[1.0], start=[20.0, 40.0, 80.0]), full_batch(X, Y), steps=200, seeds=1, eval_every=10
    )
    result = jt.run(experiment)
    values, vectors = np.linalg.eigh(2 * GRAM)
    for start in (20.0, 40.0, 80.0):
        arm = dict(patience=1.0, start=start, seed=0)
        stopped = int(result.dataset["best_step"].sel(arm))
        kept = (1 - lr * values) ** stopped
        ridge = vectors @ np.diag(values * kept / (1 - kept)) @ vectors.T  # penalties alpha_i in place of one alpha
        expected = np.linalg.solve(2 * GRAM + ridge, 2 * TARGET)
        np.testing.assert_allclose(result.variables(**arm).params["w"], expected, rtol=1e-3)
        assert stopped >= start and str(result.dataset["status"].sel(arm).values) == "stopped"


def test_decoupled_decay_is_l2_under_gradient_descent_and_not_under_adam():
    decay, lr = 0.5, 0.01
    kinds = {
        "gd": jt.optim.gd_kind(),
        "gd, decoupled": jt.optim.gd_kind(weight_decay=decay),
        "adam": jt.optim.adam_kind(eps=0.0),
        "adamw": jt.optim.adamw_kind(eps=0.0, weight_decay=decay),
    }
    start = jnp.array([1.0, -2.0, 3.0, 0.5])

    def recipe(hp):
        inner = linear(bias=False)
        model = jt.Model(lambda key, x: ({"w": start}, {}), inner.apply)
        penalty = jt.penalties.l2(hp.l2, where=weights)
        return jt.Recipe(
            model, optimizer=jt.optim.from_kind(hp.kind, lr, decayed=weights), batch_size=N, penalty=penalty
        )

    params, _ = fitted(recipe, jt.grid(kind=kinds, l2=[0.0, decay / 2]), full_batch(X, Y), steps=30)
    np.testing.assert_allclose(
        params(kind="gd", l2=decay / 2)["w"], params(kind="gd, decoupled", l2=0.0)["w"], rtol=1e-5
    )
    coupled, decoupled = params(kind="adam", l2=decay / 2)["w"], params(kind="adamw", l2=0.0)["w"]
    assert np.abs(np.asarray(coupled) - np.asarray(decoupled)).max() > 0.05

    first, _ = fitted(recipe, jt.grid(kind=kinds, l2=[0.0, decay / 2]), full_batch(X, Y), steps=1)
    w = np.asarray(start, np.float64)
    gradient = 2 * (GRAM @ w - TARGET)
    np.testing.assert_allclose(first(kind="adam", l2=decay / 2)["w"], w - lr * np.sign(gradient + decay * w), rtol=1e-4)
    np.testing.assert_allclose(first(kind="adamw", l2=0.0)["w"], w - lr * (np.sign(gradient) + decay * w), rtol=1e-4)
