"""Augmentation of training batches, on the device and inside the compiled step: `jt.data.augment.flip(rate)`.

Each is a pure function `augment(key, batch) -> batch`, with one draw per example. Strengths may be traced, and at 0 every
one leaves the inputs as they are. Images are (batch, height, width, channels); inputs are as the data has them, before
normalization, and whole numbers become floats.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._types import Array, Float, Key, ScalarLike
from jaxtune.data.batches._table import Batch

Augmentation = Callable[[Key, Batch], Batch]
"""`augment(key, batch) -> batch`."""


def compose(*augmentations: Augmentation) -> Augmentation:
    """Returns augmentations one after the other, each with a key of its own."""

    def augment(key: Key, batch: Batch) -> Batch:
        for i, one in enumerate(augmentations):
            batch = one(jax.random.fold_in(key, i), batch)
        return batch

    return augment


def flip(rate: ScalarLike = 0.5, *, axis: Literal["horizontal", "vertical"] = "horizontal") -> Augmentation:
    """Returns the augmentation that mirrors images.

    Args:
      rate: probability that an image is mirrored, in [0, 1].
      axis: `"horizontal"` exchanges left and right, `"vertical"` top and bottom.
    """
    _check.number("rate", rate, low=0.0, high=1.0)
    if axis not in ("horizontal", "vertical"):
        raise InputError("axis", axis, "there is no such axis", "Pass 'horizontal' or 'vertical'.")
    mirrored = 2 if axis == "horizontal" else 1

    def fn(key: Key, x: Array) -> Array:
        return jnp.where(_each(jax.random.uniform(key, x.shape[:1]) < rate), jnp.flip(x, mirrored), x)

    return _of_images(fn)


def shift(pixels: ScalarLike) -> Augmentation:
    """Returns the augmentation that moves images by whole pixels, up and down, left and right; zeros move in.

    That is a random crop of the image with a border of `pixels` zeros.

    Args:
      pixels: the furthest that an image moves, at least 0.
    """
    _check.number("pixels", pixels, low=0.0)

    def fn(key: Key, x: Array) -> Array:
        draws = jax.random.uniform(key, (2, x.shape[0]))
        most = jnp.floor(jnp.asarray(pixels, draws.dtype))
        steps = jnp.minimum(jnp.floor(draws * (2 * most + 1)) - most, most).astype(jnp.int32)
        for axis, step in zip((1, 2), steps, strict=True):
            x = _moved(x, step, axis)
        return x

    return _of_images(fn)


def rotate(degrees: ScalarLike) -> Augmentation:
    """Returns the augmentation that turns images around their middle, by an angle drawn evenly.

    Args:
      degrees: the largest angle to either side, at least 0.
    """
    _check.number("degrees", degrees, low=0.0)

    def matrix(u: Array) -> list[Array]:
        angle = jnp.asarray(degrees, u.dtype) * (jnp.pi / 180) * u
        return [jnp.cos(angle), -jnp.sin(angle), jnp.sin(angle), jnp.cos(angle)]

    return _affine(degrees, matrix)


def zoom(factor: ScalarLike) -> Augmentation:
    """Returns the augmentation that magnifies images by a factor drawn evenly from [1 - factor, 1 + factor].

    Args:
      factor: in [0, 1).
    """
    _check.number("factor", factor, low=0.0, high=1.0)

    def matrix(u: Array) -> list[Array]:
        by = 1 / jnp.maximum(1 + factor * u, 1e-3)
        return [by, jnp.zeros_like(by), jnp.zeros_like(by), by]

    return _affine(factor, matrix)


def shear(factor: ScalarLike) -> Augmentation:
    """Returns the augmentation that moves rows sideways in proportion to their height over the middle.

    Args:
      factor: the largest shift per pixel of height, to either side; at least 0.
    """
    _check.number("factor", factor, low=0.0)

    def matrix(u: Array) -> list[Array]:
        one = jnp.ones_like(u)
        return [one, 0 * one, factor * u, one]

    return _affine(factor, matrix)


def brightness(strength: ScalarLike) -> Augmentation:
    """Returns the augmentation that adds to an image a number drawn evenly from [-strength, strength].

    Args:
      strength: at least 0, in units of the inputs.
    """
    _check.number("strength", strength, low=0.0)
    return _of_images(lambda key, x: x + jnp.asarray(strength, x.dtype) * _each(_symmetric(key, x)))


def contrast(strength: ScalarLike) -> Augmentation:
    """Returns the augmentation that stretches an image around its mean by a factor from [1 - strength, 1 + strength].

    Args:
      strength: in [0, 1].
    """
    _check.number("strength", strength, low=0.0, high=1.0)

    def fn(key: Key, x: Array) -> Array:
        mean = x.mean((1, 2, 3), keepdims=True)
        return x + jnp.asarray(strength, x.dtype) * _each(_symmetric(key, x)) * (x - mean)

    return _of_images(fn)


def noise(scale: ScalarLike) -> Augmentation:
    """Returns the augmentation that adds normal noise to inputs of any shape.

    Args:
      scale: its standard deviation, at least 0.
    """
    _check.number("scale", scale, low=0.0)

    def augment(key: Key, batch: Batch) -> Batch:
        x = _array(batch)
        return batch._replace(x=x + jnp.asarray(scale, x.dtype) * jax.random.normal(key, x.shape, x.dtype))

    return augment


def cutout(side: ScalarLike) -> Augmentation:
    """Returns the augmentation that sets a square to zero, whose middle lies anywhere in the image.

    Args:
      side: of the square in pixels, at least 0.

    References:
      DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", arXiv:1708.04552, 2017.
    """
    _check.number("side", side, low=0.0)
    return _of_images(lambda key, x: jnp.where(_square(key, x, jnp.asarray(side, jnp.float32))[0], 0, x))


def mixup(alpha: ScalarLike, classes: int) -> Augmentation:
    """Returns the augmentation that mixes examples in pairs: `l x + (1 - l) x'` with labels `l y + (1 - l) y'`.

    One l is drawn for a batch, the larger of a Beta(alpha, alpha) number and the rest. Labels become probabilities, which `jt.losses.softmax_cross_entropy`
    takes as they are.

    Args:
      alpha: at least 0; 0 mixes nothing.
      classes: number of classes.

    References:
      Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: beyond empirical risk minimization", ICLR 2018.
    """
    _check.number("alpha", alpha, low=0.0)
    classes = _check.count("classes", classes, low=2)

    def augment(key: Key, batch: Batch) -> Batch:
        pair, draw = jax.random.split(key)
        other = jax.random.permutation(pair, batch.y.shape[0])
        share = jnp.maximum(drawn := _beta(draw, alpha), 1 - drawn)  # pairs are drawn either way round
        x = jax.tree.map(lambda a: jnp.where(share < 1, share * a + (1 - share) * a[other], a), batch.x)
        return batch._replace(x=x, y=_mixed(batch.y, other, share, classes))

    return augment


def cutmix(alpha: ScalarLike, classes: int) -> Augmentation:
    """Returns the augmentation that pastes a rectangle of another example; labels are mixed by the areas.

    The rectangle has the share 1 - l of the image, l ~ Beta(alpha, alpha), before it is clipped at the edges.

    Args:
      alpha: at least 0; 0 pastes nothing.
      classes: number of classes.

    References:
      Yun, Han, Oh, Chun, Choe, Yoo, "CutMix: regularization strategy to train strong classifiers with localizable
      features", ICCV 2019.
    """
    _check.number("alpha", alpha, low=0.0)
    classes = _check.count("classes", classes, low=2)

    def augment(key: Key, batch: Batch) -> Batch:
        pair, draw, place = jax.random.split(key, 3)
        x = _images(batch)
        other = jax.random.permutation(pair, x.shape[0])
        part = jnp.sqrt(1 - _beta(draw, alpha))
        inside, area = _square(place, x[:1], jnp.floor(part * jnp.array(x.shape[1:3], part.dtype)))
        share = 1 - area[0] / (x.shape[1] * x.shape[2])
        mixed = jnp.where(inside, x[other], x)
        return batch._replace(x=mixed, y=_mixed(batch.y, other, share, classes))

    return augment


def label_noise(rate: ScalarLike, classes: int) -> Augmentation:
    """Returns the augmentation that replaces labels by ones drawn evenly from all classes.

    Args:
      rate: probability that a label is drawn anew, in [0, 1]; it may come out as it was.
      classes: number of classes.

    References:
      Xie, Wang, Wei, Wang, Tian, "DisturbLabel: regularizing CNN on the loss layer", CVPR 2016.
    """
    _check.number("rate", rate, low=0.0, high=1.0)
    classes = _check.count("classes", classes, low=2)

    def augment(key: Key, batch: Batch) -> Batch:
        which, what = jax.random.split(key)
        y = batch.y
        whole = jnp.issubdtype(y.dtype, jnp.integer)
        if (whole and y.ndim != 1) or (not whole and (y.ndim != 2 or y.shape[1] != classes)):
            reason = f"this augmentation is for labels of {classes} classes, integers or probabilities"
            raise InputError("y", f"{y.dtype} of shape {y.shape}", reason, "Use target_noise for targets.")
        new = jax.random.randint(what, y.shape[:1], 0, classes)
        drawn = jax.random.uniform(which, y.shape[:1]) < rate
        if y.ndim == 2:
            return batch._replace(y=jnp.where(drawn[:, None], jax.nn.one_hot(new, classes, dtype=y.dtype), y))
        return batch._replace(y=jnp.where(drawn, new.astype(y.dtype), y))

    return augment


def target_noise(scale: ScalarLike) -> Augmentation:
    """Returns the augmentation that adds normal noise to the targets of a regression.

    Args:
      scale: its standard deviation, at least 0.
    """
    _check.number("scale", scale, low=0.0)

    def augment(key: Key, batch: Batch) -> Batch:
        y = batch.y
        if not jnp.issubdtype(y.dtype, jnp.floating):
            raise InputError("y", y.dtype, "this augmentation is for targets that are floats", "Use label_noise.")
        return batch._replace(y=y + jnp.asarray(scale, y.dtype) * jax.random.normal(key, y.shape, y.dtype))

    return augment


def _array(batch: Batch) -> Array:
    if not isinstance(batch.x, jax.Array):
        cure = "Write a function of (key, batch) for inputs of other forms."
        raise InputError("x", type(batch.x).__name__, "this augmentation is for one array of inputs", cure)
    x: Array = batch.x
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))


def _images(batch: Batch) -> Array:
    x = _array(batch)
    if x.ndim != 4:
        reason = "this augmentation is for images (batch, height, width, channels)"
        raise InputError("x", x.shape, reason, "Reshape the inputs, and flatten them in the model.")
    return x


def _of_images(fn: Callable[[Key, Array], Array]) -> Augmentation:
    """Returns the augmentation that changes images, and nothing else."""

    def augment(key: Key, batch: Batch) -> Batch:
        return batch._replace(x=fn(key, _images(batch)))

    return augment


def _each(values: Array) -> Array:
    """Returns one value per image, shaped to go with images."""
    return values[:, None, None, None]


def _symmetric(key: Key, x: Array) -> Array:
    return jax.random.uniform(key, x.shape[:1], x.dtype, -1.0, 1.0)


def _moved(x: Array, steps: Array, axis: int) -> Array:
    """Returns images moved along an axis by a number of pixels each, with zeros behind them."""
    size = x.shape[axis]
    source = jnp.arange(size)[None, :] - steps[:, None]
    shape = tuple(n if i in (0, axis) else 1 for i, n in enumerate(x.shape))
    inside = ((source >= 0) & (source < size)).reshape(shape)
    return jnp.where(inside, jnp.take_along_axis(x, jnp.clip(source, 0, size - 1).reshape(shape), axis), 0)


def _affine(strength: ScalarLike, matrix: Callable[[Array], list[Array]]) -> Augmentation:
    """Returns the augmentation that reads each image at places moved by a matrix, between pixels linearly.

    The matrix (yy, yx, xy, xx) takes a place in the new image, seen from the middle, to one in the old.
    """

    def fn(key: Key, x: Array) -> Array:
        height, width = x.shape[1:3]
        yy, yx, xy, xx = (m[:, None, None] for m in matrix(_symmetric(key, x).astype(jnp.float32)))
        rows = jnp.arange(height, dtype=jnp.float32)[None, :, None] - (height - 1) / 2
        columns = jnp.arange(width, dtype=jnp.float32)[None, None, :] - (width - 1) / 2
        y = yy * rows + yx * columns + (height - 1) / 2
        z = xy * rows + xx * columns + (width - 1) / 2
        return jnp.where(jnp.asarray(strength) > 0, _read(x, y, z).astype(x.dtype), x)

    return _of_images(fn)


def _read(x: Array, rows: Array, columns: Array) -> Array:
    """Returns images at places between pixels, bilinear; outside of the image is zero."""
    n, height, width, channels = x.shape
    flat = x.reshape(n, height * width, channels)
    top, left = jnp.floor(rows), jnp.floor(columns)
    total = jnp.zeros(x.shape, jnp.result_type(x.dtype, jnp.float32))
    for down in (0, 1):
        for right in (0, 1):
            i, j = top + down, left + right
            weight = (1 - jnp.abs(rows - i)) * (1 - jnp.abs(columns - j))
            inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            place = jnp.clip(i, 0, height - 1) * width + jnp.clip(j, 0, width - 1)
            found = jnp.take_along_axis(flat, place.astype(jnp.int32).reshape(n, -1, 1), 1).reshape(x.shape)
            total = total + jnp.where(inside, weight, 0.0)[..., None] * found
    return total


def _square(key: Key, x: Array, side: Array) -> tuple[Array, Array]:
    """Returns which pixels lie in a rectangle around a random pixel of each image, and how many do.

    `side` is one number, or height and width.
    """
    n, height, width = x.shape[:3]
    sides = jnp.broadcast_to(side, (2,))
    inside: Any = True
    for i, (size, draw) in enumerate(zip((height, width), jax.random.uniform(key, (2, n)), strict=True)):
        first = jnp.floor(jnp.floor(draw * size) - (sides[i] - 1) / 2)[:, None]
        place = jnp.arange(size)[None, :]
        within = (place >= first) & (place < first + sides[i])
        inside = inside & (within[:, :, None] if i == 0 else within[:, None, :])
    return inside[..., None], inside.sum((1, 2))


def _beta(key: Key, alpha: ScalarLike) -> Float[Array, ""]:
    """Returns l ~ Beta(alpha, alpha); 1 for alpha = 0."""
    positive = jnp.asarray(alpha, jnp.float32) > 0
    some = jnp.where(positive, jnp.asarray(alpha, jnp.float32), 1.0)
    share = jax.random.beta(key, some, some)
    return jnp.where(positive, share, 1.0)


def _mixed(y: Array, other: Array, share: Array, classes: int) -> Array:
    """Returns labels as probabilities, mixed."""
    own = y if y.ndim == 2 else jax.nn.one_hot(y, classes)
    return share * own + (1 - share) * own[other]
