"""NNX modules as pairs of pure functions."""

from collections.abc import Callable
from typing import Any

from flax import nnx

from jaxtune._errors import InputTypeError
from jaxtune._keys import MODEL_STREAMS, stream_key
from jaxtune._types import Key, PyTree
from jaxtune.models._model import Model


def adapt_nnx(builder: Callable[[nnx.Rngs], nnx.Module]) -> Model:
    """Returns an NNX module, given by its builder, as a `Model`.

    The module is built anew inside every call and its variables are then overwritten, so the builder may close over
    traced hyperparameters; the initializers that this leaves without use cost nothing once compiled. Variables of type
    `nnx.Param` are parameters; random state is derived from the key; all other variables are state.
    """

    def build(key: Key) -> nnx.Module:
        streams = {name: stream_key(key, name) for name in MODEL_STREAMS}
        model = builder(nnx.Rngs(stream_key(key, "default"), **streams))
        if not isinstance(model, nnx.Module):
            raise InputTypeError(
                "model",
                type(model).__name__,
                "a builder has to return an nnx.Module",
                "Pass `lambda rngs: Net(..., rngs=rngs)`.",
            )
        return model

    def split(model: nnx.Module) -> Any:
        """Returns the structure, parameters, random state, and all other state."""
        return nnx.split(model, nnx.Param, nnx.RngState, ...)

    def variables(model: nnx.Module) -> tuple[PyTree, PyTree]:
        _, params, _, state = split(model)
        return nnx.to_pure_dict(params), nnx.to_pure_dict(state)

    def init(key: Key, x: PyTree) -> tuple[PyTree, PyTree]:
        del x
        return variables(build(key))

    def apply(params: PyTree, state: PyTree, x: PyTree, *, key: Key, train: bool) -> tuple[Any, PyTree]:
        graph, params_now, randomness, state_now = split(build(key))
        nnx.replace_by_pure_dict(params_now, params)
        nnx.replace_by_pure_dict(state_now, state)
        model = nnx.merge(graph, params_now, randomness, state_now)
        model.train() if train else model.eval()
        outputs = model(x)
        return outputs, variables(model)[1] if train else state

    return Model(init, apply)
