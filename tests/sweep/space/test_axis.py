"""Which axes are traced, which static, and how their values are called."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtune as jt
from jaxtune.sweep.space._axis import coordinate, make_axis, make_column

KIND = {"a": {"b1": 0.9, "nesterov": 0}, "b": {"b1": 0.0, "nesterov": 1}}


@pytest.mark.parametrize(
    ("values", "is_traced", "labels"),
    [
        ([0.1, 0.2], True, [0.1, 0.2]),
        ([0, 0.5, 1], True, [0, 0.5, 1]),
        ([1e-3, float("inf")], True, [1e-3, float("inf")]),
        (np.array([0.1, 0.2]), True, [0.1, 0.2]),
        (jnp.array([0.5, 0.25]), True, [0.5, 0.25]),
        ({"a": {"lr": jnp.array(0.5)}}, True, ["a"]),
        ([np.float32(0.5)], True, [0.5]),
        ([1, 2], False, [1, 2]),
        ([True, False], False, [True, False]),
        (["a", "b"], False, ["a", "b"]),
        (range(3), False, [0, 1, 2]),
        ({"relu": nn.relu, "tanh": jnp.tanh}, False, ["relu", "tanh"]),
        ({"off": None, "on": 3}, False, ["off", "on"]),
        ({"small": (8,), "large": (8, 8)}, False, ["small", "large"]),
        ({"low": 0.1, "high": 0.9}, True, ["low", "high"]),
        (KIND, True, ["a", "b"]),
        (jt.traced([16, 32]), True, [16, 32]),
        (jt.static([0.1, 0.2]), False, [0.1, 0.2]),
        (jt.static({"off": None, "1": 1.0}), False, ["off", "1"]),
    ],
)
def test_what_is_traced(values, is_traced, labels):
    axis = make_axis("x", values)
    assert axis.traced is is_traced and list(axis.labels) == labels


def test_traced_values_are_stacked_as_floats_or_ints():
    mixed = make_axis("x", [0, 0.5, 1]).stacked([2, 0])
    assert mixed.dtype == np.float32 and mixed.tolist() == [1.0, 0.0]
    whole = make_axis("x", jt.traced([16, 32])).stacked([1])
    assert whole.dtype == np.int32 and whole.tolist() == [32]
    tree = make_axis("x", KIND).stacked([0, 1, 1])
    assert tree["b1"].dtype == np.float32 and tree["b1"].tolist() == pytest.approx([0.9, 0, 0])
    assert tree["nesterov"].dtype == np.int32 and tree["nesterov"].tolist() == [0, 1, 1]


def test_columns_of_arms_call_values_after_the_first_arm_that_has_them():
    column = make_column("act", [nn.relu, nn.relu, jnp.tanh, nn.relu], ["default", "a", "b", "c"])
    assert column.labels == ("default", "default", "b", "default") and not column.traced
    assert make_column("lr", [0.1, 1, 0.1], ["default", "a", "b"]).traced
    assert not make_column("lr", [jt.static(0.1), 0.2], ["default", "a"]).traced


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        ([0.1, 1], "float64"),
        ([1, 2], "int64"),
        ([True, False], "bool"),
        (["a", "bc"], "<U2"),
        ([1, "a"], "<U1"),
        ([True, 2], "<U4"),
    ],
)
def test_coordinates_are_exactly_as_written(labels, dtype):
    made = coordinate(labels)
    assert made.dtype == dtype
    assert [type(a)(b) if dtype[0] != "<" else str(a) == b for a, b in zip(labels, made.tolist(), strict=True)] == (
        labels if dtype[0] != "<" else [True] * len(labels)
    )
