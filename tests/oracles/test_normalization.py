"""Normalization: its closed forms, and what it makes of scales."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtune import nn

RNG = np.random.default_rng(0)
X = RNG.normal(2.0, 3.0, size=(16, 6))
IMAGES = RNG.normal(1.0, 2.0, size=(4, 3, 5, 6))
RUNNING = nn.RunningStatistics(jnp.zeros(6), jnp.ones(6))


def standardized(x, axis, eps=1e-5):
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps)


FORMS = {
    "batch norm": (lambda: nn.batch_norm(X, RUNNING, train=True)[0], lambda: standardized(X, 0)),
    "batch norm of images": (
        lambda: nn.batch_norm(IMAGES, RUNNING, train=True, eps=0.1)[0],
        lambda: standardized(IMAGES, (0, 1, 2), 0.1),
    ),
    "batch norm in evaluation": (
        lambda: nn.batch_norm(X, nn.RunningStatistics(*jnp.array([[1.0] * 6, [4.0] * 6])), train=False, eps=0.0)[0],
        lambda: (X - 1) / 2,
    ),
    "layer norm": (lambda: nn.layer_norm(X, eps=1e-5), lambda: standardized(X, 1)),
    "RMS norm": (lambda: nn.rms_norm(X, eps=1e-5), lambda: X / np.sqrt((X**2).mean(1, keepdims=True) + 1e-5)),
    "group norm": (
        lambda: nn.group_norm(IMAGES, 3, eps=1e-5),
        lambda: standardized(IMAGES.reshape(4, 3, 5, 3, 2), (1, 2, 4)).reshape(IMAGES.shape),
    ),
    "one group is a layer": (lambda: nn.group_norm(IMAGES, 1, eps=1e-5), lambda: standardized(IMAGES, (1, 2, 3))),
    "instance norm": (lambda: nn.instance_norm(IMAGES, eps=1e-5), lambda: standardized(IMAGES, (1, 2))),
    "weight norm": (lambda: nn.weight_norm(X, np.arange(6.0)), lambda: X / np.linalg.norm(X, axis=0) * np.arange(6.0)),
}


@pytest.mark.parametrize("name", FORMS)
def test_closed_forms(name):
    ours, expected = FORMS[name]
    np.testing.assert_allclose(ours(), expected(), rtol=1e-10, atol=1e-12)


def test_running_statistics_are_weighted_averages_of_biased_moments():
    running = nn.RunningStatistics(jnp.zeros(6), jnp.ones(6))
    for _ in range(3):
        running = nn.batch_norm(X, running, train=True, momentum=0.7)[1]
    np.testing.assert_allclose(running.mean, (1 - 0.7**3) * X.mean(0), rtol=1e-10)
    np.testing.assert_allclose(running.var, 0.7**3 + (1 - 0.7**3) * X.var(0), rtol=1e-10)


def loss(w, bias=0.0):
    y, _ = nn.batch_norm(
        jnp.asarray(X) @ w + bias, nn.RunningStatistics(jnp.zeros(3), jnp.ones(3)), train=True, eps=0.0
    )
    return (jnp.sin(y) * np.arange(48.0).reshape(16, 3)).mean()


def test_batch_norm_does_not_see_the_scale_of_weights():
    w = jnp.asarray(RNG.normal(size=(6, 3)))
    gradient = jax.grad(loss)(w)
    np.testing.assert_allclose(loss(5 * w), loss(w), rtol=1e-10)
    np.testing.assert_allclose(jax.grad(loss)(5 * w), gradient / 5, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose((w * gradient).sum(0), np.zeros(3), atol=1e-12)
    stepped = w - 0.1 * gradient
    expected = (np.asarray(w) ** 2).sum(0) + 0.01 * (np.asarray(gradient) ** 2).sum(0)
    np.testing.assert_allclose((stepped**2).sum(0), expected, rtol=1e-12)
    np.testing.assert_allclose(jax.grad(loss, 1)(w, 0.3), 0.0, atol=1e-12)


def test_spectral_norm_divides_by_the_largest_singular_value():
    v = jnp.ones(6)
    for _ in range(300):
        scaled, v = nn.spectral_norm(jnp.asarray(X), v, bound=1.5)
    np.testing.assert_allclose(scaled, 1.5 * X / np.linalg.svd(X, compute_uv=False)[0], rtol=1e-10)
