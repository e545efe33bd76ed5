"""NNX shells over the functions of `jaxtune.nn`."""

from jaxtune.nn.nnx._dense import (
    DropConnectDense as DropConnectDense,
    GaussianVariationalDense as GaussianVariationalDense,
)
from jaxtune.nn.nnx._normalization import (
    BatchNorm as BatchNorm,
    GroupNorm as GroupNorm,
    InstanceNorm as InstanceNorm,
    LayerNorm as LayerNorm,
    RMSNorm as RMSNorm,
)
from jaxtune.nn.nnx._random import (
    AlphaDropout as AlphaDropout,
    DropBlock as DropBlock,
    Dropout as Dropout,
    DropPath as DropPath,
    GaussianDropout as GaussianDropout,
    Noise as Noise,
    SpatialDropout as SpatialDropout,
    VariationalDropout as VariationalDropout,
)
from jaxtune.nn.nnx._recurrent import StateDropout as StateDropout
