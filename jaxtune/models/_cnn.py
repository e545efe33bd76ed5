"""The plain convolutional network."""

from collections.abc import Callable, Sequence
from typing import cast

import flax.linen as nn

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._types import Array, Float, ScalarLike
from jaxtune.nn.linen import Dropout


class CNN(nn.Module):
    """Blocks of convolution, batch norm (if asked for), activation and 2x2 max-pooling; then dropout and a dense layer.

    Inputs have shape (batch, height, width, channels), outputs (batch, outputs). Every block halves height and width.

    Attributes:
      features: channels of the blocks.
      outputs: number of outputs.
      kernel: height and width of the filters, which are applied with zero padding ("SAME").
      activation: applied after every convolution.
      dropout: probability of dropping a feature before the dense layer, in [0, 1]; may be traced. A Python 0 leaves it out.
      batch_norm: whether convolutions are followed by batch norm.
      momentum: share of the running statistics that an update keeps, in [0, 1]; may be traced.
    """

    features: Sequence[int]
    outputs: int
    kernel: tuple[int, int] = (3, 3)
    activation: Callable[[Array], Array] = nn.relu
    dropout: ScalarLike = 0.0
    batch_norm: bool = False
    momentum: ScalarLike = 0.9

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch outputs"]:
        """Returns the outputs; `train` switches dropout on and batch norm to the batch's own statistics.

        Raises:
          ValueError: the images are not of rank 4, or too small to be halved by every block.
        """
        _check.number("momentum", self.momentum, low=0.0, high=1.0)
        if x.ndim != 4 or min(x.shape[1:3]) < 2 ** len(self.features):
            raise InputError(
                "x",
                x.shape,
                f"a CNN with {len(self.features)} blocks needs images (batch, height, width, channels) of at least {2 ** len(self.features)} pixels a side",
                "Use fewer blocks, or an MLP.",
            )
        for channels in self.features:
            x = nn.Conv(_check.count("features", channels), self.kernel)(x)
            if self.batch_norm:
                x = nn.BatchNorm(use_running_average=not train, momentum=cast("float", self.momentum))(x)
            x = nn.max_pool(self.activation(x), (2, 2), strides=(2, 2))
        x = Dropout(self.dropout, deterministic=not train)(x.reshape(x.shape[0], -1))
        return nn.Dense(_check.count("outputs", self.outputs))(x)
