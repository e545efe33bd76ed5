"""The distance to a starting point."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtune.penalties import l2_sp

RNG = np.random.default_rng(0)
START = {"body": {"kernel": RNG.normal(size=(4, 3)), "bias": RNG.normal(size=3)}}
PARAMS = {
    "body": {"kernel": RNG.normal(size=(4, 3)), "bias": RNG.normal(size=3)},
    "head": {"kernel": RNG.normal(size=(3, 2))},
}


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def test_value_and_gradient():
    difference = PARAMS["body"]["kernel"] - START["body"]["kernel"]
    np.testing.assert_allclose(l2_sp(0.3, START)(PARAMS), 0.3 * np.square(difference).sum(), rtol=1e-13)
    gradient = jax.grad(l2_sp(0.3, START))(PARAMS)
    np.testing.assert_allclose(gradient["body"]["kernel"], 0.6 * difference, rtol=1e-13)
    np.testing.assert_array_equal(gradient["head"]["kernel"], np.zeros((3, 2)))
    np.testing.assert_array_equal(gradient["body"]["bias"], np.zeros(3))


def test_nothing_at_the_start():
    assert float(l2_sp(1.0, START)({**START, "head": PARAMS["head"]})) == 0


def test_strengths_are_lanes():
    lanes = jax.jit(jax.vmap(lambda s: l2_sp(s, START)(PARAMS)))(jnp.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(lanes, np.array([0.0, 1.0, 2.0]) * float(l2_sp(1.0, START)(PARAMS)), rtol=1e-12)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="has no parameter of the model"):
        l2_sp(1.0, {"other": np.ones((2, 2))})(PARAMS)
    with pytest.raises(ValueError, match=r"body/kernel has shape \(4, 3\)"):
        l2_sp(1.0, {"body": {"kernel": np.ones((2, 2))}})(PARAMS)
