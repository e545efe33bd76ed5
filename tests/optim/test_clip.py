"""Clipping against Optax, and what is counted."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from asserts import assert_same_bits

from jaxtune import optim

OFF = float("inf")
GRADIENTS = {"a": {"kernel": jnp.array([[3.0, -0.2], [0.5, 4.0]]), "bias": jnp.array([0.1, -2.0])}, "b": jnp.zeros(3)}
PARAMS = jax.tree.map(lambda g: 0.1 * jnp.arange(1.0, g.size + 1).reshape(g.shape), GRADIENTS)


def clipped(transformation, gradients=GRADIENTS):
    updates, state = transformation.update(gradients, transformation.init(PARAMS), PARAMS)
    return updates, float(state.fraction)


def optax_of(transformation):
    return transformation.update(GRADIENTS, transformation.init(PARAMS), PARAMS)[0]


@pytest.mark.parametrize("limit", [0.01, 1.0, 2.5, 100.0])
def test_equals_optax(limit):
    assert_same_bits(clipped(optim.clip_by_global_norm(limit))[0], optax_of(optax.clip_by_global_norm(limit)))
    assert_same_bits(clipped(optim.clip_by_value(limit))[0], optax_of(optax.clip(limit)))


@pytest.mark.parametrize("limit", [0.01, 0.1, 10.0])
def test_adaptive_clipping_equals_optax(limit):
    gradients, params = GRADIENTS["a"], PARAMS["a"]
    theirs = optax.adaptive_grad_clip(limit, eps=1e-3)
    expected, _ = theirs.update(gradients, theirs.init(params), params)
    ours = optim.adaptive_clip(limit, eps=1e-3)
    found = ours.update(gradients, ours.init(params), params)[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)


EVERY = [optim.clip_by_value, optim.clip_by_global_norm, optim.clip_by_norm, optim.adaptive_clip]


@pytest.mark.parametrize("make", EVERY)
def test_infinity_is_off_to_the_bit_also_as_a_lane(make):
    for limit in (OFF, jnp.inf):
        updates, share = clipped(make(limit))
        assert_same_bits(updates, GRADIENTS)
        assert share == 0
    limits = jnp.array([0.5, OFF])
    lanes = jax.jit(jax.vmap(lambda c: make(c).update(GRADIENTS, make(c).init(PARAMS), PARAMS)[0]))(limits)
    assert_same_bits(jax.tree.map(lambda a: a[1], lanes), GRADIENTS)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(lanes))
    assert (lanes["a"]["kernel"][0] != GRADIENTS["a"]["kernel"]).any()


@pytest.mark.parametrize("make", EVERY)
def test_zero_gradients_stay_zero(make):
    zeros = jax.tree.map(jnp.zeros_like, GRADIENTS)
    updates, share = clipped(make(1.0), zeros)
    assert_same_bits(updates, zeros)
    assert share == 0


def test_global_norm_keeps_the_direction():
    updates, share = clipped(optim.clip_by_global_norm(2.0))
    before, after = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(t)]) for t in (GRADIENTS, updates))
    np.testing.assert_allclose(np.linalg.norm(after), 2.0, rtol=1e-6)
    np.testing.assert_allclose(after / 2.0, before / np.linalg.norm(before), rtol=1e-5)
    assert share == 1


def test_each_parameter_has_its_own_norm():
    updates, share = clipped(optim.clip_by_norm(1.0))
    np.testing.assert_allclose(np.linalg.norm(updates["a"]["kernel"]), 1.0, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(updates["a"]["bias"]), 1.0, rtol=1e-6)
    np.testing.assert_allclose(share, 2 / 3, rtol=1e-6)


def test_thresholds_by_path():
    updates, share = clipped(optim.clip_by_norm({"a": 1.0, "a/bias": OFF}))
    np.testing.assert_allclose(np.linalg.norm(updates["a"]["kernel"]), 1.0, rtol=1e-6)
    assert_same_bits(updates["a"]["bias"], GRADIENTS["a"]["bias"])
    np.testing.assert_allclose(share, 1 / 3, rtol=1e-6)
    with pytest.raises(ValueError, match="no parameter lies under 'c'"):
        clipped(optim.clip_by_norm({"c": 1.0}))


def test_the_share_is_a_mean_over_updates():
    transformation = optim.clip_by_global_norm(1.0)
    state = transformation.init(PARAMS)
    for size in (0.5, 2.0, 3.0, 0.1):
        _, state = transformation.update({"w": jnp.array([size])}, state)
    assert float(state.fraction) == 0.5
    chained = optax.chain(optim.clip_by_global_norm(1.0), optax.adam(0.1))
    assert float(optim.clipped_fraction(chained.init(PARAMS))) == 0
    assert optim.clipped_fraction(optax.adam(0.1).init(PARAMS)) is None


def test_value_counts_entries():
    assert np.isclose(clipped(optim.clip_by_value(1.0))[1], 3 / 9)


@pytest.mark.parametrize("make", EVERY)
def test_negative_thresholds_are_refused(make):
    with pytest.raises(ValueError, match="`threshold` is -1.0"):
        make(-1.0)
