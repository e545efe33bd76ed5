"""Orthogonality and spectral norm against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtune.penalties import largest_singular_value, orthogonality, spectral_norm

RNG = np.random.default_rng(0)
PARAMS = {
    "Conv_0": {"kernel": RNG.normal(size=(3, 3, 2, 4)), "bias": RNG.normal(size=4)},
    "Dense_0": {"kernel": RNG.normal(size=(5, 6)), "bias": RNG.normal(size=6)},
}
MATRICES = [PARAMS["Conv_0"]["kernel"].reshape(18, 4), PARAMS["Dense_0"]["kernel"]]


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def test_orthogonality():
    expected = sum(np.linalg.norm(w.T @ w - np.eye(w.shape[1])) ** 2 for w in MATRICES)
    np.testing.assert_allclose(orthogonality(0.3)(PARAMS), 0.3 * expected, rtol=1e-12)
    gradient = jax.grad(orthogonality(0.3))(PARAMS)["Dense_0"]["kernel"]
    w = MATRICES[1]
    np.testing.assert_allclose(gradient, 0.3 * 4 * w @ (w.T @ w - np.eye(6)), rtol=1e-11)


def test_orthonormal_columns_cost_nothing():
    q, _ = np.linalg.qr(RNG.normal(size=(9, 4)))
    np.testing.assert_allclose(orthogonality(1.0)({"kernel": q}), 0.0, atol=1e-28)


def test_spectral_norm():
    expected = sum(np.linalg.norm(w, 2) ** 2 for w in MATRICES)
    np.testing.assert_allclose(spectral_norm(0.3)(PARAMS), 0.3 * expected, rtol=1e-12)
    np.testing.assert_allclose(spectral_norm(0.3, iterations=300)(PARAMS), 0.3 * expected, rtol=1e-10)


@pytest.mark.parametrize("iterations", [None, 300])
def test_gradient_of_the_spectral_norm(iterations):
    u, s, v = np.linalg.svd(MATRICES[1])
    gradient = jax.grad(spectral_norm(0.3, iterations=iterations))(PARAMS)["Dense_0"]["kernel"]
    np.testing.assert_allclose(gradient, 0.3 * 2 * s[0] * np.outer(u[:, 0], v[0]), rtol=1e-6)


def test_the_power_method_is_a_lower_bound():
    few = [float(largest_singular_value(jnp.asarray(MATRICES[1]), n)) for n in (1, 2, 5, 20)]
    exact = np.linalg.norm(MATRICES[1], 2)
    assert few == sorted(few) and few[-1] <= exact * (1 + 1e-12)
    assert float(largest_singular_value(jnp.zeros((3, 2)), 2)) == 0


@pytest.mark.parametrize("make", [orthogonality, spectral_norm, lambda s: spectral_norm(s, iterations=3)])
def test_strengths_are_lanes(make):
    strengths = jnp.array([0.0, 0.1, 2.0])
    lanes = jax.jit(jax.vmap(lambda s: make(s)(PARAMS)))(strengths)
    np.testing.assert_allclose(lanes, strengths * float(make(1.0)(PARAMS)), rtol=1e-12)


def test_bad_use_is_refused():
    with pytest.raises(ValueError, match="`strength` is -1.0"):
        orthogonality(-1.0)
    with pytest.raises(ValueError, match="`iterations` is 0"):
        spectral_norm(1.0, iterations=0)
