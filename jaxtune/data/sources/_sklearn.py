"""scikit-learn's data sets; the only file that imports it."""

import numpy as np


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns images, float32 (1797, 8, 8, 1) in [0, 1], and labels, int32 (1797,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return (bunch.images[..., None] / 16.0).astype(np.float32), bunch.target.astype(np.int32)


def table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the columns and labels or targets of `"iris"`, `"wine"`, `"breast_cancer"` or `"diabetes"`."""
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return x.astype(np.float32), y.astype(np.float32 if name == "diabetes" else np.int32)
