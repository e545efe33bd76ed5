"""Linear models trained by jaxtune against scikit-learn's solvers, on its own data sets."""

import numpy as np
import optax
import pytest
from sklearn import datasets, linear_model, preprocessing
from theory.linear_models import curvature, fitted, full_batch, linear, nesterov, weights

import jaxtune as jt

pytestmark = pytest.mark.slow

STRENGTHS = [0.01, 0.1, 1.0]


@pytest.fixture(scope="module")
def diabetes():
    x, y = datasets.load_diabetes(return_X_y=True)
    return preprocessing.scale(x), preprocessing.scale(y)


def largest_difference(found, model):
    """Returns the largest difference of coefficients, relative to the largest coefficient."""
    w, b = np.asarray(found["w"], np.float64), np.asarray(found["b"], np.float64)
    expected = model.coef_.T
    return max(np.abs(w - expected).max(), np.abs(b - model.intercept_).max()) / np.abs(expected).max()


def test_ridge(diabetes):
    x, y = diabetes
    top, bottom = curvature(x)

    def recipe(hp):
        penalty = jt.penalties.l2(hp.l2, where=weights)
        return jt.Recipe(linear(), optimizer=nesterov(top, bottom), batch_size=len(x), penalty=penalty)

    params, _ = fitted(recipe, jt.grid(l2=STRENGTHS), full_batch(x, y), steps=1500)
    differences = {}
    for l2 in STRENGTHS:
        model = linear_model.Ridge(alpha=len(x) * l2, tol=1e-10).fit(x, y)
        differences[l2] = largest_difference(params(l2=l2), model)
    print("ridge, by l2:", differences)
    assert max(differences.values()) < 1e-5


@pytest.mark.parametrize("ratio", [1.0, 0.5], ids=["lasso", "elastic net"])
def test_lasso_and_elastic_net(diabetes, ratio):
    x, y = diabetes
    lr = 1 / curvature(x)[0]

    def recipe(hp):
        # scikit-learn has half the mean square: its alpha is half the strengths here.
        l1, l2 = 2 * hp.alpha * ratio, hp.alpha * (1 - ratio)
        optimizer = optax.chain(optax.sgd(lr), jt.optim.prox_elastic_net(lr * l1, lr * l2, where=weights))
        return jt.Recipe(linear(), optimizer=optimizer, batch_size=len(x))

    params, _ = fitted(recipe, jt.grid(alpha=STRENGTHS[:2]), full_batch(x, y), steps=6000)
    differences = {}
    for alpha in STRENGTHS[:2]:
        model = linear_model.ElasticNet(alpha=alpha, l1_ratio=ratio, tol=1e-12, max_iter=100000).fit(x, y)
        found = params(alpha=alpha)
        differences[alpha] = largest_difference(found, model)
        np.testing.assert_array_equal(np.asarray(found["w"]) == 0, model.coef_ == 0)  # the same exact zeros
    assert (model.coef_ == 0).any()
    print(f"elastic net with l1_ratio {ratio}, by alpha:", differences)
    assert max(differences.values()) < 2e-5


@pytest.mark.parametrize("name", ["wine", "iris"])
def test_logistic_regression(name):
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x = preprocessing.scale(x)

    def recipe(hp):
        penalty = jt.penalties.l2(hp.l2, where=weights)
        return jt.Recipe(linear(3), optimizer=optax.sgd(0.5, momentum=0.9), batch_size=len(x), penalty=penalty)

    strengths = [0.003, 0.03]
    params, _ = fitted(recipe, jt.grid(l2=strengths), full_batch(x, y, classes=3), steps=3000)
    differences = {}
    for l2 in strengths:
        model = linear_model.LogisticRegression(C=1 / (2 * len(x) * l2), tol=1e-10, max_iter=10000).fit(x, y)
        found = params(l2=l2)
        centered = {"w": found["w"], "b": found["b"] - np.asarray(found["b"]).mean()}
        model.intercept_ = model.intercept_ - model.intercept_.mean()  # softmax does not see their mean
        differences[l2] = largest_difference(centered, model)
    print(f"logistic regression on {name}, by l2:", differences)
    assert max(differences.values()) < 2e-5
