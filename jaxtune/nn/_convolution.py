"""Convolution as patches times a matrix, and pooling as a maximum of slices.

XLA's own convolution is slow in a loop on a CPU, and one kernel per lane makes it a grouped one, which is slower still;
matrix products are fast there. Both functions can be differentiated in either mode, any number of times.
"""

import functools as ft
import itertools
import math
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxtune._errors import InputError
from jaxtune._types import Array, Float

Padding = str | Sequence[tuple[int, int]]

MOST_OFFSETS = 64
"""Positions in a window up to which slicing pays: each is an operation to be compiled."""

_NARROW = 128
"""Features below which the kernel's gradient is computed transposed."""


def convolve(
    x: Float[Array, "batch *space channels"],
    kernel: Float[Array, "*window channels_per_group features"],
    *,
    strides: Sequence[int] | None = None,
    padding: Padding = "SAME",
    dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> Float[Array, "batch *out features"]:
    """Returns the convolution that `jax.lax.conv_general_dilated` computes, as patches times a matrix.

    y[b, p, f] = sum over window positions w and channels c of x[b, strides p + dilation w - low, c] kernel[w, c, f], with
    zeros outside of x. It agrees with lax within rounding, for the order of the sum differs.

    Args:
      x: inputs, channels last, any number of spatial dimensions.
      kernel: kernel; with groups, channels are those of one group.
      strides: steps between outputs, per spatial dimension; None is 1.
      padding: `"SAME"`, `"VALID"`, or (low, high) per spatial dimension; negative numbers crop.
      dilation: steps between the kernel's entries, per spatial dimension; None is 1.
      groups: number of groups, which divides channels and features.

    Raises:
      ValueError: shapes that do not fit, a window larger than the padded input, a stride or dilation below 1.

    References:
      Chellapilla, Puri, Simard, "High performance convolutional neural networks for document processing", 2006.
    """
    window, (per_group, features) = kernel.shape[:-2], kernel.shape[-2:]
    if x.ndim != kernel.ndim or x.shape[-1] != per_group * groups or features % groups:
        reason = f"it does not fit inputs of shape {x.shape} in {groups} groups"
        raise InputError("kernel", f"shape {kernel.shape}", reason, "Channels come last, features are the last axis.")
    slices = _slices(x, window, strides, padding, dilation, 0.0)
    n, shape = len(slices), slices[0].shape[:-1]
    if groups == 1:
        patches, matrix = jnp.stack(slices, -2).reshape(*shape, n * per_group), kernel.reshape(-1, features)
        narrow = features < min(n * per_group, _NARROW)
        return _times_narrow(patches, matrix) if narrow else patches @ matrix
    if per_group == 1:  # of each channel on its own there is no matrix to make
        entries = kernel.reshape(n, *(1 for _ in shape), groups, features // groups)
        products = (part[..., None] * entry for part, entry in zip(slices, entries, strict=True))
        return ft.reduce(operator.add, products).reshape(*shape, features)
    patches = jnp.stack(slices, -2).reshape(*shape, n, groups, per_group)
    matrix = kernel.reshape(n, per_group, groups, features // groups)
    return jnp.einsum("...wgc,wcgf->...gf", patches, matrix).reshape(*shape, features)


def max_pool(
    x: Float[Array, "batch *space channels"],
    window: Sequence[int],
    *,
    strides: Sequence[int] | None = None,
    padding: Padding = "VALID",
) -> Float[Array, "batch *out channels"]:
    """Returns the maximum of each window; entries that tie share the gradient in equal parts.

    The values are those of `flax.linen.max_pool`, whose gradient goes to the first of the entries that tie.

    Args:
      x: inputs, channels last, any number of spatial dimensions.
      window: size of the window, per spatial dimension.
      strides: steps between windows, per spatial dimension; None is the window, so that none overlap.
      padding: `"SAME"`, `"VALID"`, or (low, high) per spatial dimension, filled with minus infinity.

    Raises:
      ValueError: a window larger than the padded input, or a stride below 1.
    """
    strides = window if strides is None else strides

    @jax.custom_jvp
    def pool(x: Array) -> Array:
        return _maximum(_slices(x, window, strides, padding, None, -np.inf))

    @pool.defjvp
    def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        parts = _slices(primals[0], window, strides, padding, None, -np.inf)
        moved = _slices(tangents[0], window, strides, padding, None, 0.0)
        top = pool(primals[0])  # and not of the parts, so that derivatives of it follow this rule too
        ties = sum((part == top).astype(x.dtype) for part in parts)
        change = sum(jnp.where(p == top, m, 0) for p, m in zip(parts, moved, strict=True))
        return top, jnp.asarray(change / ties)

    return pool(x)


@jax.custom_jvp
def _times_narrow(patches: Array, matrix: Array) -> Array:
    """Returns patches times a matrix that has more rows than columns.

    XLA's CPU product for the matrix's gradient, patches' * g, takes up to three times as long as g' * patches does. The
    barrier keeps XLA from turning the second into the first.
    """
    return patches @ matrix


@_times_narrow.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (patches, matrix), (d_patches, d_matrix) = primals, tangents
    change = _times_narrow(patches, jax.lax.optimization_barrier(d_matrix.T).T)
    return _times_narrow(patches, matrix), _times_narrow(d_patches, matrix) + change


def _maximum(parts: list[Array]) -> Array:
    """Returns the maximum by pairs, which takes fewer steps in a row than one by one."""
    while len(parts) > 1:
        parts = [jnp.maximum(*parts[i : i + 2]) if i + 1 < len(parts) else parts[i] for i in range(0, len(parts), 2)]
    return parts[0]


def _slices(
    x: Array,
    window: Sequence[int],
    strides: Sequence[int] | None,
    padding: Padding,
    dilation: Sequence[int] | None,
    fill: float,
) -> list[Array]:
    """Returns for every position in the window what it meets in x, each of shape (batch, *out, channels)."""
    n = len(window)
    strides = (1,) * n if strides is None else strides
    dilation = (1,) * n if dilation is None else dilation
    for name, steps in ("strides", strides), ("dilation", dilation):
        if min(steps, default=1) < 1:
            raise InputError(name, tuple(steps), "steps are at least 1", "Pass 1 for every dimension that has none.")
    reach = [d * (w - 1) + 1 for w, d in zip(window, dilation, strict=True)]
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[1:-1], reach, strides, padding)
    x = jax.lax.pad(x, np.array(fill, x.dtype), [(0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)])
    out = [(size - r) // s + 1 for size, r, s in zip(x.shape[1:-1], reach, strides, strict=True)]
    if min(out, default=1) < 1:
        raise InputError("window", tuple(window), f"it is larger than the padded input {x.shape}", "Pad, or shrink it.")
    if math.prod(window) == 1 and all(s == 1 for s in strides):
        return [x]

    def part(offset: Sequence[int]) -> Array:
        start = [o * d for o, d in zip(offset, dilation, strict=True)]
        stop = [a + s * (o - 1) + 1 for a, s, o in zip(start, strides, out, strict=True)]
        return jax.lax.slice(x, (0, *start, 0), (x.shape[0], *stop, x.shape[-1]), (1, *strides, 1))

    return [part(offset) for offset in itertools.product(*(range(w) for w in window))]
