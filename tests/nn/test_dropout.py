"""Dropout against its closed forms, and against Flax's layers."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asserts import assert_same_bits
from flax import nnx

import jaxtune as jt
from jaxtune.nn import dropout

KEY = jax.random.key(7)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_mean_and_variance(rate):
    n, x = 100_000, np.array([-3.0, 0.5, 2.0])
    y = np.asarray(dropout(KEY, jnp.broadcast_to(x, (n, 3)), rate), np.float64)
    variance = rate / (1 - rate) * x**2
    np.testing.assert_array_less(np.abs(y.mean(0) - x), 4 * np.sqrt(variance / n))
    np.testing.assert_allclose(y.var(0), variance, rtol=0.04)  # four standard errors at rate .9
    np.testing.assert_allclose(y[y != 0] * (1 - rate), np.broadcast_to(x, (n, 3))[y != 0], rtol=1e-5)


@pytest.mark.parametrize("as_rate", [float, jnp.float32, int], ids=["float", "array", "int"])
@pytest.mark.parametrize("rate", [0, 1])
def test_extremes_are_exact_with_finite_gradients(rate, as_rate):
    x = jnp.array([-1e30, -1.5, 0.0, 1e-30, 3e38])
    value, gradient = jax.value_and_grad(lambda x: dropout(KEY, x, as_rate(rate)).sum())(x[1:4])
    np.testing.assert_array_equal(dropout(KEY, x, as_rate(rate)), x if rate == 0 else np.zeros(5))
    np.testing.assert_array_equal(gradient, np.full(3, 1.0 - rate))
    assert np.isfinite(value)


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_gradient_in_a_traced_rate_is_finite(rate):
    assert np.isfinite(jax.grad(lambda r: dropout(KEY, jnp.arange(9.0), r).sum())(rate))


def test_not_a_number_is_dropped_too():
    np.testing.assert_array_equal(dropout(KEY, jnp.array([jnp.nan, jnp.inf]), 1.0), np.zeros(2))


def test_masks_nest_over_rates():
    low, high = (np.asarray(dropout(KEY, jnp.ones((100, 100)), rate)) > 0 for rate in (0.2, 0.5))
    assert not (high & ~low).any()
    assert 0.78 < low.mean() < 0.82 and 0.48 < high.mean() < 0.52


def test_keys_decide_the_mask():
    x = jnp.ones((50, 50))
    assert_same_bits(dropout(KEY, x, 0.5), dropout(jax.random.key(7), x, 0.5))
    assert (dropout(KEY, x, 0.5) != dropout(jax.random.key(8), x, 0.5)).any()


def of_linen(layer, x):
    class Net(nn.Module):
        def setup(self):
            self.drop = layer

        def __call__(self, x):
            return self.drop(x)

    return Net().apply({}, x, rngs={"dropout": KEY})


flax_table = pytest.mark.parametrize(
    "rate, broadcast_dims", [(0.1, ()), (0.2, ()), (0.5, ()), (0.75, ()), (0.5, (1,)), (0.5, (0, 2)), (0.5, (-1,))]
)


@flax_table
def test_equals_flax_linen(rate, broadcast_dims):
    x = jax.random.normal(KEY, (8, 9, 10))
    ours = of_linen(jt.nn.linen.Dropout(rate, broadcast_dims, deterministic=False), x)
    assert_same_bits(ours, of_linen(nn.Dropout(rate, broadcast_dims, deterministic=False), x))


@flax_table
def test_equals_flax_nnx(rate, broadcast_dims):
    x = jax.random.normal(KEY, (8, 9, 10))
    ours = jt.nn.nnx.Dropout(rate, broadcast_dims=broadcast_dims, rngs=nnx.Rngs(3))
    theirs = nnx.Dropout(rate, broadcast_dims=broadcast_dims, rngs=nnx.Rngs(3))
    for _ in range(2):  # the second call draws anew
        assert_same_bits(ours(x), theirs(x))


@pytest.mark.parametrize("rate", [0.01, 0.6, 0.8, 0.9])
def test_masks_equal_those_of_flax_at_any_rate(rate):
    x = 1.0 + jax.random.uniform(KEY, (100, 100))
    ours = of_linen(jt.nn.linen.Dropout(rate, deterministic=False), x)
    theirs = of_linen(nn.Dropout(rate, deterministic=False), x)
    np.testing.assert_array_equal(ours == 0, theirs == 0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_traced_rates_are_lanes():
    x, rates = jax.random.normal(KEY, (16, 8)), jnp.array([0.0, 0.2, 0.5, 0.9, 1.0])
    lanes = jax.jit(jax.vmap(lambda rate: dropout(KEY, x, rate)))(rates)
    assert_same_bits(lanes, jnp.stack([jax.jit(dropout)(KEY, x, rate) for rate in rates]))


def drawn(fn, *args):
    return re.findall(r"u32\[([\d,]*)\] = random_bits", str(jax.make_jaxpr(fn)(*args)))


def test_lanes_share_one_draw():
    x, rates = jnp.ones((16, 8)), jnp.linspace(0.0, 1.0, 5)
    assert drawn(jax.vmap(lambda rate: dropout(KEY, x, rate)), rates) == ["16,8"]
    assert drawn(jax.vmap(lambda key: dropout(key, x, 0.5)), jax.random.split(KEY, 5)) == ["5,16,8"]  # the control


@pytest.mark.parametrize("dims", [(0,), (1, 2), (0, 1, 2)])
def test_mask_is_constant_along_broadcast_dims(dims):
    mask = np.asarray(dropout(KEY, jnp.ones((6, 7, 8)), 0.5, broadcast_dims=dims)) > 0
    first = mask[tuple(slice(1) if i in dims else slice(None) for i in range(3))]
    np.testing.assert_array_equal(mask, np.broadcast_to(first, mask.shape))
    assert len(dims) == 3 or 0 < mask.mean() < 1


def test_broadcast_dims_count_from_the_end_too():
    x = jnp.ones((6, 7, 8))
    assert_same_bits(dropout(KEY, x, 0.5, broadcast_dims=(-1,)), dropout(KEY, x, 0.5, broadcast_dims=(2,)))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_type_is_kept(dtype):
    assert dropout(KEY, jnp.ones(5, dtype), jnp.float32(0.3)).dtype == dtype


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_linear_regression_has_an_adaptive_ridge_penalty(rate):
    # Wager, Wang, Liang, "Dropout training as adaptive regularization", NIPS 2013.
    rng = np.random.default_rng(0)
    x, w, y = rng.normal(size=(20, 4)) * [1, 2, 3, 4], rng.normal(size=4), rng.normal(size=20)
    penalty = rate / (1 - rate) * (np.square(x).sum(0) * np.square(w)).sum()
    expected = np.square(y - x @ w).sum() + penalty
    keys = jax.random.split(KEY, 20_000)
    losses = jax.vmap(lambda key: jnp.square(y - dropout(key, jnp.asarray(x), rate) @ w).sum())(keys)
    losses = np.asarray(losses, np.float64)
    error = losses.std() / np.sqrt(len(losses))
    assert abs(losses.mean() - expected) < 4 * error
    assert penalty > 50 * error


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan"), float("inf"), np.float32(2), 2, jnp.float32(-1)])
@pytest.mark.parametrize("call", ["function", "linen", "nnx"])
def test_rate_out_of_range(call, rate):
    with pytest.raises(ValueError, match=r"`rate` is .*" + re.escape(repr(rate))):
        drop(call, rate)


@pytest.mark.parametrize("rate", [True, np.bool_(False), "0.5", None, 0.5j, [0.5]])
@pytest.mark.parametrize("call", ["function", "linen", "nnx"])
def test_rate_of_a_wrong_type(call, rate):
    with pytest.raises(TypeError, match="`rate` is .*a real number is needed"):
        drop(call, rate)


def drop(call, rate):
    x = jnp.ones((2, 2))
    if call == "function":
        return dropout(KEY, x, rate)
    if call == "linen":
        return jt.nn.linen.Dropout(rate).apply({}, x, deterministic=False, rngs={"dropout": KEY})
    return jt.nn.nnx.Dropout(rate, rngs=nnx.Rngs(0))(x)
