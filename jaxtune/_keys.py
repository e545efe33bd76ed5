"""Random keys are derived, never carried.

A draw is a function of (seed, stream, place in the model, step) and of nothing else, so arms that share a seed share
their initial parameters, their batches, and the uniforms behind their masks: common random numbers.
"""

import zlib

import jax

from jaxtune._types import Count, Key

MODEL_STREAMS = ("params", "dropout", "noise")
"""The streams that a Flax model is given in a training step."""


def stream_key(root: Key, stream: str) -> Key:
    """Returns the key of a named stream: `fold_in(root, crc32(stream))`."""
    return jax.random.fold_in(root, zlib.crc32(stream.encode()))


def key_for(root: Key, stream: str, step: Count | int) -> Key:
    """Returns the key of a stream at one step.

    Args:
      root: key of the seed.
      stream: name of the source of randomness, such as `"init"`, `"batches"`, `"dropout"`.
      step: update or epoch that the draw belongs to; may be traced.
    """
    return jax.random.fold_in(stream_key(root, stream), step)
