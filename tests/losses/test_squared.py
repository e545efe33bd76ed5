"""The squared error against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtune.losses import squared_error

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "outputs, y", [((5,), (5,)), ((5, 1), (5,)), ((5,), (5, 1)), ((5, 3), (5, 3)), ((5, 2, 3), (5, 2, 3))]
)
def test_values_and_gradient(outputs, y):
    a, b = RNG.normal(size=outputs), RNG.normal(size=y)
    difference = a.reshape(5, -1) - b.reshape(5, -1)
    with jax.enable_x64(True):
        value = squared_error(jnp.asarray(a), b)
        gradient = jax.grad(lambda a: squared_error(a, b).sum())(jnp.asarray(a))
    assert value.shape == (5,)
    np.testing.assert_allclose(value, np.square(difference).sum(1), rtol=1e-12)
    np.testing.assert_allclose(gradient, 2 * difference.reshape(outputs), rtol=1e-12)


@pytest.mark.parametrize("outputs, y", [((5, 2), (5,)), ((5, 2), (5, 3)), ((4,), (5,)), ((5, 10), (5, 1))])
def test_numbers_of_targets_that_differ(outputs, y):
    with pytest.raises(ValueError, match="`outputs` is .*one output per target.*hp.run.outputs"):
        squared_error(jnp.zeros(outputs), np.zeros(y))
