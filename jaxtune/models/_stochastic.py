"""Models that are random on purpose: noise on weights while training, and predictions under dropout."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._keys import stream_key
from jaxtune._tree import path_name
from jaxtune._types import Array, Float, Key, PyTree, ScalarLike
from jaxtune.models._adapt import as_model
from jaxtune.models._model import Model
from jaxtune.nn import noise
from jaxtune.penalties import Where, is_kernel


def with_weight_noise(
    model: Any, scale: ScalarLike, *, multiplicative: bool = False, where: Where = is_kernel
) -> Model:
    """Returns a model whose weights have normal noise on them in training, drawn once for a batch.

    A recurrent network sees the same noise at every time.

    Args:
      model: a Linen module, a builder of an NNX module, or a `jt.Model`.
      scale: standard deviation of the noise, absolute or relative, at least 0; may be traced.
      multiplicative: whether the noise multiplies.
      where: `where(path, leaf)` chooses the parameters; by default kernels, not biases or normalization parameters.

    References:
      Graves, "Practical variational inference for neural networks", NeurIPS 2011.
    """
    _check.number("scale", scale, low=0.0)
    inner = as_model(model)

    def noisy(params: PyTree, key: Key) -> PyTree:
        own = stream_key(key, "weight noise")

        def change(path: Any, w: Array) -> Array:
            place = path_name(path)
            if not where(place, w):
                return w
            changed: Array = noise(stream_key(own, place), w, scale, multiplicative=multiplicative)
            return changed

        return jax.tree_util.tree_map_with_path(change, params)

    def apply(params: PyTree, state: PyTree, x: PyTree, *, key: Key, train: bool) -> Any:
        return inner.apply(noisy(params, key) if train else params, state, x, key=key, train=train)

    def capture(params: PyTree, state: PyTree, x: PyTree, *, key: Key, train: bool) -> Any:
        assert inner.capture is not None
        return inner.capture(noisy(params, key) if train else params, state, x, key=key, train=train)

    return Model(inner.init, apply, None if inner.capture is None else capture)


def monte_carlo(
    model: Any, params: PyTree, state: PyTree, x: PyTree, *, key: Key, samples: int
) -> tuple[Float[Array, "batch ..."], Float[Array, "batch ..."]]:
    """Returns mean and variance of a model's outputs over draws of its dropout and noise: Monte Carlo dropout.

    The model runs as in training, so batch norm, if it has any, uses the statistics of this batch.

    Args:
      model: a Linen module, a builder of an NNX module, or a `jt.Model`.
      params: parameters.
      state: its state, which stays as it is.
      x: a batch of inputs.
      key: random key, consumed.
      samples: number of draws, at least 2.

    References:
      Gal and Ghahramani, "Dropout as a Bayesian approximation", ICML 2016.
    """
    inner, n = as_model(model), _check.count("samples", samples, low=2)

    def draw(carry: tuple[Array, Array, Array], own: Key) -> tuple[tuple[Array, Array, Array], None]:
        count, mean, spread = carry
        outputs, _ = inner.apply(params, state, x, key=own, train=True)
        count = count + 1
        change = outputs - mean  # Welford's update: sums of squares would cancel
        mean = mean + change / count
        return (count, mean, spread + change * (outputs - mean)), None

    shape = jax.eval_shape(lambda own: inner.apply(params, state, x, key=own, train=True)[0], key)
    zeros = jnp.zeros(shape.shape, shape.dtype)
    (_, mean, spread), _ = jax.lax.scan(draw, (jnp.zeros(()), zeros, zeros), jax.random.split(key, n))
    return mean, spread / (n - 1)
