"""Assertions that more than one test file needs."""

import jax
import numpy as np


def assert_same_bits(a, b):
    """Asserts that two pytrees have one structure and leaves equal to the bit; NaN equals NaN."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert x.dtype == y.dtype and x.shape == y.shape, jax.tree_util.keystr(path)
        assert x.tobytes() == y.tobytes(), f"{jax.tree_util.keystr(path)} differs by up to {np.abs(x - y).max()}"
