"""Streams: what may be a source, and what is made of it."""

import numpy as np
import pytest

from jaxtune.data import Arrays, Splits, Stream

X = np.arange(24, dtype=np.float64).reshape(12, 2)
Y = np.arange(12) % 3


class Listed:
    """Random access to a list."""

    def __init__(self, examples):
        self.examples = examples

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, i):
        return self.examples[i]


class Batched(Listed):
    """A source that would rather read many at once."""

    def __getitem__(self, i):
        raise AssertionError("one by one")

    def __getitems__(self, index):
        return [self.examples[i] for i in index]


PAIRS = [({"a": x, "flag": True}, int(y)) for x, y in zip(X, Y, strict=True)]


@pytest.mark.parametrize("kind", [Listed, Batched])
def test_examples_are_stacked_in_the_types_that_programs_use(kind):
    stream = Stream(kind(PAIRS))
    x, y, weight = stream.take(np.array([5, 0]), 3)
    np.testing.assert_array_equal(x["a"], X[[5, 0]])
    assert x["a"].dtype == np.float32 and y.dtype == np.int32 and y.tolist() == [2, 0] and weight is None
    assert len(stream) == 12 and len(stream.sample) == 12


def test_a_memory_mapped_file_is_read_row_by_row(tmp_path):
    np.save(tmp_path / "x.npy", X.astype(np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    stream = Stream(Arrays(mapped, Y), sample_size=4)
    assert np.shares_memory(stream.source.x, mapped)
    assert np.shares_memory(stream.source.take(slice(2, 9)).x, mapped) and np.shares_memory(
        Arrays(mapped[3:], Y[3:]).x, mapped
    )
    assert not np.shares_memory(Arrays(X.astype(np.float32), Y).x, X)
    x, y, _ = stream.take(np.array([7, 3]), 3)
    np.testing.assert_array_equal(x, X[[7, 3]])
    np.testing.assert_array_equal(y, Y[[7, 3]])


def test_the_sample_and_the_order_follow_from_the_seed():
    first, same, other = (Stream(Arrays(X, Y), seed=s, sample_size=5) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.sample.x, same.sample.x)
    assert (first.sample.x != other.sample.x).any() and len(np.unique(first.sample.x[:, 0])) == 5
    for epoch in (0, 1):
        np.testing.assert_array_equal(first.order(epoch), same.order(epoch))
        np.testing.assert_array_equal(np.sort(first.order(epoch)), np.arange(12))
    assert (first.order(0) != first.order(1)).any() and (first.order(0) != other.order(0)).any()


def test_classes_are_those_of_all_that_is_in_memory():
    small = Arrays(X[:3], Y[:3])
    assert Splits(Stream(Arrays(X, Y)), small, small).classes == 3
    rare = Arrays(X, np.where(np.arange(12) == 5, 7, 0))
    assert Splits(Stream(rare, sample_size=1), small, small).classes == 8
    assert Splits(Stream(Arrays(X, Y / 1.0)), Arrays(X, Y / 1.0), Arrays(X, Y / 1.0)).outputs == 1


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (iter(PAIRS), TypeError, "`source` is 'list_iterator': it has no len"),
        (Listed([]), ValueError, "there is no example"),
        (Listed([{"x": 1, "y": 2}]), TypeError, "`source` is 'a dict at 0': an example is a pair"),
        (Listed([(np.zeros(2), 1), (np.zeros(3), 1)]), ValueError, "its shapes differ from those of example 0"),
        (Listed([(np.array([np.inf]), 1)]), ValueError, "1 values are NaN or infinite"),
        (Listed([(np.array(["a"]), 1)]), TypeError, "its entries are not real numbers"),
        (Listed([(np.zeros(2), {"a": 1})]), TypeError, "a dict for y"),
    ],
)
def test_bad_sources_are_refused(source, error, message):
    with pytest.raises(error, match=message):
        Stream(source)


def test_other_splits_stay_in_memory():
    with pytest.raises(ValueError, match="`valid` is 'Stream'"):
        Splits(Arrays(X, Y), Stream(Arrays(X, Y)), Arrays(X, Y))


def test_lists_are_arrays_as_elsewhere():
    stream = Stream(Listed([([1.0, 2.0, 3.0], [0.5]), ([4.0, 5.0, 6.0], [1.5]), ([7.0, 8.0, 9.0], [2.5])]))
    np.testing.assert_array_equal(stream.sample.x, [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    np.testing.assert_array_equal(stream.sample.y, [[0.5], [1.5], [2.5]])


@pytest.mark.parametrize(
    ("options", "name"), [(dict(seed=-1), "seed"), (dict(seed=1.5), "seed"), (dict(sample_size=0), "sample_size")]
)
def test_bad_numbers_are_refused(options, name):
    with pytest.raises((ValueError, TypeError), match=f"`{name}`"):
        Stream(Arrays(X, Y), **options)
