"""NNX modules as pairs of pure functions."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asserts import assert_same_bits
from flax import nnx

import jaxtune as jt
from jaxtune.models import as_model

KEY = jax.random.key(5)
X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)


class Net(nnx.Module):
    def __init__(self, rngs, rate=0.0, momentum=0.9, dropout=jt.nn.nnx.Dropout):
        self.linear = nnx.Linear(4, 3, rngs=rngs)
        self.norm = nnx.BatchNorm(3, momentum=momentum, rngs=rngs)
        self.drop = dropout(rate, rngs=rngs)

    def __call__(self, x):
        return self.drop(self.norm(self.linear(x)))


def hidden(params):
    return X.astype(np.float64) @ np.asarray(params["linear"]["kernel"]) + np.asarray(params["linear"]["bias"])


def test_parameters_are_those_of_the_builder():
    params, state = as_model(lambda rngs: Net(rngs)).init(KEY, X)
    names = {name: jax.random.fold_in(KEY, zlib.crc32(name.encode())) for name in ("params", "dropout", "noise")}
    assert_same_bits(params, nnx.to_pure_dict(nnx.state(Net(nnx.Rngs(**names)), nnx.Param)))
    assert set(params) == {"linear", "norm"} and set(params["norm"]) == {"scale", "bias"}
    assert jax.tree.map(jnp.shape, state) == {"norm": {"mean": (3,), "var": (3,)}}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_batch_norm(momentum):
    model = as_model(lambda rngs: Net(rngs, momentum=momentum))
    params, state = model.init(KEY, X)
    outputs, after = model.apply(params, state, X, key=KEY, train=True)
    h = hidden(params)
    mean, variance = h.mean(0), h.var(0)  # the biased variance
    np.testing.assert_allclose(outputs, (h - mean) / np.sqrt(variance + 1e-5), atol=1e-4)
    mean, variance = (1 - momentum) * mean, momentum + (1 - momentum) * variance
    np.testing.assert_allclose(after["norm"]["mean"], mean, atol=1e-6)
    np.testing.assert_allclose(after["norm"]["var"], variance, atol=1e-5)
    outputs, kept = model.apply(params, after, X, key=KEY, train=False)
    np.testing.assert_allclose(outputs, (h - mean) / np.sqrt(variance + 1e-5), atol=1e-4)
    assert_same_bits(kept, after)


def test_state_goes_in_and_comes_out():
    model = as_model(lambda rngs: Net(rngs))
    params, state = model.init(KEY, X)
    for _ in range(2):
        _, state = jax.jit(lambda p, s: model.apply(p, s, X, key=KEY, train=True))(params, state)
    np.testing.assert_allclose(state["norm"]["mean"], (1 - 0.9**2) * hidden(params).mean(0), atol=1e-6)


def test_dropout_is_for_training_and_fed_by_the_key():
    model = as_model(lambda rngs: Net(rngs, 0.5))
    variables = model.init(KEY, X)
    assert (model.apply(*variables, X, key=KEY, train=False)[0] != 0).all()
    a, b, c = (model.apply(*variables, X, key=key, train=True)[0] for key in (KEY, KEY, jax.random.key(6)))
    assert_same_bits(a, b)
    assert (a == 0).any() and ((a == 0) != (c == 0)).any()


def test_unmodified_flax_layers():
    ours, stock = (as_model(lambda rngs, d=d: Net(rngs, 0.5, dropout=d)) for d in (jt.nn.nnx.Dropout, nnx.Dropout))
    variables = stock.init(KEY, X)
    for train in (False, True):
        assert_same_bits(
            ours.apply(*variables, X, key=KEY, train=train), stock.apply(*variables, X, key=KEY, train=train)
        )


def test_builder_may_close_over_traced_numbers():
    def lane(rate):
        model = as_model(lambda rngs: Net(rngs, rate))
        return model.apply(*model.init(KEY, X), X, key=KEY, train=True)[0]

    lanes = jax.jit(jax.vmap(lane))(jnp.array([0.0, 0.5, 1.0]))
    assert (lanes[0] != 0).all() and (lanes[1] == 0).any() and (lanes[1] != 0).any()
    np.testing.assert_array_equal(lanes[2], np.zeros((8, 3)))


def test_a_traced_rate_is_no_state():
    # State is what training changes; a rate in it would keep the value that it had at the start.
    early, late = (as_model(lambda rngs, r=r: Net(rngs, jnp.float32(r))) for r in (0.0, 1.0))
    params, state = early.init(KEY, X)
    assert set(state) == {"norm"}
    np.testing.assert_array_equal(late.apply(params, state, X, key=KEY, train=True)[0], np.zeros((8, 3)))


@pytest.mark.filterwarnings("ignore:Using 'Module.sow:DeprecationWarning")
def test_what_is_sown_is_no_state():
    class Sower(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(4, 3, rngs=rngs)

        def __call__(self, x):
            self.sow(nnx.Intermediate, "hidden", x)
            return self.linear(x)

    model = as_model(lambda rngs: Sower(rngs))
    params, state = model.init(KEY, X)
    assert_same_bits(model.apply(params, state, X, key=KEY, train=True)[1], state)


def test_gradient_reaches_the_parameters():
    model = as_model(lambda rngs: Net(rngs))
    params, state = model.init(KEY, X)
    weight = np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)
    gradient = jax.grad(lambda p: (model.apply(p, state, X, key=KEY, train=False)[0] * weight).sum())(params)
    np.testing.assert_allclose(gradient["norm"]["bias"], weight.sum(0), rtol=1e-5)
    np.testing.assert_allclose(gradient["linear"]["kernel"], X.T @ weight / np.sqrt(1 + 1e-5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("built", [None, 3.0, lambda x: x])
def test_a_builder_has_to_build(built):
    with pytest.raises(TypeError, match=r"`model` is .*has to return an nnx.Module.*lambda rngs"):
        as_model(lambda rngs: built).init(KEY, X)
