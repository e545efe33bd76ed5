"""Helpers on pytrees."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asserts import assert_same_bits

from jaxtune._tree import all_finite, path_name, select, size_bytes, structure_name


class Pair(NamedTuple):
    first: object
    second: object


TREE = {"Dense_0": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}, "list": [jnp.array(1), Pair(jnp.ones(4), None)]}
NAMES = ["Dense_0/bias", "Dense_0/kernel", "list/0", "list/1/first"]


def test_path_names():
    assert [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(TREE)] == NAMES
    assert structure_name(TREE) == ", ".join(NAMES)
    assert path_name(()) == "" and structure_name({}) == ""


@pytest.mark.parametrize("condition", [True, False])
def test_select_keeps_what_is_not_chosen_out(condition):
    good = {"a": jnp.arange(3.0), "b": [jnp.array(7), None]}
    bad = {"a": jnp.array([jnp.nan, jnp.inf, 0.0]), "b": [jnp.array(-1), None]}
    new, old = (good, bad) if condition else (bad, good)
    assert_same_bits(jax.jit(select)(jnp.array(condition), new, old), good)


def test_select_by_lane():
    lanes = jax.vmap(select)(jnp.array([True, False]), {"a": jnp.ones((2, 3))}, {"a": jnp.zeros((2, 3))})
    np.testing.assert_array_equal(lanes["a"], [[1, 1, 1], [0, 0, 0]])


@pytest.mark.parametrize(
    "tree, expected",
    [
        (TREE, True),
        ({}, True),
        ({"a": jnp.array(2**31 - 1)}, True),
        ({"a": jnp.array(True), "b": jax.random.key(0)}, True),
        ({"a": jnp.ones(3), "b": jnp.array([[1.0, jnp.nan]])}, False),
        ({"a": jnp.array(-jnp.inf), "b": jnp.ones(2)}, False),
        ({"a": jnp.array([1.0, jnp.inf], jnp.bfloat16)}, False),
        ({"a": np.array([1.0, np.nan])}, False),
    ],
)
def test_all_finite(tree, expected):
    assert all_finite(tree).dtype == bool and bool(all_finite(tree)) is expected


@pytest.mark.parametrize(
    "tree, expected",
    [
        ({}, 0),
        ({"a": np.zeros((3, 5), np.float64), "b": [np.zeros(7, np.int8)]}, 127),
        ({"a": jax.ShapeDtypeStruct((1000, 1000, 1000), jnp.bfloat16)}, 2 * 10**9),
        (jnp.float32(1), 4),
    ],
)
def test_size_bytes(tree, expected):
    assert size_bytes(tree) == expected
