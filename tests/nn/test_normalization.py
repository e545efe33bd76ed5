"""Normalization of activations against Flax, and of weights; what must not matter does not."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxtune as jt
from jaxtune.nn import RunningStatistics

KEY = jax.random.key(0)
X = 3.0 + 2.0 * jax.random.normal(KEY, (6, 5, 4, 8))
W = jax.random.normal(jax.random.key(1), (3, 3, 4, 8))


def flax(layer, **call):
    return layer.init_with_output(KEY, X, **call)[0]


SAME = {
    "layer": (lambda: jt.nn.layer_norm(X, eps=1e-4), lambda: flax(nn.LayerNorm(epsilon=1e-4))),
    "rms": (lambda: jt.nn.rms_norm(X, eps=1e-4), lambda: flax(nn.RMSNorm(epsilon=1e-4))),
    "group": (lambda: jt.nn.group_norm(X, 4, eps=1e-4), lambda: flax(nn.GroupNorm(4, epsilon=1e-4))),
    "instance": (lambda: jt.nn.instance_norm(X, eps=1e-4), lambda: flax(nn.InstanceNorm(epsilon=1e-4))),
}


@pytest.mark.parametrize("name", SAME)
def test_equals_flax(name):
    ours, theirs = SAME[name]
    np.testing.assert_allclose(ours(), theirs(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_equals_flax_in_linen(train):
    ours, theirs = jt.nn.linen.BatchNorm(momentum=0.8), nn.BatchNorm(momentum=0.8)
    given = theirs.init(KEY, X, use_running_average=True)
    given["batch_stats"] = jax.tree.map(lambda a: a + 0.7, given["batch_stats"])
    assert jax.tree.structure(given) == jax.tree.structure(ours.init(KEY, X, use_running_average=True))
    for _ in range(2):
        expected, new = theirs.apply(given, X, use_running_average=not train, mutable=["batch_stats"])
        found, own = ours.apply(given, X, use_running_average=not train, mutable=["batch_stats"])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), (found, own), (expected, new))
        given = {"params": given["params"], **new}


def test_batch_norm_equals_flax_in_nnx():
    ours, theirs = jt.nn.nnx.BatchNorm(8, momentum=0.8), nnx.BatchNorm(8, momentum=0.8, rngs=nnx.Rngs(0))
    for layer in (ours, theirs):
        layer.train()
    np.testing.assert_allclose(ours(X), theirs(X), rtol=1e-4, atol=1e-5)
    ours.eval(), theirs.eval()
    np.testing.assert_allclose(ours(X), theirs(X), rtol=1e-4, atol=1e-5)


def test_moments_are_not_lost_far_from_zero():
    x = 1e4 + jnp.array([[-1.0], [1.0]])
    running = RunningStatistics(jnp.zeros(1), jnp.ones(1))
    y, _ = jt.nn.batch_norm(x, running, train=True, eps=0.0)
    np.testing.assert_allclose(y, [[-1.0], [1.0]], rtol=1e-5)


def test_constant_inputs_without_eps_are_zero_with_finite_gradients():
    x = jnp.full((4, 3), 2.0)
    running = RunningStatistics(jnp.zeros(3), jnp.ones(3))
    for fn in (
        lambda x: jt.nn.batch_norm(x, running, train=True, eps=0.0)[0],
        lambda x: jt.nn.layer_norm(x, eps=0.0),
        lambda x: jt.nn.rms_norm(0 * x, eps=0.0),
    ):
        np.testing.assert_array_equal(fn(x), np.zeros((4, 3)))
        assert np.isfinite(jax.grad(lambda x: fn(x).sum())(x)).all()  # noqa: B023 (called at once)


def test_whole_numbers_become_floats():
    whole = jnp.array([[1, 2, 3, 4]])
    np.testing.assert_allclose(jt.nn.layer_norm(whole), jt.nn.layer_norm(whole.astype(jnp.float32)))


def test_half_precision_neither_overflows_nor_vanishes():
    for scale in (1e-4, 100.0):
        w = (scale * W).astype(jnp.float16)
        norms = np.linalg.norm(np.asarray(jt.nn.weight_norm(w, jnp.ones(8)), np.float64).reshape(-1, 8), axis=0)
        np.testing.assert_allclose(norms, np.ones(8), rtol=1e-2)
        scaled, _ = jt.nn.spectral_norm(w, jnp.ones(8, jnp.float16), iterations=60)
        sigma = np.linalg.svd(np.asarray(scaled, np.float64).reshape(-1, 8), compute_uv=False)[0]
        np.testing.assert_allclose(sigma, 1.0, rtol=2e-2)


def test_half_precision_keeps_its_type():
    x = X.astype(jnp.bfloat16)
    running = RunningStatistics(jnp.zeros(8), jnp.ones(8))
    y, new = jt.nn.batch_norm(x, running, train=True)
    assert y.dtype == jnp.bfloat16 and new.mean.dtype == jnp.float32
    assert jt.nn.group_norm(x, 2).dtype == jnp.bfloat16


def test_weight_norm_has_the_given_lengths_and_directions():
    lengths = jnp.arange(1.0, 9.0)
    kernel = jt.nn.weight_norm(W, lengths)
    np.testing.assert_allclose(np.linalg.norm(np.asarray(kernel).reshape(-1, 8), axis=0), lengths, rtol=1e-5)
    np.testing.assert_allclose(jt.nn.weight_norm(7.0 * W, lengths), kernel, rtol=1e-5)
    gradient = jax.grad(lambda v: jnp.sin(jt.nn.weight_norm(v, lengths)).sum())(W)
    np.testing.assert_allclose((gradient * W).sum((0, 1, 2)), np.zeros(8), atol=1e-5)  # orthogonal to v
    assert np.isfinite(jax.grad(lambda v: jt.nn.weight_norm(v, lengths).sum())(jnp.zeros((3, 8)))).all()


@pytest.mark.parametrize("always", [True, False])
def test_spectral_norm_has_the_bound_as_largest_singular_value(always):
    v = jnp.ones(8)
    for _ in range(60):
        scaled, v = jt.nn.spectral_norm(W, v, bound=2.0, always=always)
    sigma = np.linalg.svd(np.asarray(scaled).reshape(-1, 8), compute_uv=False)[0]
    np.testing.assert_allclose(sigma, 2.0, rtol=1e-4)
    small, _ = jt.nn.spectral_norm(0.01 * W, v, bound=2.0, always=always)
    sigma = np.linalg.svd(np.asarray(small).reshape(-1, 8), compute_uv=False)[0]
    original = np.linalg.svd(0.01 * np.asarray(W).reshape(-1, 8), compute_uv=False)[0]
    np.testing.assert_allclose(sigma, 2.0 if always else original, rtol=1e-4)


def test_spectral_norm_can_be_off_and_survives_zeros():
    unchanged, _ = jt.nn.spectral_norm(W, jnp.ones(8), bound=jnp.inf, always=False)
    np.testing.assert_array_equal(unchanged, W)
    zeros, v = jt.nn.spectral_norm(jnp.zeros((4, 8)), jnp.ones(8))
    assert not zeros.any() and np.isfinite(v).all()
    assert np.isfinite(jax.grad(lambda w: jt.nn.spectral_norm(w, jnp.ones(8))[0].sum())(jnp.zeros((4, 8)))).all()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: jt.nn.layer_norm(X, eps=-1.0), "`eps` is -1.0"),
        (lambda: jt.nn.group_norm(X, 3), "does not divide the 8 features"),
        (lambda: jt.nn.instance_norm(X[:, 0, 0]), "one position only"),
        (lambda: jt.nn.instance_norm(X[:, :1, :1]), "one position only"),
        (lambda: jt.nn.nnx.LayerNorm(1)(X), "made for 1 features"),
        (lambda: jt.nn.nnx.BatchNorm(4)(X), "statistics are of \\(4,\\) features"),
        (lambda: jt.nn.spectral_norm(W, jnp.ones(8), bound=0.0), "`bound` is 0.0"),
        (lambda: jt.nn.linen.BatchNorm(momentum=2.0).init(KEY, X, use_running_average=False), "`momentum` is 2.0"),
    ],
)
def test_bad_use_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
