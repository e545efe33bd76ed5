"""scikit-learn's data sets; the only file that imports it."""

import numpy as np


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns images, float32 (1797, 8, 8, 1) in [0, 1], and labels, int32 (1797,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return (bunch.images[..., None] / 16.0).astype(np.float32), bunch.target.astype(np.int32)
