"""Group penalties against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtune.penalties import group_lasso, l1, sparse_group_lasso

RNG = np.random.default_rng(0)
PARAMS = {
    "Conv_0": {"kernel": RNG.normal(size=(3, 3, 2, 4)), "bias": RNG.normal(size=4)},
    "Dense_0": {"kernel": RNG.normal(size=(5, 6)), "bias": RNG.normal(size=6)},
}


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def by_hand(groups):
    """Returns the sum of sqrt(n_g) ||w_g|| over kernels, group by group."""
    total = 0.0
    for layer in PARAMS.values():
        w = layer["kernel"]
        rows = np.moveaxis(w, -2 if groups == "inputs" else -1, 0)
        total += sum(np.sqrt(g.size) * np.linalg.norm(g) for g in rows.reshape(len(rows), -1))
    return total


@pytest.mark.parametrize("groups", ["units", "filters", "inputs"])
def test_value(groups):
    np.testing.assert_allclose(group_lasso(0.3, groups=groups)(PARAMS), 0.3 * by_hand(groups), rtol=1e-13)
    mixed = sparse_group_lasso(0.2, 0.3, groups=groups)(PARAMS)
    absolute = sum(np.abs(layer["kernel"]).sum() for layer in PARAMS.values())
    np.testing.assert_allclose(mixed, 0.2 * absolute + 0.3 * by_hand(groups), rtol=1e-13)


def test_a_group_of_one_weight_is_l1():
    params = {"kernel": RNG.normal(size=(1, 7))}
    np.testing.assert_allclose(group_lasso(0.3)(params), l1(0.3)(params), rtol=1e-13)


def test_gradient():
    w = PARAMS["Dense_0"]["kernel"]
    gradient = jax.grad(group_lasso(0.3))(PARAMS)
    expected = 0.3 * np.sqrt(5) * w / np.linalg.norm(w, axis=0)
    np.testing.assert_allclose(gradient["Dense_0"]["kernel"], expected, rtol=1e-12)
    np.testing.assert_array_equal(gradient["Dense_0"]["bias"], np.zeros(6))


def test_a_group_of_zeros_has_no_gradient():
    w = np.array([[3.0, 0.0], [4.0, 0.0]])
    gradient = jax.grad(sparse_group_lasso(0.1, 1.0))({"kernel": w})["kernel"]
    np.testing.assert_allclose(gradient, [[0.1 + np.sqrt(2) * 0.6, 0.0], [0.1 + np.sqrt(2) * 0.8, 0.0]], rtol=1e-12)


def test_strengths_are_lanes():
    strengths = jnp.array([0.0, 0.1, 2.0])
    lanes = jax.jit(jax.vmap(lambda s: group_lasso(s)(PARAMS)))(strengths)
    np.testing.assert_allclose(lanes, strengths * by_hand("units"), rtol=1e-12)


def test_bad_use_is_refused():
    with pytest.raises(ValueError, match="`groups` is 'layers'"):
        group_lasso(0.1, groups="layers")(PARAMS)
    with pytest.raises(ValueError, match="`strength` is -1.0"):
        group_lasso(-1.0)
    with pytest.raises(ValueError, match="no parameter"):
        group_lasso(0.1)({"bias": np.ones(3)})
