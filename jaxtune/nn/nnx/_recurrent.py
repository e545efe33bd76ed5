"""Dropout inside of recurrent cells."""

from collections.abc import Callable
from typing import Any

from flax import nnx

from jaxtune._types import ScalarLike
from jaxtune.nn._variational import state_dropout


class StateDropout(nnx.RNNCellBase):
    """A recurrent cell that sees its state with the same features dropped at every time; see `jaxtune.nn.state_dropout`.

    It goes into `nnx.RNN(StateDropout(cell, rate, rngs=rngs), broadcast_rngs="dropout", rngs=rngs)`, which hands the same
    key to all times. It is switched by `.train()` and `.eval()`.

    Args:
      cell: the cell.
      rate: probability of dropping a feature of a state, in [0, 1]; may be traced.
      where: `where(path, leaf)` chooses the parts of the carry; None is the hidden state.
      deterministic: whether the cell sees all of its state.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    def __init__(
        self,
        cell: nnx.RNNCellBase,
        rate: ScalarLike,
        *,
        where: Callable[[str, Any], bool] | None = None,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs,
    ):
        self.cell = cell
        self.rate = rate
        self.where = where
        self.deterministic = deterministic
        self.rngs = rngs[rng_collection].fork()

    def __call__(self, carry: Any, inputs: Any) -> tuple[Any, Any]:
        """Returns the next carry and the output."""
        if self.deterministic:
            return self.cell(carry, inputs)
        return state_dropout(self.cell, self.rngs(), self.rate, where=self.where)(carry, inputs)

    def initialize_carry(self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None) -> Any:
        """Returns the cell's first carry."""
        return self.cell.initialize_carry(input_shape, rngs, carry_init)

    @property
    def num_feature_axes(self) -> int:
        """Number of axes of an input that are features."""
        return self.cell.num_feature_axes
