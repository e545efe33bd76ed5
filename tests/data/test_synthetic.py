"""Data with a known truth: the truth is what the data say it is."""

import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier

from jaxtune.data import synthetic


@pytest.mark.parametrize("name", ["moons", "spirals"])
def test_classes_are_what_the_truth_says(name):
    data, truth = getattr(synthetic, name)(600)
    for part in (data.train, data.valid, data.test):
        assert (truth(part.x) == part.y).mean() > 0.99
        assert abs(part.y.mean() - 0.5) < 0.02
    near = KNeighborsClassifier(5).fit(data.train.x, data.train.y)
    assert near.score(data.test.x, data.test.y) > 0.97
    exact, truth = getattr(synthetic, name)(600, noise=0.0)
    np.testing.assert_array_equal(truth(exact.train.x), exact.train.y)


def test_moons_are_those_of_scikit_learn():
    data, _ = synthetic.moons(2000, noise=0.0)
    x, y = make_moons(2000, noise=0.0)
    for label in (0, 1):
        ours, theirs = data.train.x[data.train.y == label], x[y == label]
        np.testing.assert_allclose(ours.min(0), theirs.min(0), atol=0.02)
        np.testing.assert_allclose(ours.max(0), theirs.max(0), atol=0.02)


def test_coefficients_of_a_sparse_regression_can_be_found():
    data, truth = synthetic.sparse_linear(2000, 20, 4, noise=0.5)
    assert (truth.coefficients != 0).sum() == 4
    assert (np.abs(truth.coefficients[truth.coefficients != 0]) >= 1).all()
    found = LinearRegression(fit_intercept=False).fit(data.train.x, data.train.y).coef_
    np.testing.assert_allclose(found, truth.coefficients, atol=0.06)
    assert (data.test.y - truth(data.test.x)).std() == pytest.approx(0.5, rel=0.1)


def test_polynomials():
    data, truth = synthetic.polynomial(4000, (1.0, 0.0, -2.0), noise=0.2)
    x = data.train.x.astype(np.float64)
    np.testing.assert_allclose(truth(x), 1 - 2 * x[:, 0] ** 2)
    np.testing.assert_allclose(np.polyfit(x[:, 0], data.train.y, 2), [-2, 0, 1], atol=0.03)
    assert np.abs(x).max() <= 1


def test_adding():
    data, truth = synthetic.adding(3000, 11)
    x = data.train.x
    assert x.shape == (1800, 11, 2) and set(np.unique(x[..., 1])) == {0.0, 1.0}
    np.testing.assert_array_equal(x[:, :5, 1].sum(1), np.ones(1800))
    np.testing.assert_array_equal(x[:, 5:, 1].sum(1), np.ones(1800))
    expected = [sum(value for value, mark in row if mark) for row in x]
    np.testing.assert_allclose(data.train.y, expected, rtol=1e-6)
    np.testing.assert_allclose(truth(x), expected, rtol=1e-6)
    assert np.square(data.train.y - 1).mean() == pytest.approx(1 / 6, rel=0.1)


def test_a_seed_fixes_it():
    (a, _), (b, _), (c, _) = (synthetic.moons(50, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(a.train.x, b.train.x)
    assert (a.train.x != c.train.x).any()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: synthetic.moons(1), "`n` is 1"),
        (lambda: synthetic.moons(noise=-1.0), "`noise` is -1.0"),
        (lambda: synthetic.sparse_linear(50, 3, 4), "`nonzero` is 4: there are 3 features"),
        (lambda: synthetic.spirals(turns=0.0), "`turns` is 0.0"),
        (lambda: synthetic.adding(10, 1), "`length` is 1"),
    ],
)
def test_bad_use_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
