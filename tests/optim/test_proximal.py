"""Proximal steps against scikit-learn and closed forms: exact zeros."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from sklearn.linear_model import ElasticNet, Lasso

from jaxtune import optim

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 6))
Y = X @ np.array([2.0, -1.0, 0.0, 0.0, 0.5, 0.0]) + 0.1 * RNG.normal(size=80)


def fitted(last, lr=0.05, steps=2000):
    """Returns the coefficients of a linear model, trained on half the mean squared error."""
    optimizer, w = optax.chain(optax.sgd(lr), last), {"kernel": jnp.zeros((6, 1))}
    x, y = jnp.array(X, jnp.float32), jnp.array(Y, jnp.float32)

    def step(carry, _):
        w, state = carry
        gradient = jax.grad(lambda w: 0.5 * jnp.square(x @ w["kernel"][:, 0] - y).mean())(w)
        u, state = optimizer.update(gradient, state, w)
        return (optax.apply_updates(w, u), state), None

    return jax.jit(lambda: jax.lax.scan(step, (w, optimizer.init(w)), length=steps)[0][0]["kernel"][:, 0])()


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.6])
def test_l1_finds_the_lasso_with_its_zeros(alpha):
    expected = Lasso(alpha=alpha, fit_intercept=False, tol=1e-10).fit(X, Y).coef_
    found = np.asarray(fitted(optim.prox_l1(0.05 * alpha)))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_array_equal(found == 0, expected == 0)
    assert (found == 0).any() or alpha < 0.1


def test_elastic_net_finds_scikit_learns():
    alpha, ratio = 0.2, 0.3
    expected = ElasticNet(alpha=alpha, l1_ratio=ratio, fit_intercept=False, tol=1e-10).fit(X, Y).coef_
    found = fitted(optim.prox_elastic_net(0.05 * alpha * ratio, 0.05 * alpha * (1 - ratio) / 2))
    np.testing.assert_allclose(found, expected, atol=2e-6)


def moved(transformation, w, u=None):
    params = {"kernel": jnp.asarray(w, jnp.float32)}
    updates = jax.tree.map(jnp.zeros_like, params) if u is None else {"kernel": jnp.asarray(u, jnp.float32)}
    updates, _ = transformation.update(updates, transformation.init(params), params)
    return np.asarray(optax.apply_updates(params, updates)["kernel"])


def test_soft_thresholding_by_numbers():
    w = np.array([[3.0, -0.5, 0.2, -2.0]])
    np.testing.assert_allclose(moved(optim.prox_l1(0.6), w), [[2.4, 0.0, 0.0, -1.4]], rtol=1e-6)
    np.testing.assert_allclose(moved(optim.prox_elastic_net(0.6, 0.25), w), [[1.6, 0.0, 0.0, -1.4 / 1.5]], rtol=1e-6)
    assert_same_bits(moved(optim.prox_l1(0.0), w), w.astype(np.float32))


def test_groups_shrink_together():
    w = np.array([[3.0, 0.1], [4.0, 0.1]])
    strength = 1 / np.sqrt(2)  # sqrt(n_g) strength is 1
    np.testing.assert_allclose(moved(optim.prox_group_lasso(strength), w), [[2.4, 0.0], [3.2, 0.0]], rtol=1e-6)
    rows = moved(optim.prox_group_lasso(strength, groups="inputs"), w)
    np.testing.assert_allclose(rows, w * (1 - 1 / np.linalg.norm(w, axis=1, keepdims=True)), rtol=1e-5)


def test_projections():
    w = np.array([[3.0, 0.3, 0.0], [4.0, 0.4, 0.0]])
    np.testing.assert_allclose(moved(optim.max_norm(1.0), w), [[0.6, 0.3, 0.0], [0.8, 0.4, 0.0]], rtol=1e-6)
    assert_same_bits(moved(optim.max_norm(float("inf")), w), w.astype(np.float32))
    np.testing.assert_allclose(moved(optim.unit_norm(), w), [[0.6, 0.6, 0.0], [0.8, 0.8, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(
        moved(optim.non_negative(), w, u=-np.ones((2, 3))), [[2.0, 0, 0], [3.0, 0, 0]], atol=1e-7
    )


def test_biases_are_left_alone():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    transformation = optim.prox_l1(5.0)
    updates, _ = transformation.update(jax.tree.map(jnp.zeros_like, params), transformation.init(params), params)
    np.testing.assert_array_equal(updates["bias"], np.zeros(2))
    np.testing.assert_array_equal(updates["kernel"], -np.ones((2, 2)))


@pytest.mark.parametrize(
    "make", [optim.prox_l1, optim.prox_group_lasso, optim.max_norm, lambda s: optim.prox_elastic_net(s, s)]
)
def test_strengths_are_lanes_with_finite_gradients(make):
    w = jnp.array([[3.0, 0.0, 0.2], [-4.0, 0.0, 0.1]])

    def total(strength):
        transformation = make(strength)
        u, _ = transformation.update({"kernel": jnp.zeros_like(w)}, transformation.init({"kernel": w}), {"kernel": w})
        return u["kernel"]

    lanes = jax.jit(jax.vmap(total))(jnp.array([0.1, 0.5]))
    for i, strength in enumerate((0.1, 0.5)):
        np.testing.assert_allclose(lanes[i], total(strength), rtol=1e-5, atol=1e-6)
    assert np.isfinite(jax.jacfwd(total)(0.3)).all()


def test_bad_use_is_refused():
    with pytest.raises(ValueError, match="`strength` is -1.0"):
        optim.prox_l1(-1.0)
    with pytest.raises(ValueError, match="no parameter"):
        optim.prox_l1(1.0).init({"bias": jnp.ones(3)})
    with pytest.raises(ValueError, match="needs the parameters"):
        optim.prox_l1(1.0).update({"kernel": jnp.ones((2, 2))}, optax.EmptyState())
