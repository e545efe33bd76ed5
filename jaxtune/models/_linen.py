"""Linen modules as pairs of pure functions."""

import inspect
from typing import Any

import flax.linen as nn
import jax

from jaxtune._errors import InputError
from jaxtune._keys import MODEL_STREAMS, stream_key
from jaxtune._types import Key, PyTree
from jaxtune.models._intermediates import named_intermediates
from jaxtune.models._model import Model


def adapt_linen(module: nn.Module) -> Model:
    """Returns a Linen module as a `Model`.

    Its `__call__` takes the inputs and whichever of `train`, `training`, `is_training`, `deterministic`,
    `use_running_average` it names. Every collection but `params` is state; what is sown into `intermediates` is dropped.
    """
    accepted = inspect.signature(type(module).__call__).parameters

    def flags(train: bool) -> dict[str, Any]:
        switches = dict.fromkeys(("train", "training", "is_training"), train)
        switches |= dict.fromkeys(("deterministic", "use_running_average"), not train)
        return {name: value for name, value in switches.items() if name in accepted}

    def init(key: Key, x: PyTree) -> tuple[PyTree, PyTree]:
        variables = dict(module.init({name: stream_key(key, name) for name in MODEL_STREAMS}, x, **flags(train=False)))
        params = variables.pop("params", {})
        variables.pop("intermediates", None)
        if "batch_stats" in variables and not flags(train=True):
            reason = "it has running statistics, but no argument that tells training from evaluation"
            raise InputError("model", type(module).__name__, reason, "Give its __call__ an argument `train`.")
        return params, variables

    def run(params: PyTree, state: PyTree, x: PyTree, key: Key, train: bool, capture: bool) -> Any:
        rngs = {name: stream_key(key, name) for name in MODEL_STREAMS}
        mutable = [*state, "intermediates"] if capture else list(state)
        outputs, new = module.apply(
            {"params": params, **state}, x, rngs=rngs, mutable=mutable, capture_intermediates=capture, **flags(train)
        )
        new = dict(new)
        seen = new.pop("intermediates", {})
        if not train:
            return outputs, state, seen
        for name in state:
            if str(jax.tree.structure(new[name])) != str(jax.tree.structure(state[name])):
                reason = "its structure changes from call to call, as that of what is sown does"
                raise InputError("collection", name, reason, "Sow into 'intermediates', or store one variable.")
        return outputs, new, seen

    def apply(params: PyTree, state: PyTree, x: PyTree, *, key: Key, train: bool) -> tuple[Any, PyTree]:
        return run(params, state, x, key, train, capture=False)[:2]

    def capture(params: PyTree, state: PyTree, x: PyTree, *, key: Key, train: bool) -> tuple[Any, PyTree, Any]:
        outputs, new, seen = run(params, state, x, key, train, capture=True)
        return outputs, new, named_intermediates(seen)

    return Model(init, apply, capture)
