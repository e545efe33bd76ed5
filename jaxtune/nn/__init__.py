"""Layers as pure functions; thin shells over them are in `jaxtune.nn.linen` and `jaxtune.nn.nnx`."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from jaxtune.nn._convolution import convolve as convolve, max_pool as max_pool
from jaxtune.nn._dropout import dropout as dropout

if TYPE_CHECKING:
    from jaxtune.nn import linen as linen, nnx as nnx


def __getattr__(name: str) -> ModuleType:
    # Each shell imports its half of Flax, so it waits until someone asks for it.
    if name in ("linen", "nnx"):
        return importlib.import_module(f"jaxtune.nn.{name}")
    raise AttributeError(f"module 'jaxtune.nn' has no attribute {name!r}")
