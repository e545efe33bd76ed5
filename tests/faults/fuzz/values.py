"""Arbitrary values, and what may come of them."""

import jax
import numpy as np
from faults.inputs import flaw
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import jaxtune as jt


def works_or_is_refused(action):
    """Returns what an action returns, None where the input was refused in the form."""
    try:
        return action()
    except Exception as error:
        wrong = flaw(error)
        if wrong is not None:
            raise AssertionError(wrong) from error
    return None


def mostly(good, bad):
    """Returns the strategy that draws what is bad once in a while."""
    return st.integers(0, 5).flatmap(lambda i: bad if i == 5 else good)


whole_numbers = st.one_of(st.integers(-3, 50), st.integers(), st.sampled_from([2**31, 2**63, -(2**63), 10**400]))
numbers = st.one_of(
    whole_numbers,
    st.floats(),
    st.floats(0, 1),
    st.sampled_from([np.float32(0.5), np.int64(3), np.float64("nan"), np.bool_(True), np.float16(1), np.complex64(1j)]),
)
few = st.integers(1, 9)
words = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["seed", "arm", "valid_loss", "_x", "lr", "relu", "\x00", "a" * 300, "`", "é. é", "sobol"]),
)
arrays = npst.arrays(
    npst.scalar_dtypes() | npst.array_dtypes(max_size=2) | st.just(np.dtype(np.float32)),
    npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
jax_arrays = st.sampled_from([0.5, [1.0, 2.0], [True], 3]).map(jax.numpy.asarray) | st.builds(
    jax.random.key, st.just(0)
)
odd = st.sampled_from(
    [None, ..., NotImplemented, len, int, np.nan, jt, 1j, b"ab", bytearray(b"a"), range(3), range(0), {1, 2}]
)
scalars = st.one_of(numbers, words, st.booleans(), st.none(), arrays, odd, jax_arrays)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(words | st.integers(0, 3) | st.none(), inner, max_size=3),
        st.builds(jt.static, inner),
        st.builds(jt.traced, inner),
    ),
    max_leaves=6,
)
