"""NNX modules as pairs of pure functions."""

from collections.abc import Callable
from typing import Any

from flax import nnx

from jaxtune._errors import InputTypeError
from jaxtune._keys import MODEL_STREAMS, stream_key
from jaxtune._types import Key, PyTree
from jaxtune.models._intermediates import named_intermediates
from jaxtune.models._model import Model


def adapt_nnx(builder: Callable[[nnx.Rngs], nnx.Module]) -> Model:
    """Returns an NNX module, given by its builder, as a `Model`.

    The module is built anew inside every call and its variables are then overwritten, so the builder may close over
    traced hyperparameters; the initializers that this leaves without use cost nothing once compiled. Variables of type
    `nnx.Param` are parameters; random state is derived from the key; all other variables are state.
    """

    if isinstance(builder, nnx.Module):
        raise InputTypeError(
            "model",
            type(builder).__name__,
            "it is built already, and would be the same for every seed",
            "Pass a builder: `lambda rngs: Net(..., rngs=rngs)`.",
        )

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
        """Returns the structure, parameters, all other variables, and what is built anew in every call.

        That is random state, what was sown, and arrays that are no variables, such as a traced dropout rate.
        """
        lasting = nnx.filterlib.All(nnx.Variable, nnx.filterlib.Not(nnx.filterlib.Any(nnx.RngState, nnx.Intermediate)))
        return nnx.split(model, nnx.Param, lasting, ...)

    def variables(model: nnx.Module) -> tuple[PyTree, PyTree]:
        _, params, state, _ = split(model)
        return nnx.to_pure_dict(params), nnx.to_pure_dict(state)

    def init(key: Key, x: PyTree) -> tuple[PyTree, PyTree]:
        del x
        return variables(build(key))

    def merged(params: PyTree, state: PyTree, key: Key, train: bool) -> nnx.Module:
        graph, params_now, state_now, fresh = split(build(key))
        nnx.replace_by_pure_dict(params_now, params)
        nnx.replace_by_pure_dict(state_now, state)
        model = nnx.merge(graph, params_now, state_now, fresh)
        model.train() if train else model.eval()
        return model

    def apply(params: PyTree, state: PyTree, x: PyTree, *, key: Key, train: bool) -> tuple[Any, PyTree]:
        model = merged(params, state, key, train)
        outputs, _ = nnx.capture(model, nnx.Intermediate)(x)  # what a model sows needs somewhere to go
        return outputs, variables(model)[1] if train else state

    def capture(params: PyTree, state: PyTree, x: PyTree, *, key: Key, train: bool) -> tuple[Any, PyTree, Any]:
        model = merged(params, state, key, train)
        outputs, seen = nnx.capture(model, nnx.Intermediate, method_outputs=nnx.Intermediate)(x)
        named = named_intermediates(nnx.to_pure_dict(seen))
        return outputs, variables(model)[1] if train else state, named

    return Model(init, apply, capture)
