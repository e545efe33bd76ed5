"""The NNX shells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asserts import assert_same_bits
from flax import nnx

from jaxtune.nn.nnx import Dropout

X = jnp.arange(1.0, 65.0).reshape(8, 8)


class Net(nnx.Module):
    def __init__(self, layer, rate, rngs):
        self.first, self.second = layer(rate, rngs=rngs), layer(rate, rngs=rngs)

    def __call__(self, x):
        return self.second(self.first(x) + 1.0)


def test_equals_flax_in_a_model():
    ours, theirs = (Net(layer, 0.5, nnx.Rngs(dropout=5))(X) for layer in (Dropout, nnx.Dropout))
    assert_same_bits(ours, theirs)


def test_train_and_eval_switch():
    net = Net(Dropout, 0.5, nnx.Rngs(0))
    net.eval()
    assert_same_bits(net(X), X + 1.0)
    net.train()
    assert (net(X) == 0).any()


@pytest.mark.parametrize("made, called, dropped", [(True, None, False), (True, False, True), (False, True, False)])
def test_the_call_overrules_the_field(made, called, dropped):
    y = Dropout(0.5, deterministic=made, rngs=nnx.Rngs(0))(X, deterministic=called)
    assert bool((y == 0).any()) == dropped


def test_every_call_draws_anew_but_zero_draws_nothing():
    layer, off = Dropout(0.5, rngs=nnx.Rngs(0)), Dropout(0.0, rngs=nnx.Rngs(0))
    assert (layer(X) != layer(X)).any()
    assert off(X) is X
    assert layer.rngs.count[...] == 2 and off.rngs.count[...] == 0


def test_stream_can_be_chosen():
    layers = (kind(0.5, rng_collection="noise", rngs=nnx.Rngs(noise=4)) for kind in (Dropout, nnx.Dropout))
    ours, theirs = (layer(X) for layer in layers)
    assert_same_bits(ours, theirs)


def test_traced_rate_in_the_builder():
    def lane(rate):
        return Net(Dropout, rate, nnx.Rngs(0))(X)

    lanes = jax.jit(jax.vmap(lane))(jnp.array([0.0, 0.5, 1.0]))
    assert_same_bits(lanes[0], X + 1.0)
    assert_same_bits(lanes[1], Net(nnx.Dropout, 0.5, nnx.Rngs(0))(X))
    np.testing.assert_array_equal(lanes[2], np.zeros((8, 8)))
