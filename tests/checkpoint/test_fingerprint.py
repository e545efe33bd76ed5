"""What makes two experiments the same."""

import hashlib

import jax.numpy as jnp
import numpy as np
import pytest

from jaxtune.checkpoint import data_hash, differences, text_hash

BASE = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "y": np.array([0, 1], np.int32)}


def test_text_hash_is_sha256_of_the_texts_and_where_they_end():
    assert text_hash(["module", "größer"]) == hashlib.sha256("module\0größer\0".encode()).hexdigest()
    assert text_hash(t for t in ["a", "b"]) == text_hash(["a", "b"])
    assert len({text_hash(t) for t in ([], [""], ["ab"], ["a", "b"], ["b", "a"], ["", "ab"])}) == 6


@pytest.mark.parametrize(
    "same",
    [
        {"y": BASE["y"].copy(), "x": np.asfortranarray(BASE["x"])},
        {"x": jnp.asarray(BASE["x"]), "y": jnp.asarray(BASE["y"])},
        {"x": np.repeat(BASE["x"], 2, axis=1)[:, ::2], "y": BASE["y"]},
    ],
    ids=["order", "jax", "strides"],
)
def test_equal_values_have_equal_hashes(same):
    assert data_hash(same) == data_hash(BASE)


@pytest.mark.parametrize(
    "other",
    [
        {**BASE, "x": BASE["x"] + np.eye(2, 3, dtype=np.float32) * 1e-3},
        {**BASE, "x": BASE["x"].reshape(3, 2)},
        {**BASE, "x": BASE["x"].view(np.int32)},
        {**BASE, "x": -BASE["x"] * -1 + np.float32(-0.0)} | {"z": np.zeros((0, 3))},
        {"x": BASE["y"], "y": BASE["x"]},
        {"x": BASE["x"]},
        {},
    ],
    ids=["value", "shape", "type", "empty", "names", "missing", "nothing"],
)
def test_other_values_shapes_types_and_names_have_other_hashes(other):
    assert data_hash(other) != data_hash(BASE)


def test_a_scalar_is_not_an_array_of_one():
    assert data_hash(np.float32(1)) != data_hash(np.ones(1, np.float32))


def test_small_floats_can_be_hashed():
    assert data_hash(jnp.ones(3, jnp.bfloat16)) != data_hash(jnp.zeros(3, jnp.bfloat16))


@pytest.mark.parametrize(
    ("recorded", "given", "found"),
    [
        ({"steps": 10, "data": "ab"}, {"data": "ab", "steps": 10}, []),
        ({"steps": 10}, {"steps": 20}, ["`steps` (10 there, 20 here)"]),
        ({"steps": 10}, {}, ["`steps` (10 there, None here)"]),
        ({"data": "0123456789abcdef0"}, {"data": "f"}, ["`data` (0123456789ab... there, f here)"]),
        ({"seeds": [0, 1]}, {"seeds": [0, 2]}, ["`seeds`"]),
        ({"space": {"a": 1}}, {"space": None}, ["`space`"]),
        ({"b": 1, "a": 1}, {"b": 2, "a": 2}, ["`a` (1 there, 2 here)", "`b` (1 there, 2 here)"]),
    ],
)
def test_differences_in_words(recorded, given, found):
    assert differences(recorded, given) == found
