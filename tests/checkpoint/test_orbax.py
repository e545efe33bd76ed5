"""Trees of arrays on disk."""

import collections
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asserts import assert_same_bits

from jaxtune.checkpoint import _orbax

Pair = collections.namedtuple("Pair", ["mean", "count"])
LEAVES = {
    "float32": np.array([[1.5, -0.0], [np.nan, np.inf]], np.float32),
    "bfloat16": jnp.array([1.5, -2.0], jnp.bfloat16),
    "int32": jnp.array([-3, 2**31 - 1]),
    "uint8": np.array([0, 255], np.uint8),
    "bool": np.array([True, False]),
    "scalar": jnp.float32(0.1),
    "flag": np.array(True),
    "empty": np.zeros((0, 3), np.float32),
    "zeros": np.zeros((500, 3), np.float32),
    "negative zeros": np.full(1000, -0.0, np.float32),
}
TREES = {
    "dict": {"Dense_0": {"kernel": LEAVES["float32"], "bias": LEAVES["scalar"]}, "empty": LEAVES["empty"]},
    "tuple": (LEAVES["int32"], (LEAVES["bool"], [LEAVES["flag"]])),
    "namedtuple": {"norm": Pair(LEAVES["float32"], Pair(LEAVES["int32"], LEAVES["empty"]))},
    "types": LEAVES,
    "many": {f"layer{i}": np.full(i, i, np.float32) for i in range(12)},
    "all empty": {"a": LEAVES["empty"], "b": np.zeros(0, np.int32)},
    "without leaves": {"a": {}, "b": ()},
    "leaf": LEAVES["float32"],
    "mostly zeros": {"a": np.zeros(10**6, np.float32), "b": LEAVES["flag"]},
    "names": {"a/b": LEAVES["int32"], "a.b": LEAVES["bool"], "..": {"0": LEAVES["flag"]}},
}


def _through(tree, tmp_path, like):
    """Returns what a tree comes back as, its description having passed through JSON."""
    described = json.loads(json.dumps(_orbax.save(tmp_path / "0", tree)))
    return _orbax.load(tmp_path / "0", described, like)


@pytest.mark.parametrize("name", list(TREES))
def test_trees_come_back_in_their_structure(tmp_path, name):
    back = _through(TREES[name], tmp_path, like=TREES[name])
    assert_same_bits(back, TREES[name])
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(back))


def test_the_structure_may_come_from_shapes_alone(tmp_path):
    like = jax.eval_shape(lambda: TREES["namedtuple"])
    assert_same_bits(_through(TREES["namedtuple"], tmp_path, like), TREES["namedtuple"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dict", TREES["dict"]),
        ("tuple", {0: LEAVES["int32"], 1: {0: LEAVES["bool"], 1: {0: LEAVES["flag"]}}}),
        (
            "namedtuple",
            {"norm": {"mean": LEAVES["float32"], "count": {"mean": LEAVES["int32"], "count": LEAVES["empty"]}}},
        ),
        ("types", LEAVES),
        ("names", TREES["names"]),
        ("all empty", TREES["all empty"]),
        ("without leaves", {}),
        ("leaf", LEAVES["float32"]),
    ],
)
def test_without_a_structure_containers_are_dicts(tmp_path, name, expected):
    assert_same_bits(_through(TREES[name], tmp_path, like=None), expected)


@pytest.mark.parametrize("size", [1, 24, 128, 129])
def test_many_small_leaves_come_back_though_storage_compresses_them(tmp_path, size):
    tree = {f"layer{i}": np.full(size, 1.5) for i in range(500)}
    assert_same_bits(_through(tree, tmp_path, like=tree), tree)


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_leaves_of_64_bits_keep_them(tmp_path, dtype):
    tree = {"a": np.array([2**40 + 1, 3], dtype)}
    assert_same_bits(_through(tree, tmp_path, like=tree), tree)
