"""A model whose inputs are normalized, with the statistics in its state."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxtune._types import Key, PyTree
from jaxtune.data import Normalization
from jaxtune.models._model import Model


def normalized(model: Model, normalization: Normalization) -> Model:
    """Returns the model with its inputs normalized.

    Its state is `{"inputs": statistics, "model": state}`. `init` fits the statistics to the inputs that it is given:
    replace them by those of the whole training split.

    Args:
      model: the model on normalized inputs.
      normalization: what is done to inputs, such as `jt.data.standardize()`.
    """

    def init(key: Key, x: PyTree) -> tuple[PyTree, PyTree]:
        statistics = normalization.fit(x)
        params, state = model.init(key, normalization.apply(statistics, x))
        return params, {"inputs": statistics, "model": state}

    def apply(params: PyTree, state: PyTree, x: PyTree, *, key: Key, train: bool) -> tuple[Any, PyTree]:
        x = normalization.apply(state["inputs"], x)
        outputs, inner = model.apply(params, state["model"], x, key=key, train=train)
        return outputs, {"inputs": state["inputs"], "model": inner}

    def capture(params: PyTree, state: PyTree, x: PyTree, *, key: Key, train: bool) -> tuple[Any, PyTree, Any]:
        assert model.capture is not None
        x = normalization.apply(state["inputs"], x)
        outputs, inner, seen = model.capture(params, state["model"], x, key=key, train=train)
        return outputs, {"inputs": state["inputs"], "model": inner}, seen

    def shifted(change: PyTree) -> Model:
        def moved(statistics: PyTree, x: PyTree) -> PyTree:
            return jax.tree.map(jnp.add, normalization.apply(statistics, x), change)

        return normalized(model, Normalization(normalization.fit, moved))

    return Model(init, apply, None if model.capture is None else capture, shifted)
