"""Convolution and max-pooling against XLA's own."""

import functools as ft
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings, strategies as st
from jax import lax

from jaxtune.nn import convolve, max_pool

SETTINGS = dict(deadline=None, derandomize=True, database=None, phases=(Phase.generate, Phase.shrink))
QUICK = {"xla_backend_optimization_level": 0}  # compiling is all the work here
CASES = [  # inputs, kernel, options
    ((2, 9, 3), (3, 3, 4), dict(strides=(2,))),
    ((2, 5, 6, 4), (3, 2, 2, 6), dict(padding="VALID", groups=2)),
    ((2, 5, 6, 4), (2, 3, 1, 8), dict(padding=((1, 0), (2, -1)), dilation=(1, 2), groups=4)),
]


def whole(seed, *shape):
    """Small whole numbers: their products and sums are exact in float32, in whatever order they are added."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(np.float32)


def padded(x, padding, fill):
    return lax.pad(x, jnp.array(fill, x.dtype), [(0, 0, 0), *((*pair, 0) for pair in padding), (0, 0, 0)])


def lax_convolve(x, kernel, *, strides=None, padding="SAME", dilation=None, groups=1):
    n = x.ndim - 2
    if not isinstance(padding, str):  # XLA's own, where negative, reads past the inputs: openxla/xla issue 48713
        x, padding = padded(x, padding, 0), "VALID"
    numbers = ("NWC", "WIO", "NWC") if n == 1 else ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, strides or (1,) * n, padding, None, dilation or (1,) * n, numbers, feature_group_count=groups
    )


def lax_max_pool(x, window, *, strides, padding):
    if not isinstance(padding, str):
        x, padding = padded(x, padding, -jnp.inf), "VALID"
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, *window, 1), (1, *strides, 1), padding)


def assert_same_values_and_gradients(ours, theirs, *args):
    def both(*args):
        for f in (ours, theirs):
            y, pullback = jax.vjp(f, *args)
            yield y, pullback(jnp.asarray(whole(2, *y.shape)))

    jax.tree.map(np.testing.assert_array_equal, *jax.jit(lambda *a: tuple(both(*a)), compiler_options=QUICK)(*args))


@st.composite
def windows(draw):
    """A window, and inputs at least as large; nine positions at most, for each is an operation to compile."""
    n = draw(st.integers(1, 2))
    window = draw(st.tuples(*[st.integers(1, 4)] * n).filter(lambda w: math.prod(w) <= 9))
    strides, dilation, more = (draw(st.tuples(*[st.integers(*r)] * n)) for r in ((1, 3), (1, 3), (0, 5)))
    pair = st.tuples(st.integers(-2, 3), st.integers(-2, 3))
    padding = draw(st.sampled_from(["SAME", "VALID"]) | st.tuples(*[pair] * n))
    least = [
        1 if padding == "SAME" else max(d * (w - 1) + 1 - low - high, 1 - min(low, 0) - min(high, 0))
        for w, d, (low, high) in zip(
            window, dilation, [(0, 0)] * n if isinstance(padding, str) else padding, strict=True
        )
    ]
    return (*map(sum, zip(least, more, strict=True)),), window, dilation, dict(strides=strides, padding=padding)


@pytest.mark.slow
@settings(max_examples=50, **SETTINGS)
@given(
    windows(),
    st.integers(1, 3),
    st.sampled_from([(1, 1), (1, 3), (2, 2), (2, 3), (2, 1), (3, 1)]),
    st.integers(1, 2),
)
def test_convolution_and_its_gradients_are_those_of_lax(drawn, batch, channels, multiplier):
    (size, window, dilation, options), (groups, per_group) = drawn, channels
    options = options | dict(dilation=dilation, groups=groups)
    x, kernel = whole(0, batch, *size, groups * per_group), whole(1, *window, per_group, groups * multiplier)
    assert_same_values_and_gradients(ft.partial(convolve, **options), ft.partial(lax_convolve, **options), x, kernel)


@pytest.mark.slow
@settings(max_examples=16, **SETTINGS)
@given(windows(), st.integers(1, 3), st.integers(1, 3))
def test_max_pooling_and_its_gradients_are_those_of_lax(drawn, batch, channels):
    size, window, _, options = drawn
    shape = (batch, *size, channels)
    x = np.random.default_rng(0).permutation(math.prod(shape)).reshape(shape).astype(np.float32)  # no two are equal
    assert_same_values_and_gradients(
        lambda x: max_pool(x, window, **options), lambda x: lax_max_pool(x, window, **options), x
    )


@pytest.mark.parametrize("x, kernel, options", CASES)
def test_convolution_agrees_within_rounding(x, kernel, options):
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=shape).astype(np.float32) for shape in (x, kernel))
    # The error of a sum of n products, in any order, is at most n eps times the sum of their magnitudes.
    n = math.prod(kernel.shape[:-1])
    bound = 2 * n * np.finfo(np.float32).eps * lax_convolve(abs(x), abs(kernel), **options)
    error = abs(convolve(x, kernel, **options) - lax_convolve(x, kernel, **options))
    np.testing.assert_array_less(error, bound + np.finfo(np.float32).tiny)


@pytest.mark.parametrize("x, kernel, options", CASES)
def test_forward_mode_of_convolution(x, kernel, options):
    (x, dx), (kernel, dk) = (
        [whole(seed, *shape) for seed in seeds] for shape, seeds in ((x, (0, 1)), (kernel, (2, 3)))
    )
    y, dy = jax.jvp(ft.partial(convolve, **options), (x, kernel), (dx, dk))
    np.testing.assert_array_equal(y, lax_convolve(x, kernel, **options))
    np.testing.assert_array_equal(dy, lax_convolve(dx, kernel, **options) + lax_convolve(x, dk, **options))


def test_forward_mode_of_max_pooling():
    x, dx = np.array([3.0, 1.0, 2.0, 5.0, 4.0], np.float32), np.array([10.0, 20.0, 30.0, 40.0, 50.0], np.float32)
    y, dy = jax.jvp(lambda x: max_pool(x[None, :, None], (3,), strides=(1,))[0, :, 0], (x,), (dx,))
    np.testing.assert_array_equal(y, [3.0, 5.0, 5.0])
    np.testing.assert_array_equal(dy, [10.0, 40.0, 40.0])


def test_second_derivatives_of_convolution():
    x, kernel, direction = whole(0, 2, 5, 2), whole(1, 3, 2, 2), whole(2, 3, 2, 2)

    def along(f):
        return jax.jit(lambda k, d: jax.jvp(jax.grad(lambda k: jnp.square(f(x, k)).sum()), (k,), (d,)))(
            kernel, direction
        )

    jax.tree.map(np.testing.assert_array_equal, along(convolve), along(lax_convolve))


@pytest.mark.parametrize("order", [jax.jacfwd, jax.jacrev])
@pytest.mark.parametrize("x", [[1.0, 3.0, 2.0], [2.0, 2.0, 0.0], [2.0, 2.0, 2.0]], ids=["one", "two", "three"])
def test_second_derivatives_of_max_pooling(x, order):
    x = np.array(x, np.float32)
    share = (x == x.max()) / (x == x.max()).sum()
    hessian = jax.jit(order(jax.grad(lambda x: jnp.square(max_pool(x[None, :, None], (3,))).sum() / 2)))(x)
    np.testing.assert_allclose(hessian, np.outer(share, share), rtol=1e-6)


@pytest.mark.parametrize(
    "x, window, strides, expected",
    [
        ([1, 3, 3, 0, 2, 2, 2, 2], 4, 4, [0, 1 / 2, 1 / 2, 0, 1 / 4, 1 / 4, 1 / 4, 1 / 4]),
        ([5, 5, 5], 2, 1, [1 / 2, 1, 1 / 2]),
        ([7, 7, 7, 1, 1], 3, 1, [1 / 3, 1 / 3 + 1 / 2, 1 / 3 + 1 / 2 + 1, 0, 0]),
    ],
)
def test_ties_share_the_gradient_in_equal_parts(x, window, strides, expected):
    x = jnp.array(x, jnp.float32)
    y, pullback = jax.vjp(lambda x: max_pool(x[None, :, None], (window,), strides=(strides,)), x)
    (gradient,) = pullback(jnp.ones_like(y))
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient.sum(), y.size, rtol=1e-6)


@pytest.mark.parametrize("transform", [lambda f: f, jax.checkpoint, jax.jit], ids=["plain", "checkpoint", "jit"])
def test_gradients_of_max_pooling_inside_a_branch(transform):
    pool = transform(lambda x: max_pool(x, (2,)))
    gradient = jax.grad(lambda x: lax.cond(x.sum() > 0, pool, lambda x: 2 * pool(x), x).sum())
    np.testing.assert_array_equal(gradient(jnp.array([1.0, 3.0, 5.0, 2.0])[None, :, None])[0, :, 0], [0, 1, 1, 0])


def test_not_a_number_spreads_over_the_windows_it_is_in():
    x = jnp.array([1.0, jnp.nan, 2.0, 3.0, jnp.inf, -jnp.inf])[None, :, None]
    np.testing.assert_array_equal(max_pool(x, (2,))[0, :, 0], [np.nan, 3.0, np.inf])
    y = convolve(x[:, :4], jnp.ones((2, 1, 1)), padding="VALID")
    np.testing.assert_array_equal(y[0, :, 0], [np.nan, np.nan, 5.0])


@pytest.mark.parametrize("x, kernel, options", CASES)
def test_a_kernel_per_lane(x, kernel, options):
    x, kernels = whole(0, *x), whole(1, 3, *kernel)
    lanes = jax.jit(jax.vmap(lambda k: convolve(x, k, **options)))(kernels)
    np.testing.assert_array_equal(lanes, [lax_convolve(x, k, **options) for k in kernels])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("x, kernel, options", CASES)
def test_type_is_kept(x, kernel, options, dtype):
    with jax.enable_x64(dtype == jnp.float64):
        x, kernel = jnp.array(whole(0, *x) / 7, dtype), jnp.array(whole(1, *kernel) / 7, dtype)
        y = jax.jit(ft.partial(convolve, **options))(x, kernel)
        assert y.dtype == dtype
        if dtype == jnp.float64:
            exact = lax_convolve(x, kernel, **options)
            np.testing.assert_allclose(y, exact, rtol=0, atol=1e-14 * abs(exact).max())


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_max_pooling_keeps_the_type(dtype):
    with jax.enable_x64(dtype == jnp.float64):
        top = max_pool(jnp.array([1 / 3, -3.0, 1 / 7], dtype)[None, :, None], (2,), padding="SAME")
        np.testing.assert_array_equal(top[0, :, 0], jnp.array([1 / 3, 1 / 7], dtype), strict=True)


X = np.ones((1, 4, 5, 2), np.float32)


@pytest.mark.parametrize(
    "window, options",
    [
        ((5, 1), dict(padding="VALID")),
        ((1, 6), dict(padding=((0, 0), (0, 0)))),
        ((3, 1), dict(padding=((-1, -1), (0, 0)))),
        ((1, 1), dict(padding=((-2, -2), (0, 0)))),
        ((1, 3), dict(padding="VALID", dilation=(1, 3))),
        ((5, 1), dict(padding="VALID", strides=(3, 1))),
    ],
)
def test_a_window_has_to_fit(window, options):
    with pytest.raises(ValueError, match=r"`window` is \(\d, \d\): it is larger than the padded input"):
        convolve(X, np.ones((*window, 2, 3), np.float32), **options)
    if "dilation" not in options:
        with pytest.raises(ValueError, match=r"`window` is \(\d, \d\): it is larger than the padded input"):
            max_pool(X, window, **options)


@pytest.mark.parametrize("pool", [False, True], ids=["convolve", "max_pool"])
def test_no_more_may_be_cropped_than_there_is(pool):
    padding = ((-3, -3), (0, 0))
    with pytest.raises(ValueError, match="padding"):
        max_pool(X, (1, 2), padding=padding) if pool else convolve(
            X, np.ones((1, 1, 2, 3), np.float32), padding=padding
        )


@pytest.mark.parametrize(
    "shape, groups",
    [((3, 3, 3, 4), 1), ((3, 2, 4), 1), ((3, 3, 2, 4), 2), ((3, 3, 1, 3), 2), ((3, 3, 3, 2, 4), 1)],
    ids=["channels", "too_few", "channels_per_group", "features", "too_many"],
)
def test_a_kernel_has_to_fit_its_inputs(shape, groups):
    with pytest.raises(ValueError, match=r"`kernel` is 'shape \(.*it does not fit inputs of shape \(1, 4, 5, 2\)"):
        convolve(X, np.ones(shape, np.float32), groups=groups)
