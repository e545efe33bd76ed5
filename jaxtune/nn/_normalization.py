"""Normalization of activations and of weights, with everything traced that is a number.

Activations have a leading batch axis and channels last. None of these learns a scale or a bias: the layers of
`jaxtune.nn.linen` and `jaxtune.nn.nnx` do. Statistics are computed in float32 at least; results have the type of the input.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._types import Array, Float, Scalar, ScalarLike
from jaxtune.nn._power import power_method


class RunningStatistics(NamedTuple):
    """Exponentially weighted moments of a layer's batches, which serve in evaluation.

    Attributes:
      mean: shape (features,).
      var: shape (features,); of biased variances, which divide by the number of examples.
    """

    mean: Float[Array, " features"]
    var: Float[Array, " features"]


def batch_norm(
    x: Float[Array, "batch ... features"],
    running: RunningStatistics,
    *,
    train: bool,
    momentum: ScalarLike = 0.9,
    eps: ScalarLike = 1e-5,
) -> tuple[Float[Array, "batch ... features"], RunningStatistics]:
    """Returns `(x - mean) / sqrt(var + eps)` for each feature, and the running statistics.

    In training mean and variance are those of the batch and all positions, and the running ones become
    `momentum running + (1 - momentum) batch's`; in evaluation they are the running ones, which stay.

    Args:
      x: activations.
      running: running statistics; zeros and ones to begin with.
      train: whether to use the batch's own.
      momentum: share that an update keeps, in [0, 1], as in Flax and Keras (PyTorch's is 1 minus that); may be traced.
      eps: at least 0; may be traced.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxtune as jt
      >>> running = jt.nn.RunningStatistics(jnp.zeros(1), jnp.ones(1))
      >>> y, running = jt.nn.batch_norm(jnp.array([[1.0], [3.0]]), running, train=True, eps=0.0)
      >>> y.ravel().tolist(), [round(float(m), 3) for m in (running.mean[0], running.var[0])]
      ([-1.0, 1.0], [0.2, 1.0])

    References:
      Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate shift",
      ICML 2015.
    """
    _check.number("momentum", momentum, low=0.0, high=1.0)
    _check.number("eps", eps, low=0.0)
    if running.mean.shape != x.shape[-1:]:
        reason = f"the running statistics are of {running.mean.shape} features"
        raise InputError("x", x.shape, reason, "Pass statistics of as many features as the last axis has.")
    if not train:
        return _scaled(x, _along_last(running.mean, x), _along_last(running.var, x), eps), running
    mean, var = _moments(x, tuple(range(x.ndim - 1)))
    new = RunningStatistics(
        *(
            (momentum * old + (1 - momentum) * batch.reshape(old.shape)).astype(old.dtype)
            for old, batch in zip(running, (mean, var), strict=True)
        )
    )
    return _scaled(x, mean, var, eps), new


def layer_norm(x: Float[Array, "batch ... features"], *, eps: ScalarLike = 1e-6) -> Float[Array, "batch ... features"]:
    """Returns `(x - mean) / sqrt(var + eps)`, with the moments of the features at each position.

    Args:
      x: activations.
      eps: at least 0; may be traced.

    References:
      Ba, Kiros, Hinton, "Layer normalization", 2016.
    """
    _check.number("eps", eps, low=0.0)
    return _scaled(x, *_moments(x, (x.ndim - 1,)), eps)


def rms_norm(x: Float[Array, "batch ... features"], *, eps: ScalarLike = 1e-6) -> Float[Array, "batch ... features"]:
    """Returns `x / sqrt(mean of x^2 + eps)`, with the mean over the features at each position.

    Args:
      x: activations.
      eps: at least 0; may be traced.

    References:
      Zhang and Sennrich, "Root mean square layer normalization", NeurIPS 2019.
    """
    _check.number("eps", eps, low=0.0)
    mean_square = jnp.square(_wide(x)).mean(-1, keepdims=True)
    return _scaled(x, jnp.zeros_like(mean_square), mean_square, eps)


def group_norm(
    x: Float[Array, "batch ... features"], groups: int, *, eps: ScalarLike = 1e-6
) -> Float[Array, "batch ... features"]:
    """Returns `(x - mean) / sqrt(var + eps)`, with the moments of each group of features over all positions.

    One group is layer normalization over positions and features; as many groups as features are `instance_norm`.

    Args:
      x: activations.
      groups: number of groups of neighbouring features, which divides the number of features.
      eps: at least 0; may be traced.

    Raises:
      ValueError: it does not divide it.

    References:
      Wu and He, "Group normalization", ECCV 2018.
    """
    _check.number("eps", eps, low=0.0)
    features = x.shape[-1]
    if features % _check.count("groups", groups):
        raise InputError("groups", groups, f"it does not divide the {features} features", "Choose a divisor.")
    grouped = x.reshape(*x.shape[:-1], groups, features // groups)
    axes = (*range(1, x.ndim - 1), x.ndim)
    return _scaled(grouped, *_moments(grouped, axes), eps).reshape(x.shape)


def instance_norm(
    x: Float[Array, "batch ... features"], *, eps: ScalarLike = 1e-6
) -> Float[Array, "batch ... features"]:
    """Returns `(x - mean) / sqrt(var + eps)`, with the moments of each feature over all positions of an example.

    Args:
      x: activations of more than one position between batch and features.
      eps: at least 0; may be traced.

    Raises:
      ValueError: there is none, so that everything would be 0.

    References:
      Ulyanov, Vedaldi, Lempitsky, "Instance normalization: the missing ingredient for fast stylization", 2016.
    """
    if math.prod(x.shape[1:-1]) < 2:
        reason = "there is one position only, of which the variance is 0"
        raise InputError("x", x.shape, reason, "Pass sequences or images, or use layer_norm.")
    return group_norm(x, x.shape[-1], eps=eps)


def weight_norm(direction: Float[Array, "... units"], length: Float[Array, " units"]) -> Float[Array, "... units"]:
    """Returns the kernel with the columns `length v / ||v||`, one for each unit or filter.

    Args:
      direction: the vectors v, in the shape of the kernel. A vector of zeros stays one.
      length: the norms of the columns.

    References:
      Salimans and Kingma, "Weight normalization: a simple reparameterization to accelerate training of deep neural
      networks", NeurIPS 2016.
    """
    wide = _wide(direction)
    squares = jnp.square(wide).sum(tuple(range(direction.ndim - 1)), keepdims=True)
    norms = jnp.sqrt(jnp.where(squares > 0, squares, 1.0))
    return (wide * (_along_last(length, direction) / norms)).astype(direction.dtype)


def spectral_norm(
    kernel: Float[Array, "... units"],
    vector: Float[Array, " units"],
    *,
    bound: ScalarLike = 1.0,
    always: bool = True,
    iterations: int = 1,
) -> tuple[Float[Array, "... units"], Float[Array, " units"]]:
    """Returns the kernel scaled to a largest singular value of `bound`, and the vector for the next call.

    The singular value is `sigma = u' W v` of W, shape (all but the last axis, units), by the power method, whose v is
    carried from call to call: few iterations suffice, for kernels change slowly. The gradient holds u and v.

    Args:
      kernel: a kernel.
      vector: v; anything that is not orthogonal to the singular vector to begin with.
      bound: above 0; may be traced; infinity is off where `always` is False.
      always: whether kernels with a smaller value are scaled up, as in Miyato's; otherwise `W / max(1, sigma / bound)`,
        as in Gouk's.
      iterations: of the power method; with 0 the vector stays as it is.

    References:
      Miyato, Kataoka, Koyama, Yoshida, "Spectral normalization for generative adversarial networks", ICLR 2018.
      Gouk, Frank, Pfahringer, Cree, "Regularisation of neural networks by enforcing Lipschitz continuity", 2021.
    """
    _check.number("bound", bound, low=0.0, exclusive=True, infinity=None if always else "off")
    matrix = _wide(kernel.reshape(-1, kernel.shape[-1]))
    u, v = power_method(matrix, _wide(vector), iterations)
    sigma: Scalar = u @ matrix @ v
    some = sigma > 0
    safe = jnp.where(some, sigma, 1.0)
    factor = bound / safe if always else 1 / jnp.maximum(1.0, safe / bound)
    return jnp.where(some, _wide(kernel) * factor, kernel).astype(kernel.dtype), v.astype(
        vector.dtype
    ) if iterations else vector


def _wide(x: Array) -> Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _moments(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Returns mean and biased variance, with the axes kept at size 1."""
    wide = _wide(x)
    mean = wide.mean(axes, keepdims=True)
    return mean, jnp.square(wide - mean).mean(axes, keepdims=True)


def _scaled(x: Array, mean: Array, var: Array, eps: ScalarLike) -> Array:
    """Returns `(x - mean) / sqrt(var + eps)`; 0 where that is 0 / 0."""
    wide = var + eps
    some = wide > 0
    inverse = jnp.where(some, jax.lax.rsqrt(jnp.where(some, wide, 1.0)), 0.0)
    y = (_wide(x) - mean) * inverse
    return y.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else y


def _along_last(values: Array, like: Array) -> Array:
    return values.reshape((1,) * (like.ndim - 1) + values.shape)
