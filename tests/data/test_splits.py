"""Splits: stratified, disjoint, fixed by their seed."""

import numpy as np
import pytest

import jaxtune as jt
from jaxtune.data import Arrays, Splits, from_arrays

PARTS = ("train", "valid", "test")


def skewed(n=400, seed=0):
    y = np.random.default_rng(seed).choice(5, n, p=[0.5, 0.3, 0.1, 0.06, 0.04])
    return np.arange(n, dtype=np.float32)[:, None], y


def members(splits):
    return [getattr(splits, part).x[:, 0].astype(int) for part in PARTS]


@pytest.mark.parametrize("fractions", [(0.6, 0.2, 0.2), (0.5, 0.3, 0.1), (0.98, 0.01, 0.01)])
@pytest.mark.parametrize("labels", ["classes", "targets"])
def test_splits_are_disjoint_and_of_the_sizes_asked_for(fractions, labels):
    x, y = skewed()
    splits = from_arrays(x, y if labels == "classes" else y * 0.5, fractions=fractions)
    everything = np.concatenate(members(splits))
    assert len(set(everything.tolist())) == len(everything) == round(sum(fractions) * 400)
    assert [len(m) for m in members(splits)] == [round(f * 400) for f in fractions]


def test_rows_stay_together():
    x, y = skewed()
    splits = from_arrays({"a": x, "b": {"c": np.stack([y, -y], 1)}}, y, weight=x[:, 0] + 1)
    for part in PARTS:
        one = getattr(splits, part)
        np.testing.assert_array_equal(one.y, y[one.x["a"][:, 0].astype(int)])
        np.testing.assert_array_equal(one.x["b"]["c"], np.stack([one.y, -one.y], 1))
        np.testing.assert_array_equal(one.weight, one.x["a"][:, 0] + 1)


@pytest.mark.parametrize("seed", range(20))
def test_splits_are_stratified(seed):
    x, y = skewed(seed=seed)
    splits, counts = from_arrays(x, y, seed=seed), np.bincount(y, minlength=5)
    for part, fraction in zip(PARTS, (0.6, 0.2, 0.2), strict=True):
        held = np.bincount(getattr(splits, part).y, minlength=5)
        # An unstratified split of class 0 would be off by 6 examples in the mean.
        assert np.abs(held - fraction * counts).max() < 2


def test_float_targets_are_shuffled():
    x, y = skewed()
    train = members(from_arrays(x, y * 0.5))[0]
    assert abs(train.mean() - 199.5) < 4 * 400 / np.sqrt(12 * 240)
    assert (train != np.arange(240)).any()


def test_seed_fixes_the_split():
    x, y = skewed()
    a, b, other = (members(from_arrays(x, y, seed=seed)) for seed in (3, 3, 4))
    assert all((p == q).all() for p, q in zip(a, b, strict=True))
    assert set(a[0].tolist()) != set(other[0].tolist())


@pytest.mark.parametrize(
    "given, kept",
    [("float64", "float32"), ("float16", "float32"), ("int64", "int32"), ("uint8", "uint8"), ("bool", "bool")],
)
def test_types_are_those_of_programs(given, kept):
    arrays = Arrays(np.ones((3, 2), given), [0, 1, 2], [1, 1, 2])
    assert (arrays.x.dtype, arrays.y.dtype, arrays.weight.dtype) == (kept, "int32", "float32")


@pytest.mark.parametrize("x, y", [([[3_000_000_000]], [0]), ([[1.0]], [2**32 + 1])])
def test_integers_that_do_not_fit_are_refused(x, y):
    with pytest.raises(ValueError, match="32 bits"):
        Arrays(np.array(x), np.array(y))


def test_take():
    arrays = Arrays({"a": np.arange(10)}, np.arange(10) * 2, np.arange(10) + 1)
    some = arrays.take(np.array([7, 2]))
    assert len(arrays) == 10 and len(some) == 2
    np.testing.assert_array_equal(np.stack([some.x["a"], some.y, some.weight]), [[7, 2], [14, 4], [8, 3]])


@pytest.mark.parametrize(
    "y, classes, outputs",
    [
        (np.array([0, 2, 1]), None, 3),
        (np.array([0, 2, 1]), 7, 7),
        (np.ones(3), None, 1),
        (np.ones((3, 1)), None, 1),
        (np.ones((3, 4)), None, 4),
    ],
)
def test_outputs(y, classes, outputs):
    part = Arrays(np.ones((3, 2)), y)
    splits = Splits(part, part, part, classes=classes)
    assert splits.outputs == outputs
    assert splits.classes == (outputs if y.dtype == int else None)


def test_a_split_is_an_arrays():
    part = Arrays(np.ones((3, 2)), np.ones(3))
    with pytest.raises(ValueError, match=r"`valid` is 'tuple'.*jt\.data\.Arrays"):
        Splits(part, (part.x, part.y), part)


def test_sizes_of_the_digits():
    splits = jt.data.load("digits")
    assert [len(getattr(splits, part)) for part in PARTS] == [1078, 360, 359]


def test_no_group_is_in_two_splits():
    groups = np.array([f"patient {i}" for i in np.random.default_rng(0).integers(0, 40, 500)])
    splits = from_arrays(np.arange(500.0)[:, None], np.arange(500) % 2, groups=groups, seed=3)
    parts = [splits.train, splits.valid, splits.test]
    seen = [set(part.groups) for part in parts]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    assert sum(map(len, seen)) == 40 and sum(map(len, parts)) == 500
    np.testing.assert_allclose([len(part) / 500 for part in parts], [0.6, 0.2, 0.2], atol=0.04)
    for part in parts:
        np.testing.assert_array_equal(groups[part.x[:, 0].astype(int)], part.groups)
    other = from_arrays(np.arange(500.0)[:, None], np.arange(500) % 2, groups=groups, seed=4)
    assert set(other.train.groups) != seen[0]
    half = from_arrays(np.arange(500.0)[:, None], np.zeros(500), groups=groups, fractions=(0.3, 0.1, 0.1))
    np.testing.assert_allclose(len(half.train), 150, atol=20)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([1, 2], "each of 10 examples is in one group"),
        (np.ones(10), "float64"),
        ([1] * 5 + [2] * 5, "leave a split empty"),
    ],
)
def test_groups_that_cannot_be_used(groups, message):
    with pytest.raises(ValueError, match=f"`groups`.*{message}"):
        from_arrays(np.arange(10.0), np.arange(10.0), groups=groups)
