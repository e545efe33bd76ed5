"""The rows of docs/conventions.md, computed."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import expit
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge

import jaxtune as jt
from jaxtune import optim, penalties

RNG = np.random.default_rng(0)
M = 60
X = RNG.normal(size=(M, 4))
Y = X @ np.array([1.0, -2.0, 0.0, 0.5]) + 0.3 * RNG.normal(size=M)
W = {"kernel": RNG.normal(size=(4, 1)), "bias": np.ones(1)}


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def slope_at(w, penalty):
    """Returns the gradient of the mean square plus a penalty at some coefficients."""

    def total(w):
        return jnp.square(X @ w["kernel"][:, 0] - Y).mean() + penalty(w)

    return np.asarray(jax.grad(total)({"kernel": jnp.asarray(w)[:, None]})["kernel"][:, 0])


ALPHA, RATIO, C = 0.2, 0.3, 0.7
SCIKIT = {
    "Ridge": (Ridge(ALPHA, fit_intercept=False, tol=1e-12), penalties.l2(ALPHA / M)),
    "Lasso": (Lasso(ALPHA, fit_intercept=False, tol=1e-14), penalties.l1(2 * ALPHA)),
    "ElasticNet": (
        ElasticNet(ALPHA, l1_ratio=RATIO, fit_intercept=False, tol=1e-14),
        penalties.elastic_net(2 * ALPHA * RATIO, ALPHA * (1 - RATIO)),
    ),
}


@pytest.mark.parametrize("name", SCIKIT)
def test_scikit_learns_solution_has_no_slope_here(name):
    theirs, ours = SCIKIT[name]
    w = theirs.fit(X, Y).coef_
    moving = w != 0
    assert moving.any()
    np.testing.assert_allclose(slope_at(w, ours)[moving], 0.0, atol=1e-8)
    assert np.abs(slope_at(w, lambda w: 0.0)[moving]).max() > 1e-3


def test_logistic_regression():
    labels = (Y > 0).astype(int)
    w = LogisticRegression(C=C, fit_intercept=False, tol=1e-12, max_iter=10_000).fit(X, labels).coef_[0]

    def total(w):
        loss = jt.losses.sigmoid_cross_entropy(X @ w["kernel"], jnp.asarray(labels)).mean()
        return loss + penalties.l2(1 / (2 * C * M))(w)

    slope = jax.grad(total)({"kernel": jnp.asarray(w)[:, None]})["kernel"]
    np.testing.assert_allclose(slope, 0.0, atol=1e-7)
    np.testing.assert_allclose(X.T @ (expit(X @ w) - labels) / M + w / (C * M), 0.0, atol=1e-7)


def test_coupled_weight_decay_is_half_as_strong():
    d = 0.3
    added, _ = optax.add_decayed_weights(d).update(jax.tree.map(jnp.zeros_like, W), optax.EmptyState(), W)
    np.testing.assert_allclose(jax.grad(penalties.l2(d / 2))(W)["kernel"], added["kernel"], rtol=1e-12)


def test_keras_and_the_course():
    s, lambd = 0.3, 0.9
    np.testing.assert_allclose(penalties.l2(s)(W), s * np.square(W["kernel"]).sum(), rtol=1e-12)
    np.testing.assert_allclose(penalties.l1(s)(W), s * np.abs(W["kernel"]).sum(), rtol=1e-12)
    course = jax.grad(penalties.l2(lambd / (2 * M)))(W)["kernel"]
    np.testing.assert_allclose(course, lambd / M * W["kernel"], rtol=1e-12)


def test_momentum_of_the_course():
    gradients, a, b = RNG.normal(size=20), 0.1, 0.9
    v, w, expected = 0.0, 0.0, []
    for g in gradients:
        v = b * v + (1 - b) * g
        w -= a * v
        expected.append(w)
    for kind, lr in ((optim.momentum_kind(b, averaged=True), a), (optim.momentum_kind(b), a * (1 - b))):
        optimizer, w, found = optim.from_kind(kind, lr), jnp.zeros(()), []
        state = optimizer.init(w)
        for g in gradients:
            u, state = optimizer.update(jnp.asarray(g), state, w)
            w = w + u
            found.append(float(w))
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_rates_of_the_course():
    epochs, per = np.arange(5), 7
    inverse = optim.schedules.inverse_time(0.2, 1.0, steps=per, staircase=True)
    powers = optim.schedules.exponential(0.2, 0.95, per, staircase=True)
    np.testing.assert_allclose([inverse(e * per) for e in epochs], 0.2 / (1 + epochs), rtol=1e-6)
    np.testing.assert_allclose([powers(e * per) for e in epochs], 0.2 * 0.95**epochs, rtol=1e-6)


def test_keep_probability():
    kept = np.asarray(jt.nn.dropout(jax.random.key(0), jnp.ones(100_000), 1 - 0.8)) > 0
    assert abs(kept.mean() - 0.8) < 4 * np.sqrt(0.16 / 1e5)


def test_the_page_names_what_exists():
    page = (pathlib.Path(__file__).parents[1] / "docs" / "conventions.md").read_text()
    for name in ("penalties.l1", "penalties.l2", "penalties.elastic_net"):
        assert f"`{name}(" in page and hasattr(penalties, name.partition(".")[2])
    for name in ("inverse_time", "exponential"):
        assert f"schedules.{name}(" in page and hasattr(optim.schedules, name)
    for name in ("momentum_kind", "adamw_kind"):
        assert f"{name}(" in page and hasattr(optim, name)
