"""Linen modules as pairs of pure functions."""

import zlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asserts import assert_same_bits

from jaxtune.models import as_model

KEY = jax.random.key(5)
X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)


def streams(key):
    return {name: jax.random.fold_in(key, zlib.crc32(name.encode())) for name in ("params", "dropout", "noise")}


class Train(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.Dropout(0.5, deterministic=not train)(x)


class Training(nn.Module):
    @nn.compact
    def __call__(self, x, *, training):
        return nn.Dropout(0.5, deterministic=not training)(x)


class Deterministic(nn.Module):
    @nn.compact
    def __call__(self, x, deterministic=None):
        return nn.Dropout(0.5)(x, deterministic=deterministic)


class Two(nn.Module):
    @nn.compact
    def __call__(self, x, use_running_average, train):
        assert use_running_average != train
        return nn.Dropout(0.5, deterministic=use_running_average)(x)


@pytest.mark.parametrize("module", [Train, Training, Deterministic, Two, lambda: nn.Dropout(0.5)])
def test_flags_are_those_that_the_module_names(module):
    model = as_model(module())
    params, state = model.init(KEY, X)
    assert params == {} and state == {}
    assert_same_bits(model.apply(params, state, X, key=KEY, train=False)[0], X)
    assert (model.apply(params, state, X, key=KEY, train=True)[0] == 0).any()


def test_a_module_without_flags():
    model, stock = as_model(nn.Dense(3)), nn.Dense(3)
    params, state = model.init(KEY, X)
    assert state == {}
    assert_same_bits(params, stock.init(streams(KEY)["params"], X)["params"])
    for train in (False, True):
        outputs, after = model.apply(params, state, X, key=KEY, train=train)
        assert_same_bits(outputs, stock.apply({"params": params}, X))
        assert after == {}


def test_use_running_average():
    model = as_model(nn.BatchNorm(momentum=0.7))
    params, state = model.init(KEY, X)
    assert set(state) == {"batch_stats"} and set(params) == {"scale", "bias"}
    outputs, after = model.apply(params, state, X, key=KEY, train=True)
    x = X.astype(np.float64)
    np.testing.assert_allclose(outputs, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), atol=1e-5)
    np.testing.assert_allclose(after["batch_stats"]["mean"], 0.3 * x.mean(0), atol=1e-6)
    np.testing.assert_allclose(after["batch_stats"]["var"], 0.7 + 0.3 * x.var(0), atol=1e-6)
    outputs, kept = model.apply(params, after, X, key=KEY, train=False)
    expected = (x - 0.3 * x.mean(0)) / np.sqrt(0.7 + 0.3 * x.var(0) + 1e-5)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    assert_same_bits(kept, after)


class Everything(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(3)(x))
        calls = self.variable("counters", "calls", lambda: jnp.array(0))
        if train:
            calls.value += 1
        self.sow("intermediates", "hidden", x)
        noise = jax.random.normal(self.make_rng("noise"), x.shape) if train else 0.0
        return nn.Dropout(0.5, deterministic=not train)(x + noise)


def test_every_collection_but_params_is_state():
    model = as_model(Everything())
    params, state = model.init(KEY, X)
    assert set(state) == {"batch_stats", "counters"} and set(params) == {"BatchNorm_0", "Dense_0"}
    outputs, after = model.apply(params, state, X, key=KEY, train=True)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert after["counters"]["calls"] == 1 and state["counters"]["calls"] == 0
    variables = {"params": params, **state}
    expected, _ = Everything().apply(variables, X, True, rngs=streams(KEY), mutable=["batch_stats", "counters"])
    assert_same_bits(outputs, expected)


def test_key_feeds_the_noise():
    model = as_model(Everything())
    variables = model.init(KEY, X)
    a, b, c = (model.apply(*variables, X, key=key, train=True)[0] for key in (KEY, KEY, jax.random.key(6)))
    assert_same_bits(a, b)
    assert (a != c).any()


def test_runs_under_jit_vmap_and_grad():
    model = as_model(Everything())
    keys = jax.random.split(KEY, 3)
    params, state = jax.vmap(model.init, (0, None))(keys, X)

    @jax.jit
    @jax.vmap
    def gradient(params, state, key):
        return jax.grad(lambda p: jnp.square(model.apply(p, state, X, key=key, train=True)[0]).sum())(params)

    g = gradient(params, state, keys)
    assert jax.tree.map(jnp.shape, g) == jax.tree.map(jnp.shape, params)
    assert np.isfinite(g["Dense_0"]["kernel"]).all() and (g["Dense_0"]["kernel"] != 0).any()


def test_inputs_may_be_a_pytree():
    class Sum(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(x["a"]) + x["b"]

    model, x = as_model(Sum()), {"a": X, "b": X[:, :2]}
    params, state = model.init(KEY, x)
    expected = X @ params["Dense_0"]["kernel"] + X[:, :2]
    np.testing.assert_allclose(model.apply(params, state, x, key=KEY, train=False)[0], expected, atol=1e-6)


def test_is_training_is_a_switch_and_evaluation_may_draw_and_changes_nothing():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, is_training):
            calls = self.variable("count", "calls", lambda: jnp.zeros((), jnp.int32))
            calls.value = calls.value + 1
            noise = jax.random.normal(self.make_rng("noise"), x.shape)
            return nn.Dense(2)(x + noise) * (1.0 if is_training else 0.0)

    model = as_model(Net())
    x = jnp.ones((3, 4))
    params, state = model.init(jax.random.key(0), x)
    outputs, after = model.apply(params, state, x, key=jax.random.key(1), train=True)
    assert jnp.any(outputs != 0) and after["count"]["calls"] == state["count"]["calls"] + 1
    outputs, after = model.apply(params, state, x, key=jax.random.key(1), train=False)
    assert jnp.all(outputs == 0) and after["count"]["calls"] == state["count"]["calls"]
