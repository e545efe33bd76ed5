"""Optimizers, schedules and averages against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxtune as jt
from jaxtune import optim
from jaxtune.optim import schedules as s

G = np.array([2.0, -0.5, 1e-3])
LR = 0.1


def updates(optimizer, gradients, w=None):
    w = jnp.zeros(3) if w is None else jnp.asarray(w)
    optimizer = optax.with_extra_args_support(optimizer)
    state, found = optimizer.init(w), []
    for g in gradients:
        u, state = optimizer.update(jnp.asarray(g), state, w)
        w = w + u
        found.append(np.asarray(u))
    return np.array(found)


def family(kind, lr=LR):
    return optim.from_kind(kind, lr)


FIRST = {
    "gradient descent": (family(optim.gd_kind()), -LR * G),
    "momentum": (family(optim.momentum_kind(0.9)), -LR * G),
    "momentum, averaged": (family(optim.momentum_kind(0.9, averaged=True)), -LR * 0.1 * G),
    "Nesterov": (family(optim.nesterov_kind(0.9)), -LR * 1.9 * G),
    "RMSprop": (family(optim.rmsprop_kind(0.9, 1e-3)), -LR * G / np.sqrt(0.1 * G**2 + 1e-3)),
    "Adam": (family(optim.adam_kind(eps=1e-3)), -LR * G / (np.abs(G) + 1e-3)),
    "AdamW": (
        family(optim.adamw_kind(eps=1e-3, weight_decay=0.3)),
        -LR * (G / (np.abs(G) + 1e-3) + 0.3 * np.array([1.0, 2.0, 3.0])),
    ),
    "clip by value": (optax.chain(optim.clip_by_value(1.0), optax.sgd(LR)), -LR * np.clip(G, -1, 1)),
    "clip by norm": (
        optax.chain(optim.clip_by_global_norm(1.0), optax.sgd(LR)),
        -LR * G / np.linalg.norm(G),
    ),
}


@pytest.mark.parametrize("name", FIRST)
def test_first_update(name):
    optimizer, expected = FIRST[name]
    np.testing.assert_allclose(updates(optimizer, [G], [1.0, 2.0, 3.0])[0], expected, rtol=1e-10)


LATER = {
    "momentum": (family(optim.momentum_kind(0.9)), lambda t: -LR * G * (1 - 0.9**t) / 0.1),
    "momentum, averaged": (family(optim.momentum_kind(0.9, averaged=True)), lambda t: -LR * G * (1 - 0.9**t)),
    "Nesterov": (
        family(optim.nesterov_kind(0.9)),
        lambda t: -LR * (G + 0.9 * G * (1 - 0.9**t) / 0.1),
    ),
    "RMSprop": (
        family(optim.rmsprop_kind(0.9, 1e-3)),
        lambda t: -LR * G / np.sqrt((1 - 0.9**t) * G**2 + 1e-3),
    ),
    "Adam": (family(optim.adam_kind(eps=1e-3)), lambda t: -LR * G / (np.abs(G) + 1e-3)),
}


@pytest.mark.parametrize("name", LATER)
def test_updates_under_a_constant_gradient(name):
    optimizer, expected = LATER[name]
    found = updates(optimizer, [G] * 12)
    np.testing.assert_allclose(found, [expected(t) for t in range(1, 13)], rtol=1e-9)


def test_coupled_decay_does_not_change_the_size_of_adams_first_step():
    w = np.array([1.0, 2.0, 3.0])
    coupled = updates(optax.chain(optax.add_decayed_weights(0.3), family(optim.adam_kind(eps=0.0))), [G], w)[0]
    np.testing.assert_allclose(coupled, -LR * np.sign(G + 0.3 * w), rtol=1e-10)
    decoupled = updates(family(optim.adamw_kind(eps=0.0, weight_decay=0.3)), [G], w)[0]
    np.testing.assert_allclose(decoupled, -LR * (np.sign(G) + 0.3 * w), rtol=1e-10)
    assert np.abs(coupled - decoupled).max() > 1e-3


def test_coupled_is_decoupled_for_gradient_descent_alone():
    gradients, w = np.random.default_rng(0).normal(size=(10, 3)), np.array([1.0, 2.0, 3.0])

    def both(kind, decayed_kind):
        coupled = optax.chain(optax.add_decayed_weights(0.3), family(kind))
        return updates(coupled, gradients, w), updates(family(decayed_kind), gradients, w)

    same = both(optim.gd_kind(), optim.gd_kind(weight_decay=0.3))
    np.testing.assert_allclose(*same, rtol=1e-12)
    apart = both(optim.momentum_kind(0.9), optim.momentum_kind(0.9, weight_decay=0.3))
    assert np.abs(apart[0] - apart[1]).max() > 1e-3


def test_decay_without_gradient():
    w = np.array([1.0, 2.0, 3.0])
    steps = updates(family(optim.adamw_kind(weight_decay=0.3)), np.zeros((7, 3)), w)
    np.testing.assert_allclose(w + steps.sum(0), w * (1 - LR * 0.3) ** 7, rtol=1e-12)


def minimized(optimizer, h, w0, steps):
    """Returns w after some updates on w' H w / 2."""
    w0 = jnp.asarray(w0)

    def step(carry, _):
        w, state = carry
        u, state = optimizer.update(h @ w, state, w)
        return (w + u, state), w + u

    return np.asarray(jax.lax.scan(step, (w0, optimizer.init(w0)), length=steps)[1])


def test_gradient_descent_on_a_quadratic():
    h, w = np.diag([1.0, 0.3]), np.array([1.0, -2.0])
    found = minimized(optax.sgd(0.5), h, w, 20)
    expected = [np.linalg.matrix_power(np.eye(2) - 0.5 * h, t) @ w for t in range(1, 21)]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("lr, converges", [(1.99, True), (2.01, False)])
def test_gradient_descent_is_stable_up_to_two_over_the_curvature(lr, converges):
    last = minimized(family(optim.gd_kind(), lr), np.eye(1), [1.0], 2000)[-1, 0]
    assert bool(abs(last) < 1e-3) is converges


@pytest.mark.parametrize("lr, converges", [(3.79, True), (3.81, False)])
def test_heavy_ball_is_stable_up_to_its_bound(lr, converges):
    last = minimized(family(optim.momentum_kind(0.9), lr), np.eye(1), [1.0], 4000)[-1, 0]
    assert bool(abs(last) < 1e-3) is converges


def test_the_best_heavy_ball():
    """With the best rate and momentum it contracts by (sqrt k - 1) / (sqrt k + 1), of condition k = 100."""
    rate, decay = 4 / (10 + 1) ** 2, (9 / 11) ** 2
    found = np.linalg.norm(
        minimized(family(optim.momentum_kind(decay), rate), np.diag([1.0, 100.0]), [1.0, 1.0], 200), axis=1
    )
    np.testing.assert_allclose((found[-1] / found[99]) ** (1 / 100), 9 / 11, rtol=0.01)


def test_early_stopping_is_ridge():
    """Gradient descent from zero, stopped after t updates, is ridge with its own strength per direction; exact."""
    values, rate, t = np.array([2.0, 0.7, 0.1]), 0.1, 15
    target = np.array([1.0, -2.0, 3.0])
    w = target + minimized(optax.sgd(rate), np.diag(values), -target, t)[-1]
    shrink = (1 - rate * values) ** t
    strength = values * shrink / (1 - shrink)
    np.testing.assert_allclose(w, values / (values + strength) * target, rtol=1e-10)
    slow = 1e-4
    np.testing.assert_allclose(
        slow * (1 - rate * slow) ** t / (1 - (1 - rate * slow) ** t) * rate * t, 1.0, rtol=1e-3
    )  # about 1 / (rate t) where little is learned


@pytest.mark.parametrize("rho", [0.1, 1.0])
def test_sam_on_a_quadratic(rho):
    h, w = np.array([[3.0, 1.0], [1.0, 2.0]]), np.array([0.5, -2.0])
    _, found = optim.sam(rho)(lambda w: (0.5 * w @ h @ w, None), jnp.asarray(w))
    g = h @ w
    np.testing.assert_allclose(found, h @ (w + rho * g / np.linalg.norm(g)), rtol=1e-12)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_lookahead_goes_a_share_of_the_way(rate):
    found = updates(optim.lookahead(optax.sgd(LR), every=3, share=rate), [G] * 3).sum(0)
    np.testing.assert_allclose(found, -rate * 3 * LR * G, rtol=1e-10)


SCHEDULES = {
    "course, inverse time": (s.inverse_time(0.2, 1.0, steps=1), {1: 0.1, 2: 0.2 / 3, 3: 0.05, 4: 0.04}),
    "exponential": (s.exponential(1.0, 0.5, 10), {0: 1.0, 5: 0.5**0.5, 10: 0.5}),
    "staircase": (s.step_decay(1.0, 0.5, 10), {5: 1.0, 10: 0.5, 19: 0.5}),
    "cosine": (s.cosine(1.0, 100, alpha=0.1), {0: 1.0, 50: 0.55, 100: 0.1, 200: 0.1}),
    "warm-up cosine": (s.warm_up_cosine(0.0, 1.0, 10, 110), {0: 0.0, 5: 0.5, 10: 1.0, 60: 0.5, 110: 0.0}),
    "linear": (s.linear(1.0, 0.0, 10, begin=5), {0: 1.0, 5: 1.0, 10: 0.5, 15: 0.0}),
    "polynomial": (s.polynomial(1.0, 0.0, 2.0, 10), {5: 0.25, 10: 0.0}),
    "inverse root": (s.inverse_sqrt(1.0, steps=4), {0: 1.0, 4: 1.0, 16: 0.5}),
    "inverse power": (s.inverse_power(1.0, 0.55), {0: 1.0, 9: 10**-0.55}),
    "restarts": (s.warm_restarts(1.0, 10, factor=2.0), {0: 1.0, 5: 0.5, 10: 1.0, 20: 0.5, 30: 1.0, 50: 0.5}),
    "one cycle": (s.one_cycle(1.0, 100, rise=0.5, div=10.0, final_div=10.0), {0: 0.1, 25: 0.55, 50: 1.0, 100: 0.01}),
    "piecewise": (s.piecewise([1.0, 0.1], [3]), {2: 1.0, 3: 0.1}),
    "constant": (s.constant(0.3), {7: 0.3}),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_by_numbers(name):
    schedule, expected = SCHEDULES[name]
    np.testing.assert_allclose([schedule(t) for t in expected], list(expected.values()), rtol=1e-12, atol=1e-15)


def test_weights_of_an_exponential_average():
    series = np.zeros(30)
    series[10] = 1.0
    found = np.asarray(optim.ewa(jnp.asarray(series), 0.9, debias=False))
    np.testing.assert_allclose(found[10:], 0.1 * 0.9 ** np.arange(20), rtol=1e-12)
    np.testing.assert_allclose(optim.ewa(jnp.full(30, 7.0), 0.9), np.full(30, 7.0), rtol=1e-13)


@pytest.mark.slow
def test_softmax_by_numbers():
    logits, target = jnp.array([[5.0, 2.0, -1.0, 3.0]]), np.array([0])
    p = np.exp(-np.array([float(jt.losses.softmax_cross_entropy(logits, np.array([k]))[0]) for k in range(4)]))
    np.testing.assert_allclose(p, [0.842034, 0.041922, 0.002087, 0.113957], atol=5e-7)
    slope = jax.grad(lambda z: jt.losses.softmax_cross_entropy(z, target).sum())(logits)
    np.testing.assert_allclose(slope[0], p - np.array([1, 0, 0, 0]), rtol=1e-12)
    np.testing.assert_allclose(jt.losses.softmax_cross_entropy(jnp.zeros((1, 10)), target), [np.log(10)], rtol=1e-14)
    hessian = jax.hessian(lambda z: jt.losses.softmax_cross_entropy(z[None], target)[0])(logits[0])
    np.testing.assert_allclose(hessian, np.diag(p) - np.outer(p, p), atol=1e-14)
