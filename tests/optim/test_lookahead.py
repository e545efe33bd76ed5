"""Lookahead step by step, and accumulated gradients against the large batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxtune import optim


def run(optimizer, gradients, w=1.0):
    w, found = jnp.asarray(w), []
    state = optimizer.init(w)
    for g in gradients:
        u, state = optimizer.update(jnp.asarray(g), state, w)
        w = w + u
        found.append(float(w))
    return found


def by_hand(gradients, lr, every, share, w=1.0):
    slow, fast, found = w, w, []
    for t, g in enumerate(gradients, 1):
        fast -= lr * g
        if t % every == 0:
            slow += share * (fast - slow)
            fast = slow
        found.append(fast)
    return found


@pytest.mark.parametrize("every, share", [(1, 0.5), (3, 0.5), (4, 1.0), (5, 0.0)])
def test_lookahead_step_by_step(every, share):
    gradients = np.random.default_rng(1).normal(size=17)
    ours = run(optim.lookahead(optax.sgd(0.1), every=every, share=share), gradients)
    np.testing.assert_allclose(ours, by_hand(gradients, 0.1, every, share), rtol=1e-5)


def test_lookahead_in_lanes():
    gradients = jnp.array(np.random.default_rng(1).normal(size=12))

    def last(every, share):
        optimizer = optim.lookahead(optax.sgd(0.1), every=every, share=share)

        def step(carry, g):
            w, state = carry
            u, state = optimizer.update(g, state, w)
            return (w + u, state), None

        w = jnp.ones(())
        return jax.lax.scan(step, (w, optimizer.init(w)), gradients)[0][0]

    settings = [(2.0, 0.5), (3.0, 0.2), (6.0, 1.0)]
    lanes = jax.jit(jax.vmap(last))(*map(jnp.array, zip(*settings, strict=True)))
    expected = [by_hand(np.asarray(gradients), 0.1, int(k), a)[-1] for k, a in settings]
    np.testing.assert_allclose(lanes, expected, rtol=1e-5)


def test_accumulated_gradients_are_one_large_batch():
    parts = np.random.default_rng(2).normal(size=(6, 4))
    small = run(optim.accumulate(optax.adam(0.1), 4), parts.reshape(-1))
    large = run(optax.adam(0.1), parts.mean(axis=1))
    np.testing.assert_allclose(small[3::4], large, rtol=1e-5)
    np.testing.assert_allclose(small[:3], [1.0] * 3)


def test_accumulation_hands_on_what_the_optimizer_needs():
    noisy = optim.accumulate(optax.chain(optim.gradient_noise(0.1), optax.sgd(0.1)), 2)
    w = jnp.ones(3)
    updates, _ = noisy.update(w, noisy.init(w), w, key=jax.random.key(0))
    np.testing.assert_array_equal(updates, np.zeros(3))  # the first of two


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="`share` is 1.5"):
        optim.lookahead(optax.sgd(0.1), share=1.5)
    with pytest.raises(ValueError, match="`every` is 0"):
        optim.accumulate(optax.sgd(0.1), 0)
    with pytest.raises(ValueError, match="needs the parameters"):
        optimizer = optim.lookahead(optax.sgd(0.1))
        optimizer.update(jnp.ones(()), optimizer.init(jnp.ones(())))
