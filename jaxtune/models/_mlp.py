"""The multilayer perceptron."""

from collections.abc import Callable, Sequence
from typing import cast

import flax.linen as nn

from jaxtune import _check
from jaxtune._types import Array, Float, ScalarLike
from jaxtune.nn.linen import Dropout


class MLP(nn.Module):
    """Dense layers, each followed by batch norm (if asked for), the activation and dropout; then a dense output layer.

    Inputs of any shape (batch, ...) are flattened; outputs have shape (batch, outputs).

    Attributes:
      hidden: widths of the hidden layers.
      outputs: number of outputs.
      activation: applied to every hidden layer.
      dropout: probability of dropping a hidden unit, in [0, 1]; may be traced. A Python 0 leaves the layer out.
      batch_norm: whether hidden layers are normalized (Ioffe and Szegedy, "Batch normalization", ICML 2015).
      momentum: share of the running statistics that an update keeps, in [0, 1]; may be traced.
    """

    hidden: Sequence[int]
    outputs: int
    activation: Callable[[Array], Array] = nn.relu
    dropout: ScalarLike = 0.0
    batch_norm: bool = False
    momentum: ScalarLike = 0.9

    @nn.compact
    def __call__(self, x: Float[Array, "batch ..."], train: bool = False) -> Float[Array, "batch outputs"]:
        """Returns the outputs; `train` switches dropout on and batch norm to the batch's own statistics."""
        _check.number("momentum", self.momentum, low=0.0, high=1.0)
        x = x.reshape(x.shape[0], -1)
        for width in _check.sequence("hidden", self.hidden):
            x = nn.Dense(_check.count("hidden", width))(x)
            if self.batch_norm:
                x = nn.BatchNorm(use_running_average=not train, momentum=cast("float", self.momentum))(x)
            x = self.activation(x)
            x = Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(_check.count("outputs", self.outputs))(x)
