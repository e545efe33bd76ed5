"""Penalties and their proximal steps against closed forms in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxtune import optim, penalties

RNG = np.random.default_rng(0)
W = RNG.normal(size=(5, 3))
PARAMS = {"kernel": W}
Q, _ = np.linalg.qr(RNG.normal(size=(12, 5)))
Y = RNG.normal(size=12)


def soft(w, t):
    return np.sign(w) * np.maximum(np.abs(w) - t, 0)


def stepped(transformation, w=W):
    """Returns what a proximal step makes of weights that stand still."""
    params = {"kernel": jnp.asarray(w)}
    updates, _ = transformation.update(
        {"kernel": jnp.zeros_like(params["kernel"])}, transformation.init(params), params
    )
    return optax.apply_updates(params, updates)["kernel"]


def columns(w):
    return np.linalg.norm(w, axis=0, keepdims=True)


VALUES = {
    "l1": (penalties.l1(0.3), 0.3 * np.abs(W).sum()),
    "l2": (penalties.l2(0.3), 0.3 * (W**2).sum()),
    "elastic net": (penalties.elastic_net(0.1, 0.2), 0.1 * np.abs(W).sum() + 0.2 * (W**2).sum()),
    "group lasso, units": (penalties.group_lasso(0.3), 0.3 * np.sqrt(5) * columns(W).sum()),
    "group lasso, inputs": (
        penalties.group_lasso(0.3, groups="inputs"),
        0.3 * np.sqrt(3) * np.linalg.norm(W, axis=1).sum(),
    ),
    "sparse group lasso": (
        penalties.sparse_group_lasso(0.1, 0.3),
        0.1 * np.abs(W).sum() + 0.3 * np.sqrt(5) * columns(W).sum(),
    ),
    "orthogonality": (penalties.orthogonality(0.3), 0.3 * ((W.T @ W - np.eye(3)) ** 2).sum()),
    "spectral norm": (penalties.spectral_norm(0.3), 0.3 * np.linalg.norm(W, 2) ** 2),
    "distance to a start": (penalties.l2_sp(0.3, {"kernel": W - 0.1}), 0.3 * 0.01 * W.size),
}
SLOPES = {
    "l1": (penalties.l1(0.3), 0.3 * np.sign(W)),
    "l2": (penalties.l2(0.3), 0.6 * W),
    "elastic net": (penalties.elastic_net(0.1, 0.2), 0.1 * np.sign(W) + 0.4 * W),
    "group lasso, units": (penalties.group_lasso(0.3), 0.3 * np.sqrt(5) * W / columns(W)),
    "orthogonality": (penalties.orthogonality(0.3), 1.2 * W @ (W.T @ W - np.eye(3))),
    "distance to a start": (penalties.l2_sp(0.3, {"kernel": W - 0.1}), np.full(W.shape, 0.06)),
}
STEPS = {
    "l1": (optim.prox_l1(0.4), soft(W, 0.4)),
    "elastic net": (optim.prox_elastic_net(0.4, 0.25), soft(W, 0.4) / 1.5),
    "group lasso": (optim.prox_group_lasso(0.3), W * np.maximum(0, 1 - 0.3 * np.sqrt(5) / columns(W))),
    "max-norm": (optim.max_norm(1.0), W * np.minimum(1, 1 / columns(W))),
    "unit norm": (optim.unit_norm(), W / columns(W)),
    "non-negative": (optim.non_negative(), np.maximum(W, 0)),
}


@pytest.mark.parametrize("name", VALUES)
def test_value(name):
    penalty, expected = VALUES[name]
    np.testing.assert_allclose(penalty(PARAMS), expected, rtol=1e-12)


@pytest.mark.parametrize("name", SLOPES)
def test_slope(name):
    penalty, expected = SLOPES[name]
    np.testing.assert_allclose(jax.grad(penalty)(PARAMS)["kernel"], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", STEPS)
def test_proximal_step(name):
    transformation, expected = STEPS[name]
    np.testing.assert_allclose(stepped(transformation), expected, rtol=1e-12, atol=1e-15)


def test_proximal_steps_by_numbers():
    np.testing.assert_allclose(stepped(optim.prox_l1(0.6), [[3, -0.5, 0.2, -2]]), [[2.4, 0, 0, -1.4]], rtol=1e-12)
    shrunk = stepped(optim.prox_group_lasso(1 / np.sqrt(2)), [[3.0], [4.0]])
    np.testing.assert_allclose(shrunk, [[2.4], [3.2]], rtol=1e-12)


@pytest.mark.parametrize("name", ["l1", "elastic net", "group lasso"])
def test_a_proximal_step_minimizes_what_it_should(name):
    """prox(w) minimizes |v - w|^2 / 2 + penalty(v), so no small change of it does better."""
    transformation, penalty = {
        "l1": (optim.prox_l1(0.4), penalties.l1(0.4)),
        "elastic net": (optim.prox_elastic_net(0.4, 0.25), penalties.elastic_net(0.4, 0.25)),
        "group lasso": (optim.prox_group_lasso(0.3), penalties.group_lasso(0.3)),
    }[name]

    def cost(v):
        return 0.5 * ((v - W) ** 2).sum() + float(penalty({"kernel": v}))

    best = np.asarray(stepped(transformation))
    others = [cost(best + s * RNG.normal(size=W.shape)) for s in (1e-3, 1e-2, 0.1) for _ in range(20)]
    assert cost(best) < min(others)


def descent(penalty=None, last=None, rate=0.05, steps=4000, x=Q, y=Y):
    """Returns coefficients of least squares, |y - x w|^2 / 2, by gradient descent."""
    optimizer = optax.sgd(rate) if last is None else optax.chain(optax.sgd(rate), last)
    w = {"kernel": jnp.zeros((x.shape[1], 1))}

    def loss(w):
        fit = 0.5 * jnp.square(x @ w["kernel"][:, 0] - y).sum()
        return fit if penalty is None else fit + penalty(w)

    def step(carry, _):
        w, state = carry
        u, state = optimizer.update(jax.grad(loss)(w), state, w)
        return (optax.apply_updates(w, u), state), None

    return jax.lax.scan(step, (w, optimizer.init(w)), length=steps)[0][0]["kernel"][:, 0]


@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_ridge(strength):
    expected = np.linalg.solve(Q.T @ Q + 2 * strength * np.eye(5), Q.T @ Y)
    np.testing.assert_allclose(descent(penalties.l2(strength)), expected, rtol=1e-8)


@pytest.mark.parametrize("strength", [0.35, 0.6])
def test_lasso_of_orthonormal_inputs_and_its_exact_zeros(strength):
    expected = soft(Q.T @ Y, strength)
    found = np.asarray(descent(last=optim.prox_l1(0.05 * strength)))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_array_equal(found == 0, expected == 0)
    assert (expected == 0).any()
    rough = np.asarray(descent(penalties.l1(strength)))  # sub-gradients never get there
    assert not (rough[expected == 0] == 0).any()
