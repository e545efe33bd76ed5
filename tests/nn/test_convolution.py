"""Convolution and max-pooling against XLA's own."""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings, strategies as st
from jax import lax

from jaxtune.nn import convolve

DRAWN = settings(max_examples=60, deadline=None, derandomize=True, database=None)
QUICK = {"xla_backend_optimization_level": 0}  # compiling is all the work here


def whole(seed, *shape):
    """Small whole numbers: their products and sums are exact in float32, in whatever order they are added."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(np.float32)


def reference(x, kernel, *, strides=None, padding="SAME", dilation=None, groups=1):
    n = x.ndim - 2
    if not isinstance(padding, str):  # XLA's own padding reads other memory if negative: openxla/xla issue 48713
        x, padding = (
            lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*pair, 0) for pair in padding), (0, 0, 0)]),
            "VALID",
        )
    numbers = ("NWC", "WIO", "NWC") if n == 1 else ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, strides or (1,) * n, padding, None, dilation or (1,) * n, numbers, feature_group_count=groups
    )


def pooled(x, window, *, strides=None, padding="VALID"):
    if not isinstance(padding, str):
        padding = ((0, 0), *padding, (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, *window, 1), (1, *(strides or window), 1), padding)


def value_and_pullback(f, *args):
    y, pullback = jax.vjp(f, *args)
    return y, pullback(jnp.asarray(whole(2, *y.shape)))


@st.composite
def windows(draw):
    """A window on an input that is at least large enough for it."""
    n = draw(st.integers(1, 2))
    window = draw(st.tuples(*[st.integers(1, 4)] * n).filter(lambda w: math.prod(w) <= 9))
    strides, dilation, more = (draw(st.tuples(*[st.integers(*r)] * n)) for r in ((1, 3), (1, 3), (0, 5)))
    pair = st.tuples(st.integers(-2, 3), st.integers(-2, 3))
    padding = draw(st.sampled_from(["SAME", "VALID"]) | st.tuples(*[pair] * n))
    pads = padding if isinstance(padding, tuple) else [(0, 0)] * n
    least = [
        1 if padding == "SAME" else max(d * (w - 1) + 1 - low - high, 1 - min(low, 0) - min(high, 0))
        for w, d, (low, high) in zip(window, dilation, pads, strict=True)
    ]
    size = tuple(a + b for a, b in zip(least, more, strict=True))
    return size, window, dict(strides=strides, dilation=dilation, padding=padding)


@given(
    windows(), st.integers(1, 3), st.sampled_from([(1, 1), (1, 3), (2, 2), (2, 3), (2, 1), (3, 1)]), st.integers(1, 2)
)
@DRAWN
def test_values_and_gradients_are_those_of_lax(drawn, batch, channels, features):
    size, window, options = drawn
    groups, per_group = channels
    x, kernel = whole(0, batch, *size, groups * per_group), whole(1, *window, per_group, groups * features)
    both = jax.jit(
        lambda *args: [
            value_and_pullback(ft.partial(f, groups=groups, **options), *args) for f in (convolve, reference)
        ],
        compiler_options=QUICK,
    )
    jax.tree.map(np.testing.assert_array_equal, *both(x, kernel))
