"""Dropout of things larger than a unit: channels, layers, regions, weights."""

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._types import Array, Float, Key, ScalarLike
from jaxtune.nn._convolution import max_pool
from jaxtune.nn._dropout import dropout


def spatial_dropout(
    key: Key, x: Float[Array, "batch *space channels"], rate: ScalarLike
) -> Float[Array, "batch *space channels"]:
    """Returns `x` with whole channels dropped, and the others divided by `1 - rate`.

    Neighbors in an image or a sequence are alike, so a unit that is dropped alone is guessed from them; a channel is not.

    Args:
      key: random key, consumed.
      x: activations, channels last, with at least one dimension between: sequences, images or volumes.
      rate: probability of dropping a channel of an example, in [0, 1]; may be traced.

    Raises:
      ValueError: there is no dimension between batch and channels.

    References:
      Tompson, Goroshin, Jain, LeCun, Bregler, "Efficient object localization using convolutional networks", CVPR 2015.
    """
    if x.ndim < 3:
        reason = "there is no space to drop channels of"
        raise InputError("x", x.shape, reason, "Pass activations (batch, ..., channels), or use dropout.")
    return dropout(key, x, rate, broadcast_dims=range(1, x.ndim - 1))


def drop_path(key: Key, x: Float[Array, "batch ..."], rate: ScalarLike) -> Float[Array, "batch ..."]:
    """Returns `x` with whole examples set to zero, and the others divided by `1 - rate`: stochastic depth.

    For the branch of a residual block: `y = x + drop_path(key, branch(x), rate)`.

    Args:
      key: random key, consumed.
      x: what the branch returns, the batch first.
      rate: probability of dropping the branch for an example, in [0, 1]; may be traced.

    References:
      Huang, Sun, Liu, Sedra, Weinberger, "Deep networks with stochastic depth", ECCV 2016.
    """
    return dropout(key, x, rate, broadcast_dims=range(1, x.ndim))


def drop_connect(key: Key, kernel: Float[Array, "..."], rate: ScalarLike) -> Float[Array, "..."]:
    """Returns a kernel with each weight dropped with probability `rate`, and the others divided by `1 - rate`.

    All examples of a batch see the same weights.

    Args:
      key: random key, consumed.
      kernel: weights, any shape.
      rate: probability of dropping a weight, in [0, 1]; may be traced.

    References:
      Wan, Zeiler, Zhang, LeCun, Fergus, "Regularization of neural networks using DropConnect", ICML 2013.
    """
    return dropout(key, kernel, rate)


def drop_block(
    key: Key, x: Float[Array, "batch height width channels"], rate: ScalarLike, block: int
) -> Float[Array, "batch height width channels"]:
    """Returns `x` with square regions of a channel dropped, and the rest scaled up to the same number of entries.

    Corners of blocks are drawn with probability `gamma = rate / block^2 * H W / ((H - block + 1) (W - block + 1))`, which
    drops a share of about `rate`, less where blocks overlap.

    Args:
      key: random key, consumed.
      x: activations of a convolution.
      rate: share to drop, in [0, 1]; may be traced. 0 returns `x` and 1 zeros, exactly.
      block: side of the squares, at most the smaller side of x; a Python int. 1 is dropout.

    Raises:
      ValueError: x is no batch of images, or the block is larger.

    References:
      Ghiasi, Lin, Le, "DropBlock: a regularization method for convolutional networks", NeurIPS 2018.
    """
    _check.number("rate", rate, low=0.0, high=1.0)
    block = _check.count("block", block)
    if x.ndim != 4 or block > min(x.shape[1:3]):
        reason = f"blocks of {block} x {block} do not fit into {x.shape}"
        raise InputError("block", block, reason, "Pass images (batch, height, width, channels), or a smaller block.")
    n, height, width, channels = x.shape
    rows, columns = height - block + 1, width - block + 1
    share = jnp.asarray(rate, jnp.float32)
    gamma = share / block**2 * (height * width) / (rows * columns)
    corners = jax.random.uniform(key, (n, rows, columns, channels)) < gamma
    edge = (block - 1, block - 1)
    hit = max_pool(corners.astype(x.dtype), (block, block), strides=(1, 1), padding=(edge, edge)) > 0
    kept = jax.lax.stop_gradient(~hit & (share < 1))
    factor = kept.size / jnp.maximum(kept.sum(), 1)
    return jnp.where(kept, x * factor.astype(x.dtype), jnp.zeros_like(x))
