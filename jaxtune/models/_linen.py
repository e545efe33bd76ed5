"""Linen modules as pairs of pure functions."""

import inspect
from typing import Any

import flax.linen as nn

from jaxtune._keys import MODEL_STREAMS, stream_key
from jaxtune._types import Key, PyTree
from jaxtune.models._model import Model


def adapt_linen(module: nn.Module) -> Model:
    """Returns a Linen module as a `Model`.

    Its `__call__` takes the inputs and whichever of `train`, `training`, `deterministic`, `use_running_average` it
    names. Every collection but `params` is state; what is sown into `intermediates` is dropped.
    """
    accepted = inspect.signature(type(module).__call__).parameters

    def flags(train: bool) -> dict[str, Any]:
        switches = {"train": train, "training": train, "deterministic": not train, "use_running_average": not train}
        return {name: value for name, value in switches.items() if name in accepted}

    def init(key: Key, x: PyTree) -> tuple[PyTree, PyTree]:
        variables = dict(module.init({name: stream_key(key, name) for name in MODEL_STREAMS}, x, **flags(train=False)))
        params = variables.pop("params", {})
        variables.pop("intermediates", None)
        return params, variables

    def apply(params: PyTree, state: PyTree, x: PyTree, *, key: Key, train: bool) -> tuple[Any, PyTree]:
        variables = {"params": params, **state}
        if not train:
            return module.apply(variables, x, **flags(train)), state
        rngs = {name: stream_key(key, name) for name in MODEL_STREAMS}
        return module.apply(variables, x, rngs=rngs, mutable=list(state), **flags(train))

    return Model(init, apply)
