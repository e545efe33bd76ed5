"""What data is refused, and in which words."""

import re

import numpy as np
import pytest

from jaxtune.data import Arrays, Splits, from_arrays

X, Y = np.ones((4, 2)), np.array([0, 1, 0, 1])
NAN = np.array([[1.0, 2.0], [3.0, np.nan], [1.0, np.inf], [0.0, 0.0]])


@pytest.mark.parametrize(
    "x, y, weight, message",
    [
        ({}, Y, None, "`x` is {}: there is no array in it"),
        (np.float32(1), Y, None, "`x` is array(1., dtype=float32): a single number is no set of examples"),
        (X, np.float32(1), None, "a single number is no set of examples"),
        (X[:3], Y, None, "`x` is (3, 2): it has 3 examples and y has 4"),
        ({"a": X, "b": [X[:2]]}, Y, None, "`x/b/0` is (2, 2): it has 2 examples and y has 4"),
        (X, Y, np.ones(3), "`weight` is (3,): it has 3 examples and y has 4"),
        (NAN, Y, None, "`x` is 'an array of shape (4, 2)': 2 values are NaN or infinite, the first at (1, 1)"),
        ({"a": NAN}, Y, None, "`x/a` is "),
        (X, NAN[:, 1], None, "`y` is 'an array of shape (4,)': 2 values are NaN or infinite, the first at (1,)"),
        (X, Y, NAN[:, 1], "`weight` is 'an array of shape (4,)': 2 values are NaN or infinite"),
        (X[:0], Y[:0], None, "`y` is (0,): there is no example. Pass at least one example."),
        (X, Y, -np.ones(4), "`weight` is 'an array of shape (4,)': weights are one number of at least 0 per example"),
        (X, Y, np.zeros(4), "not all 0"),
        (X, Y, np.ones((4, 1)), "`weight` is 'an array of shape (4, 1)': weights are one number"),
    ],
)
def test_arrays(x, y, weight, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Arrays(x, y, weight)


@pytest.mark.parametrize(
    "x, y, message",
    [
        (np.array(["a"] * 4), Y, "`x` is 'an array of dtype <U1': its entries are not real numbers"),
        ({"a": X, "b": X.astype(object)}, Y, "`x/b` is 'an array of dtype object'"),
        (X * 1j, Y, "`x` is 'an array of dtype complex128'"),
        (X, np.array(["a"] * 4), "`y` is 'an array of dtype <U1'"),
        (X, Y.astype("datetime64[s]"), "`y` is 'an array of dtype datetime64[s]'"),
    ],
)
def test_arrays_of_a_wrong_type(x, y, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        Arrays(x, y)


@pytest.mark.parametrize("where", ["valid", "test"])
@pytest.mark.parametrize(
    "x, y, weight, word",
    [
        (np.ones((4, 3)), Y, None, "(3,)"),
        (X.astype(int), Y, None, "int32"),
        ({"a": X}, Y, None, "a"),
        (X, Y * 1.0, None, "float32"),
        (X, np.ones((4, 2)), None, "(2,)"),
        (X, Y, np.ones(4), "weight"),
    ],
)
def test_splits_of_one_form(where, x, y, weight, word):
    parts = {name: Arrays(X, Y) for name in ("train", "valid", "test")} | {where: Arrays(x, y, weight)}
    with pytest.raises(ValueError, match=f"`{where}` is .*differ in form from those of train") as error:
        Splits(**parts)
    assert word in str(error.value)


@pytest.mark.parametrize(
    "labels, classes, message",
    [
        ([0, 1, 5, 1], 3, "`test.y` is 5: 1 labels lie outside the classes 0 to 2, the first at 2"),
        ([0, -1, 1, -1], None, "`test.y` is -1: 2 labels lie outside the classes 0 to 1, the first at 1"),
        ([0, 1, 0, 1], 0, "`classes` is 0: it has to be at least 1"),
    ],
)
def test_labels_outside_the_classes(labels, classes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Splits(Arrays(X, Y), Arrays(X, Y), Arrays(X, np.array(labels)), classes=classes)


def test_classes_are_counted_over_all_splits():
    assert Splits(Arrays(X, Y), Arrays(X, Y), Arrays(X, Y * 6)).classes == 7


@pytest.mark.parametrize(
    "y, classes, message",
    [
        (Y * 1.0, 2, "`classes` needs integer labels of shape (n,)"),
        (Y, 2.0, "`classes` is 2.0: a whole number is needed"),
    ],
)
def test_classes_of_a_wrong_type(y, classes, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        Splits(*[Arrays(X, y)] * 3, classes=classes)


@pytest.mark.parametrize(
    "fractions, message",
    [
        ((0.5, 0.5), "`fractions` is (0.5, 0.5): three positive shares of at most 1 in sum are needed"),
        ((0.6, 0.3, 0.2), "three positive shares of at most 1 in sum"),
        ((0.8, 0.2, 0.0), "three positive shares of at most 1 in sum"),
        ((0.8, 0.4, -0.2), "`fractions` is -0.2: it has to be between 0 and 1"),
        ((0.8, float("nan"), 0.1), "`fractions` is nan: NaN is no setting"),
        ((0.98, 0.01, 0.01), "a split of 10 examples would be empty"),
    ],
)
def test_fractions(fractions, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        from_arrays(np.ones((10, 2)), np.ones(10), fractions=fractions)


def test_thirds_are_fractions():
    splits = from_arrays(np.arange(18.0).reshape(9, 2), np.ones(9), fractions=(1 / 3, 1 / 3, 1 / 3))
    assert len(splits.train) == len(splits.valid) == len(splits.test) == 3
