"""Sharpness-aware gradients on quadratics, and noise on gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from asserts import assert_same_bits

from jaxtune import optim

H = np.array([[3.0, 1.0], [1.0, 2.0]], np.float32)
W = np.array([0.5, -2.0], np.float32)
KEY = jax.random.key(0)


def quadratic(w):
    return 0.5 * w @ jnp.array(H) @ w, {"seen": w}


@pytest.mark.parametrize("rho", [0.0, 0.1, 2.0])
def test_sam_on_a_quadratic(rho):
    g = H @ W
    (value, aux), gradient = optim.sam(rho)(quadratic, jnp.array(W))
    np.testing.assert_allclose(gradient, H @ (W + rho * g / np.linalg.norm(g)), rtol=1e-5)
    np.testing.assert_allclose(value, 0.5 * W @ H @ W, rtol=1e-6)
    assert_same_bits(aux["seen"], jnp.array(W))  # state and value are those at w


def test_no_radius_is_the_plain_gradient_to_the_bit():
    assert_same_bits(optim.sam(0.0)(quadratic, jnp.array(W)), optim.plain_gradient(quadratic, jnp.array(W)))


def test_radii_are_lanes_and_a_flat_point_is_finite():
    lanes = jax.jit(jax.vmap(lambda rho: optim.sam(rho)(quadratic, jnp.array(W))[1]))(jnp.array([0.0, 0.5]))
    np.testing.assert_allclose(lanes[1], optim.sam(0.5)(quadratic, jnp.array(W))[1], rtol=1e-5)
    np.testing.assert_array_equal(optim.sam(0.5)(quadratic, jnp.zeros(2))[1], np.zeros(2))


def noisy(scale, steps=1):
    optimizer = optax.with_extra_args_support(optax.chain(optim.gradient_noise(scale), optax.sgd(1.0)))
    gradient = {"a": jnp.zeros((300, 200)), "b": jnp.zeros(5)}
    state, found = optimizer.init(gradient), []
    for t in range(steps):
        updates, state = optimizer.update(gradient, state, gradient, value=0.0, key=jax.random.fold_in(KEY, t))
        found.append(float(np.asarray(updates["a"], np.float64).std()))
    return found, updates


def test_noise_has_its_strength_and_may_be_annealed():
    np.testing.assert_allclose(noisy(0.3)[0], [0.3], rtol=0.02)
    found, _ = noisy(optim.schedules.inverse_power(0.3, 0.275), 5)
    np.testing.assert_allclose(np.square(found), 0.09 * (1 + np.arange(5)) ** -0.55, rtol=0.03)
    _, none = noisy(0.0)
    np.testing.assert_array_equal(none["a"], np.zeros((300, 200)))


def test_noise_is_drawn_once_for_all_lanes():
    text = str(jax.make_jaxpr(jax.vmap(lambda s: noisy_update(s)))(jnp.array([0.1, 0.2])))
    assert "u32[4] = random_bits" in text and "u32[2,4]" not in text


def noisy_update(scale):
    transformation, g = optim.gradient_noise(scale), jnp.zeros(4)
    return transformation.update(g, transformation.init(g), g, key=KEY)[0]


def test_a_key_is_needed():
    transformation = optim.gradient_noise(0.1)
    with pytest.raises(ValueError, match="needs a random key"):
        transformation.update(jnp.ones(2), transformation.init(jnp.ones(2)))
