"""The Linen shells."""

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asserts import assert_same_bits

from jaxtune.nn.linen import Dropout

KEY = jax.random.key(1)
X = jnp.arange(1.0, 65.0).reshape(8, 8)


class Net(nn.Module):
    layer: type[nn.Module]
    rate: float

    @nn.compact
    def __call__(self, x, deterministic):
        x = self.layer(self.rate, name="first")(x, deterministic=deterministic)
        return self.layer(self.rate, name="second")(x + 1.0, deterministic=deterministic)


@pytest.mark.parametrize("given", ["field", "call"])
def test_deterministic_returns_the_input(given):
    if given == "field":
        assert Dropout(0.5, deterministic=True).apply({}, X) is X
    else:
        assert Dropout(0.5).apply({}, X, deterministic=True) is X


def test_deterministic_has_to_be_said_once():
    with pytest.raises(ValueError, match="deterministic"):
        Dropout(0.5).apply({}, X)
    with pytest.raises(ValueError, match="deterministic"):
        Dropout(0.5, deterministic=True).apply({}, X, deterministic=True)


def test_equals_flax_in_a_model():
    ours, theirs = (Net(layer, 0.5).apply({}, X, False, rngs={"dropout": KEY}) for layer in (Dropout, nn.Dropout))
    assert_same_bits(ours, theirs)


def test_layers_draw_apart():
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Dropout(0.5, deterministic=False)(x), Dropout(0.5, deterministic=False)(x)

    a, b = Twice().apply({}, X, rngs={"dropout": KEY})
    assert (a != b).any()


def test_python_zero_needs_no_key_and_others_do():
    assert Dropout(0.0).apply({}, X, deterministic=False) is X
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        Dropout(0.5).apply({}, X, deterministic=False)


def test_stream_can_be_chosen():
    layer = Dropout(0.5, deterministic=False, rng_collection="noise")
    expected = nn.Dropout(0.5, deterministic=False, rng_collection="noise").apply({}, X, rngs={"noise": KEY})
    assert_same_bits(layer.apply({}, X, rngs={"noise": KEY}), expected)


def test_traced_rate_in_a_field():
    def lane(rate):
        return Net(Dropout, rate).apply({}, X, False, rngs={"dropout": KEY})

    lanes = jax.jit(jax.vmap(lane))(jnp.array([0.0, 0.5, 1.0]))
    assert_same_bits(lanes[0], X + 1.0)
    assert_same_bits(lanes[1], Net(nn.Dropout, 0.5).apply({}, X, False, rngs={"dropout": KEY}))
    np.testing.assert_array_equal(lanes[2], np.zeros((8, 8)))
