"""NNX shells over the functions of `jaxtune.nn`."""

from collections.abc import Sequence

from flax import nnx

from jaxtune import _check
from jaxtune._types import Array, Float, ScalarLike
from jaxtune.nn._dropout import dropout


class Dropout(nnx.Module):
    """`flax.nnx.Dropout` with a rate that may be traced.

    It is switched by `.train()` and `.eval()`, and draws the masks that Flax's layer draws from the same `rngs`.

    Args:
      rate: probability of dropping, in [0, 1]; may be traced.
      broadcast_dims: dimensions along which the mask is the same.
      deterministic: whether to return the input.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    def __init__(
        self,
        rate: ScalarLike,
        *,
        broadcast_dims: Sequence[int] = (),
        deterministic: bool = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs,
    ):
        self.rate = _check.number("rate", rate, low=0.0, high=1.0)
        self.broadcast_dims = tuple(broadcast_dims)
        self.deterministic = deterministic
        self.rngs = rngs[rng_collection].fork()

    def __call__(self, x: Float[Array, "..."], *, deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` with entries dropped, or as it is if `deterministic`."""
        if self.deterministic if deterministic is None else deterministic:
            return x
        if isinstance(self.rate, (int, float)) and self.rate == 0:
            return x
        return dropout(self.rngs(), x, self.rate, broadcast_dims=self.broadcast_dims)
