"""Metrics of classes and of fit, against scikit-learn, in batches with padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from jaxtune import metrics

RNG = np.random.default_rng(0)
N, CLASSES = 50, 4
LABELS = RNG.integers(0, CLASSES, N)
LOGITS = RNG.normal(size=(N, CLASSES)) + 1.2 * np.eye(CLASSES)[LABELS]
TAKEN = LOGITS.argmax(1)


def streamed(metric, outputs=LOGITS, y=LABELS, batch=16):
    """Returns the metric over batches, the last of which is filled up with rows that do not count."""
    state = metric.init()
    for i in range(0, len(y), batch):
        z, t = outputs[i : i + batch], y[i : i + batch]
        missing = batch - len(t)
        z = np.concatenate([z, np.full((missing, *z.shape[1:]), 7.0)])
        t = np.concatenate([t, np.zeros((missing, *t.shape[1:]), t.dtype)])
        weight = np.r_[np.ones(batch - missing), np.zeros(missing)].astype(np.float32)
        state = jax.jit(metric.update)(state, jnp.asarray(z, jnp.float32), jnp.asarray(t), jnp.asarray(weight))
    return float(metric.compute(state))


@pytest.mark.parametrize("label", range(CLASSES))
def test_of_one_label(label):
    real, taken = LABELS == label, TAKEN == label
    np.testing.assert_allclose(streamed(metrics.precision(label)), sk.precision_score(real, taken), rtol=1e-6)
    np.testing.assert_allclose(streamed(metrics.recall(label)), sk.recall_score(real, taken), rtol=1e-6)
    np.testing.assert_allclose(streamed(metrics.f1(label)), sk.f1_score(real, taken), rtol=1e-6)


def test_over_all_labels():
    expected = sk.f1_score(LABELS, TAKEN, average="macro")
    np.testing.assert_allclose(streamed(metrics.macro_f1(CLASSES)), expected, rtol=1e-6)
    found = metrics.confusion_matrix(jnp.asarray(LOGITS), jnp.asarray(LABELS))
    np.testing.assert_allclose(found, sk.confusion_matrix(LABELS, TAKEN))


def test_a_label_that_nobody_has_scores_zero():
    for metric in (metrics.precision(3), metrics.recall(3), metrics.f1(3)):
        assert streamed(metric, LOGITS[:, :3] @ np.eye(3, 4) - [0, 0, 0, 9], np.zeros(N, int)) == 0


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_top_k(k):
    expected = sk.top_k_accuracy_score(LABELS, LOGITS, k=k) if k < CLASSES else 1.0
    found = streamed(metrics.mean(metrics.top_k(k), "max"))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_top_k_of_ties_is_accuracys():
    z, y = jnp.zeros((3, 4)), jnp.array([0, 1, 3])
    np.testing.assert_array_equal(metrics.top_k(1)(z, y), metrics.accuracy(z, y))
    np.testing.assert_array_equal(metrics.top_k(2)(z, y), [1, 1, 0])


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_calibration_error(bins):
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    confidence, right = p.max(1), TAKEN == LABELS
    expected = 0.0
    for i in range(bins):
        held = (confidence > i / bins) & (confidence <= (i + 1) / bins)
        if held.any():
            expected += held.mean() * abs(right[held].mean() - confidence[held].mean())
    np.testing.assert_allclose(streamed(metrics.calibration_error(bins)), expected, rtol=1e-4)


@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_r2(shift):
    y = RNG.normal(size=(N, 2)) + shift
    f = y + 0.5 * RNG.normal(size=(N, 2))
    expected = sk.r2_score(y.astype(np.float32), f.astype(np.float32))
    np.testing.assert_allclose(streamed(metrics.r2(2), f, y.astype(np.float32)), expected, rtol=2e-3)


def test_bad_use_is_refused():
    with pytest.raises(ValueError, match="`k` is 0"):
        metrics.top_k(0)
    with pytest.raises(ValueError, match="`label` is -1"):
        metrics.recall(-1)


def test_what_cannot_be_is_refused():
    outputs, y = jnp.zeros((2, 3)), jnp.zeros(2, jnp.int32)
    with pytest.raises(ValueError, match="`k` is 4: there are 3 classes"):
        metrics.top_k(4)(outputs, y)
    for metric in (metrics.precision(3), metrics.recall(3), metrics.f1(3)):
        with pytest.raises(ValueError, match="`label` is 3: there are 3 classes"):
            metric.update(metric.init(), outputs, y, jnp.ones(2))


def test_r2_of_constant_targets_is_scikit_learns():
    for y in (np.full((5, 1), 2.0, np.float32), np.full((500, 1), 333.33, np.float32)):
        f = y + 1
        assert float(streamed(metrics.r2(), f, y)) == sk.r2_score(y, f) == 0
    for f in (y, y + 1):
        assert float(streamed(metrics.r2(), f, y)) == sk.r2_score(y, f)
