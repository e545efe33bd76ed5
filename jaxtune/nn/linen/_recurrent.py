"""Dropout inside of recurrent cells."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jaxtune._types import ScalarLike
from jaxtune.nn._variational import state_dropout


class StateDropout(nn.RNNCellBase):
    """A recurrent cell that sees its state with the same features dropped at every time; see `jaxtune.nn.state_dropout`.

    It goes into `nn.RNN(StateDropout(cell, rate), split_rngs={"params": False, "dropout": False})`, which hands the same
    key to all times.

    Attributes:
      cell: the cell.
      rate: probability of dropping a feature of a state, in [0, 1]; may be traced.
      deterministic: whether the cell sees all of its state.
      where: `where(path, leaf)` chooses the parts of the carry; None is the hidden state.
      rng_collection: the stream of random keys that is used.
    """

    cell: nn.RNNCellBase
    rate: ScalarLike
    deterministic: bool = False
    where: Callable[[str, Any], bool] | None = None
    rng_collection: str = "dropout"

    def __call__(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """Returns the next carry and the output."""
        if self.deterministic:
            return self.cell(carry, x)
        key = self.make_rng(self.rng_collection)
        return state_dropout(self.cell, key, self.rate, where=self.where)(carry, x)

    def initialize_carry(self, rng: Any, input_shape: tuple[int, ...]) -> Any:
        """Returns the cell's first carry."""
        return self.cell.initialize_carry(rng, input_shape)

    @property
    def num_feature_axes(self) -> int:
        """Number of axes of an input that are features."""
        return self.cell.num_feature_axes
