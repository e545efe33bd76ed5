"""Models in patches against the same models as they are."""

import collections
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr

import jaxtune as jt
from jaxtune.models import as_model
from jaxtune.models._patches import replaceable, with_patches

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(2, 6, 5, 4)).astype(np.float32)
QUICK = {"xla_backend_optimization_level": 0}  # compiling is all the work here
KERNEL = np.random.default_rng(1).normal(size=(2, 3, 4, 4)).astype(np.float32) / 5


def primitives(jaxpr):
    """Yields the name of every operation in a program, and in the programs inside it."""
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        for inner in jax.tree.leaves(list(eqn.params.values())):
            if isinstance(inner, (ClosedJaxpr, Jaxpr)):
                yield from primitives(inner)


def counts(model, variables, x, train):
    """Returns how many convolutions and max-poolings the traced model has, and its program."""
    closed = jax.make_jaxpr(lambda params, state: model.apply(params, state, x, key=KEY, train=train))(*variables)
    found = collections.Counter(primitives(closed.jaxpr))
    return (found["conv_general_dilated"], found["reduce_window_max"]), closed.jaxpr


def initial(model, x, lanes=()):
    """Returns parameters and a state such as `model.init` makes, without compiling it."""
    rng = np.random.default_rng(1)

    def drawn(leaf):
        shape = (*lanes, *leaf.shape)
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            return rng.integers(-9, 10, shape, leaf.dtype)
        return (rng.normal(size=shape) / math.sqrt(math.prod(leaf.shape[:-1]))).astype(leaf.dtype)

    params, state = jax.eval_shape(model.init, KEY, x)
    return jax.tree.map(drawn, params), jax.tree.map(lambda leaf: 0.5 + abs(drawn(leaf)), state)


def assert_close(ours, theirs):
    """Asserts equality within the rounding of sums of some hundred terms, as large as the largest entries."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        eps = float(jnp.finfo(a.dtype).eps) if jnp.issubdtype(a.dtype, jnp.inexact) else 0
        np.testing.assert_allclose(a, b, rtol=0, atol=64 * eps * np.abs(b).max(initial=0))


def agree(given, x=X, *, plain, patched, train=True, gradients=True):
    """Asserts the numbers of (convolutions, max-poolings), and equal outputs, states and gradients."""
    model = as_model(given)
    other, variables = with_patches(model), initial(model, x)
    before, jaxpr = counts(model, variables, x, train)
    after, _ = counts(other, variables, x, train)
    assert before == plain and after == patched
    assert replaceable(jaxpr) or plain == patched

    def weighted(outputs):
        return sum((jnp.real(y) * jnp.cos(jnp.arange(y.size)).reshape(y.shape)).sum() for y in jax.tree.leaves(outputs))

    def run(model, params, state, x):
        outputs, after = model.apply(params, state, x, key=KEY, train=train)
        return weighted(outputs), (outputs, after)

    def everything(model, *args):
        return jax.grad(run, (1, 3), has_aux=True)(model, *args) if gradients else run(model, *args)[1]

    both = jax.jit(lambda *args: (everything(other, *args), everything(model, *args)), compiler_options=QUICK)
    ours, theirs = both(*variables, x)
    assert_close(ours, theirs)
    return variables, ours


def raw(apply, kernel=KERNEL):
    return jt.Model(lambda key, x: ({"k": kernel}, {}), lambda p, s, x, *, key, train: (apply(p["k"], x, key), s))


def conv(kernel, x, strides=(1, 1), padding="SAME", numbers=("NHWC", "HWIO", "NHWC"), **options):
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=numbers, **options)


def pool(x):
    return nn.max_pool(x, (1, 2), (1, 1), "SAME")


LINEN = {
    "plain": dict(),
    "strides": dict(strides=2),
    "dilation": dict(kernel_dilation=(1, 2)),
    "groups": dict(feature_group_count=2),
    "depthwise": dict(feature_group_count=4),
    "valid": dict(padding="VALID", strides=(1, 2)),
    "explicit": dict(padding=((1, 0), (0, 2)), strides=2),
    "circular": dict(padding="CIRCULAR"),
    "reflect": dict(padding="REFLECT"),
}


@pytest.mark.parametrize("fields", LINEN.values(), ids=LINEN.keys())
def test_linen_convolution(fields):
    agree(nn.Conv(4, (3, 2), **fields), plain=(1, 0), patched=(0, 0))


@pytest.mark.parametrize("padding", ["SAME", "CAUSAL"])
def test_linen_convolution_in_one_dimension(padding):
    agree(nn.Conv(3, (3,), padding=padding, kernel_dilation=2), X[:, 0], plain=(1, 0), patched=(0, 0))


@pytest.mark.parametrize("x", [X[0], X[None]], ids=["none", "two"])
def test_batch_dimensions(x):
    net = nn.Sequential([nn.Conv(3, (2, 2)), lambda x: nn.max_pool(x, (1, 2))])
    agree(net, x, plain=(1, 1), patched=(0, 0))


@pytest.mark.parametrize(
    "options",
    [
        dict(window_shape=(2, 2), strides=(2, 2)),
        dict(window_shape=(2, 3), strides=(1, 2), padding="SAME"),
        dict(window_shape=(2, 2), padding=((1, 0), (0, 1))),
        dict(window_shape=(1, 2), strides=(3, 3)),
    ],
    ids=["plain", "overlapping", "explicit", "apart"],
)
def test_max_pooling(options):
    net = nn.Sequential([nn.Dense(3), nn.relu, lambda x: nn.max_pool(x, **options)])
    agree(net, plain=(0, 1), patched=(0, 0))


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Conv(4, (2, 3), use_bias=False)(x)))
        x = nn.Dropout(0.5, deterministic=not train)(nn.max_pool(x, (2, 2), (2, 2)))
        return nn.Dense(3)(x.reshape(len(x), -1))


class NNXNet(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(4, 4, (3, 2), strides=2, feature_group_count=2, use_bias=False, rngs=rngs)
        self.norm, self.drop = nnx.BatchNorm(4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
        self.up = nnx.ConvTranspose(4, 3, (2, 2), strides=(2, 2), rngs=rngs)

    def __call__(self, x):
        return self.up(nnx.max_pool(self.drop(self.norm(self.conv(x))), (2, 2)))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    "net, plain, patched", [(Net(), (1, 1), (0, 0)), (lambda rngs: NNXNet(rngs), (2, 1), (1, 0))], ids=["linen", "nnx"]
)
def test_a_network_with_state(net, plain, patched, train):
    (_, before), (_, (_, after)) = agree(net, train=train, plain=plain, patched=patched)
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True)) == train


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return pool(nn.Conv(4, (2, 2))(x)), None


class Scanned(nn.Module):
    block: type[nn.Module] = Block

    @nn.compact
    def __call__(self, x):
        scan = nn.scan(self.block, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        return scan()(x, None)[0]


class Remat(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.remat(Block)()(x, None)[0]


@pytest.mark.parametrize("net", [Scanned(), Remat(), Scanned(nn.remat(Block))], ids=["scan", "remat", "both"])
def test_lifted_linen_layers(net):
    agree(net, plain=(1, 1), patched=(0, 0))


class NNXScanned(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.split_rngs(splits=3)(nnx.vmap(lambda rngs: nnx.Conv(4, 4, (2, 2), rngs=rngs)))(rngs)

    def __call__(self, x):
        body = nnx.remat(lambda layer, x: layer(x))
        return nnx.scan(body, in_axes=(0, nnx.Carry), out_axes=nnx.Carry)(self.layers, x)


def test_lifted_nnx_layers():
    agree(lambda rngs: NNXScanned(rngs), plain=(1, 0), patched=(0, 0))


def scanned(k, x, key):
    def step(carry, i):
        x, key, scale = carry
        key, noise = jax.random.split(key)
        return (scale * conv(k, x) + jax.random.normal(noise, x.shape), key, scale * 0.5), (x.sum(), i)

    return lax.scan(step, (x, key, 1.0), jnp.arange(3))[0][0]


FLOW = {
    "jit": (lambda k, x, key: jax.jit(conv)(k, pool(x)), (1, 1)),
    "cond": (lambda k, x, key: lax.cond(x.sum() < 1e6, lambda: conv(k, x), lambda: pool(x)), (1, 1)),
    "switch": (lambda k, x, key: lax.switch(jnp.int32(x[0, 0, 0, 0] > -9), [lambda: x, lambda: conv(k, x)]), (1, 0)),
    "scan": (scanned, (1, 0)),
    "fori": (lambda k, x, key: lax.fori_loop(0, 3, lambda i, x: pool(conv(k, x)) * i, x), (1, 1)),
    "map": (lambda k, x, key: lax.map(lambda x: conv(k, x[None])[0], x), (1, 0)),
    "vmap": (lambda k, x, key: jax.vmap(conv, (0, None))(jnp.stack([k, 2 * k]), x), (1, 0)),
    "unused": (lambda k, x, key: lax.top_k(conv(k, x), 2)[0], (1, 0)),
    "jvp": (lambda k, x, key: jax.jvp(lambda x: conv(k, x), (x,), (x,)), (2, 0)),
    "tree": (lambda k, x, key: {"y": [conv(k, x), None], "x": x}, (1, 0)),
}


@pytest.mark.parametrize("apply, plain", FLOW.values(), ids=FLOW.keys())
def test_control_flow(apply, plain):
    agree(raw(apply), plain=plain, patched=(0, 0))


def test_while_loops_forward():
    def apply(k, x, key):
        return lax.while_loop(
            lambda c: (c[0] < 3) & (pool(c[1]).sum() < 1e6), lambda c: (c[0] + 1, conv(k, c[1])), (0, x)
        )

    model = raw(apply)
    agree(model, plain=(1, 1), patched=(0, 0), gradients=False)

    def along(model):
        def run(k):
            return model.apply({"k": k}, {}, X, key=KEY, train=True)[0][1]

        return jax.jvp(run, (KERNEL,), (KERNEL,))

    (_, theirs), (_, ours) = jax.jit(lambda: (along(model), along(with_patches(model))))()
    assert np.abs(theirs).max() > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


DIMENSIONS = {
    "nchw": lambda k, x, key: conv(k.transpose(3, 2, 0, 1), x.transpose(0, 3, 1, 2), numbers=("NCHW", "OIHW", "NCHW")),
    "default": lambda k, x, key: lax.conv(x.transpose(0, 3, 1, 2), k.transpose(3, 2, 0, 1), (2, 1), "SAME"),
    "mixed": lambda k, x, key: conv(
        k.transpose(2, 0, 3, 1),
        x.transpose(2, 3, 1, 0),
        (1, 2),
        ((1, 0), (2, 3)),
        ("WCHN", "IHOW", "WNHC"),
        rhs_dilation=(2, 1),
    ),
}


@pytest.mark.parametrize("apply", DIMENSIONS.values(), ids=DIMENSIONS.keys())
def test_dimensions_in_any_order(apply):
    agree(raw(apply), plain=(1, 0), patched=(0, 0))


@jax.custom_vjp
def own_pullback(kernel, x):
    return conv(kernel, x)


own_pullback.defvjp(lambda k, x: (conv(k, x), (k, x)), lambda saved, g: (saved[0] * g.sum(), saved[1] + g))


@jax.custom_jvp
def own_pushforward(kernel, x):
    return conv(kernel, x)


own_pushforward.defjvp(lambda xs, ts: (conv(*xs), 7 * conv(ts[0], xs[1])))

ALONE = {
    "custom_vjp": (raw(lambda k, x, key: own_pullback(k, x)), X, (1, 0)),
    "custom_jvp": (raw(lambda k, x, key: own_pushforward(k, x)), X, (1, 0)),
    "transpose": (nn.ConvTranspose(3, (3, 2), strides=(2, 2)), X, (1, 0)),
    "avg_pool": (nn.Sequential([nn.Dense(3), lambda x: nn.avg_pool(x, (2, 2), (2, 2))]), X, (0, 0)),
    "complex": (raw(lambda k, x, key: conv(k + 1j, x + 2j)), X, (1, 0)),
    "large": (nn.Conv(2, (13, 5)), X, (1, 0)),
    "large_pool": (raw(lambda k, x, key: nn.max_pool(x * k[:1, :1, :1], (13, 5), padding="SAME")), X, (0, 1)),
    "empty": (nn.Conv(2, (3, 3), padding="VALID"), X[:, :2], (1, 0)),
    "empty_pool": (raw(lambda k, x, key: nn.max_pool(x * k[:1, :1, :1], (3, 2))), X[:, :2], (0, 1)),
    "precision": (raw(lambda k, x, key: conv(k, x, precision="highest")), X, (1, 0)),
    "batch_groups": (raw(lambda k, x, key: conv(k, x, batch_group_count=2)), X, (1, 0)),
    "preferred_type": (
        raw(lambda k, x, key: conv(*(a.astype(jnp.bfloat16) for a in (k, x)), preferred_element_type=jnp.float32)),
        X,
        (1, 0),
    ),
}


@pytest.mark.parametrize("net, x, found", ALONE.values(), ids=ALONE.keys())
def test_left_alone(net, x, found):
    agree(net, x, plain=found, patched=found)


@pytest.mark.parametrize(
    "options",
    [
        dict(window_dimensions=(1, 1, 2, 2)),
        dict(window_dimensions=(2, 2, 1, 1)),
        dict(window_strides=(1, 1, 1, 2)),
        dict(window_strides=(2, 1, 1, 1)),
        dict(padding=((0, 0), (1, 0), (0, 0), (1, 0))),
        dict(window_dilation=(1, 2, 1, 1)),
        dict(base_dilation=(1, 2, 1, 1)),
    ],
    ids=lambda options: "-".join(options),
)
def test_max_pooling_of_other_kinds_is_left_alone(options):
    options = dict(window_dimensions=(1, 2, 2, 1), window_strides=(1, 1, 1, 1), padding="VALID") | options
    net = raw(lambda k, x, key: jnp.maximum(lax.reduce_window(x, -jnp.inf, lax.max, **options), -9.0))
    agree(net, plain=(0, 1), patched=(0, 1), gradients=False)


def test_integers_are_left_alone():
    net = raw(lambda k, x, key: pool(conv(k, x)), KERNEL.astype(np.int32))
    agree(net, (X * 9).astype(np.int32), plain=(1, 1), patched=(1, 1), gradients=False)


def test_what_has_rules_of_its_own_keeps_them_among_what_is_replaced():
    def apply(k, x, key):
        return lax.scan(lambda x, _: (own_pullback(k, nn.relu(conv(k, x))), None), x, length=2)[0]

    agree(raw(apply), plain=(2, 0), patched=(1, 0))


def test_up_to_64_positions_are_replaced():
    net = nn.Sequential([nn.Conv(2, (8, 8)), lambda x: nn.max_pool(x, (8, 8), padding="SAME")])
    agree(net, X[:1, :3, :3], plain=(1, 1), patched=(0, 0), gradients=False)


def test_types_are_kept():
    net = nn.Sequential(
        [nn.Conv(3, (2, 2), param_dtype=jnp.bfloat16, dtype=jnp.bfloat16), lambda x: nn.max_pool(x, (2, 2))]
    )
    agree(net, X.astype(jnp.bfloat16), plain=(1, 1), patched=(0, 0))


def test_parameters_are_the_same():
    model = as_model(Net())
    assert with_patches(model).init is model.init


def test_lanes_of_parameters_and_keys():
    model = with_patches(as_model(Net()))
    variables, keys = initial(model, X, lanes=(3,)), jax.random.split(KEY, 3)

    def run(model):
        return jax.vmap(lambda v, key: model.apply(*v, X, key=key, train=True))(variables, keys)

    ours, theirs = jax.jit(lambda: (run(model), run(as_model(Net()))), compiler_options=QUICK)()
    assert (ours[0][0] != ours[0][1]).any()
    assert_close(ours, theirs)


@pytest.mark.parametrize(
    "apply, expected",
    [
        (lambda k, x, key: conv(k, x), True),
        (lambda k, x, key: pool(x), True),
        (lambda k, x, key: lax.scan(lambda x, _: (jax.checkpoint(conv)(k, x), None), x, length=2), True),
        (lambda k, x, key: own_pullback(k, x), False),
        (lambda k, x, key: nn.avg_pool(nn.relu(x), (2, 2)), False),
    ],
    ids=["conv", "pool", "inside", "custom", "neither"],
)
def test_replaceable(apply, expected):
    assert replaceable(jax.make_jaxpr(lambda k, x: apply(k, x, KEY))(KERNEL, X).jaxpr) == expected
