"""Layers as pure functions; thin shells over them are in `jaxtune.nn.linen` and `jaxtune.nn.nnx`."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from jaxtune.nn import initializers as initializers
from jaxtune.nn._convolution import convolve as convolve, max_pool as max_pool
from jaxtune.nn._dropout import dropout as dropout
from jaxtune.nn._noise import alpha_dropout as alpha_dropout, gaussian_dropout as gaussian_dropout, noise as noise
from jaxtune.nn._normalization import (
    RunningStatistics as RunningStatistics,
    batch_norm as batch_norm,
    group_norm as group_norm,
    instance_norm as instance_norm,
    layer_norm as layer_norm,
    rms_norm as rms_norm,
    spectral_norm as spectral_norm,
    weight_norm as weight_norm,
)
from jaxtune.nn._structured import (
    drop_block as drop_block,
    drop_connect as drop_connect,
    drop_path as drop_path,
    spatial_dropout as spatial_dropout,
)
from jaxtune.nn._variational import (
    dawson as dawson,
    state_dropout as state_dropout,
    variational_dense as variational_dense,
    variational_dropout as variational_dropout,
    variational_kl as variational_kl,
)

if TYPE_CHECKING:
    from jaxtune.nn import linen as linen, nnx as nnx


def __getattr__(name: str) -> ModuleType:
    # Each shell imports its half of Flax, so it waits until someone asks for it.
    if name in ("linen", "nnx"):
        return importlib.import_module(f"jaxtune.nn.{name}")
    raise AttributeError(f"module 'jaxtune.nn' has no attribute {name!r}")
