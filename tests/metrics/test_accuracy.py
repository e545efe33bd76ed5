"""Accuracy against scikit-learn."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from jaxtune.metrics import accuracy


@pytest.mark.parametrize("classes", [2, 5])
def test_equals_scikit_learn(classes):
    rng = np.random.default_rng(classes)
    outputs, y = rng.normal(size=(40, classes)), rng.integers(classes, size=40)
    right = accuracy(jnp.asarray(outputs), y)
    assert right.shape == (40,) and right.dtype == jnp.float32
    np.testing.assert_array_equal(right, outputs.argmax(1) == y)
    np.testing.assert_allclose(right.mean(), accuracy_score(y, outputs.argmax(1)), rtol=1e-6)


def test_of_equal_outputs_the_first_counts():
    np.testing.assert_array_equal(accuracy(jnp.ones((3, 4)), np.array([0, 1, 3])), [1.0, 0.0, 0.0])
