"""Linen shells over the functions of `jaxtune.nn`."""

from collections.abc import Sequence

import flax.linen as nn

from jaxtune import _check
from jaxtune._types import Array, Float, ScalarLike
from jaxtune.nn._dropout import dropout


class Dropout(nn.Module):
    """`flax.linen.Dropout` with a rate that may be traced.

    Given the same name in the model it draws the same masks as Flax's layer.

    Attributes:
      rate: probability of dropping, in [0, 1]; may be traced.
      broadcast_dims: dimensions along which the mask is the same.
      deterministic: whether to return the input; here or in the call.
      rng_collection: the stream of random keys that is used.
    """

    rate: ScalarLike
    broadcast_dims: Sequence[int] = ()
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, x: Float[Array, "..."], deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` with entries dropped, or as it is if `deterministic`."""
        _check.number("rate", self.rate, low=0.0, high=1.0)
        if nn.merge_param("deterministic", self.deterministic, deterministic):
            return x
        if isinstance(self.rate, (int, float)) and self.rate == 0:
            return x
        return dropout(self.make_rng(self.rng_collection), x, self.rate, broadcast_dims=self.broadcast_dims)
