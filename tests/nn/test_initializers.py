"""Initializers: their variances, JAX's values at gain 1, and gains as lanes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from problems import digits

import jaxtune as jt
from jaxtune.nn import initializers

KEY = jax.random.key(0)
SAME = {
    "he": (initializers.he(), nn.initializers.he_normal()),
    "he, uniform": (initializers.he(distribution="uniform"), nn.initializers.he_uniform()),
    "lecun": (initializers.lecun(), nn.initializers.lecun_normal()),
    "glorot": (initializers.glorot(), nn.initializers.glorot_uniform()),
    "orthogonal": (initializers.orthogonal(), nn.initializers.orthogonal()),
}


@pytest.mark.parametrize("name", SAME)
def test_gain_one_is_jaxs_to_the_bit(name):
    ours, theirs = SAME[name]
    for shape in ((30, 20), (3, 3, 4, 8)):
        assert_same_bits(ours(KEY, shape, jnp.float32), theirs(KEY, shape, jnp.float32))


@pytest.mark.parametrize(
    "make, variance",
    [(initializers.he, 2 / 36), (initializers.lecun, 1 / 36), (initializers.glorot, 2 / (36 + 9 * 2000))],
)
@pytest.mark.parametrize("distribution", ["normal", "truncated_normal", "uniform"])
def test_variances(make, variance, distribution):
    kernel = make(1.5, distribution=distribution)(KEY, (3, 3, 4, 2000))
    np.testing.assert_allclose(np.var(np.asarray(kernel, np.float64)), 2.25 * variance, rtol=0.03)


def test_orthogonal_columns_of_the_gains_norm():
    q = np.asarray(initializers.orthogonal(0.7)(KEY, (20, 8)), np.float64)
    np.testing.assert_allclose(q.T @ q, 0.49 * np.eye(8), atol=1e-6)


def test_a_deep_orthogonal_net_grows_by_its_gain():
    x = jnp.ones(16) / 4
    for depth in range(50):
        x = initializers.orthogonal(0.9)(jax.random.fold_in(KEY, depth), (16, 16)) @ x
    np.testing.assert_allclose(jnp.linalg.norm(x), 0.9**50, rtol=1e-4)


def test_he_keeps_the_second_moment_behind_relu():
    x = jax.nn.relu(jax.random.normal(KEY, (64, 512)))
    keys = jax.random.split(jax.random.key(1), 20)
    after = [jax.nn.relu(x @ initializers.he(distribution="normal")(key, (512, 512))) for key in keys]
    np.testing.assert_allclose(np.mean([jnp.square(y).mean() for y in after]), jnp.square(x).mean(), rtol=0.03)


def test_gains_are_an_axis_of_an_unmodified_model():
    class Net(nn.Module):
        gain: float

        @nn.compact
        def __call__(self, x):
            return nn.Dense(10, kernel_init=initializers.lecun(self.gain))(x.reshape(x.shape[0], -1))

    def recipe(hp):
        return jt.Recipe(Net(hp.gain), optimizer=optax.sgd(0.0), batch_size=16)

    gains = [0.0, 0.5, 2.0]
    result = jt.run(jt.Experiment(recipe, jt.grid(gain=gains), digits(), steps=2, seeds=1, eval_every=2))
    kernels = [result.variables(gain=g, seed=0).params["Dense_0"]["kernel"] for g in gains]
    np.testing.assert_array_equal(kernels[0], np.zeros((64, 10)))
    np.testing.assert_allclose(kernels[2], 4 * np.asarray(kernels[1]), rtol=1e-6)


def test_negative_gains_are_refused():
    with pytest.raises(ValueError, match="`gain` is -1.0"):
        initializers.he(-1.0)
