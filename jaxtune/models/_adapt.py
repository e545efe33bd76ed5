"""From whatever a recipe calls its model to a `Model`."""

from typing import Any

import flax.linen as nn

from jaxtune._errors import InputTypeError
from jaxtune.models._model import Model


def as_model(model: Any) -> Model:
    """Returns a Linen module, an NNX builder or a `Model` as a `Model`.

    Args:
      model: a `flax.linen.Module`; a function of `rngs` that returns a `flax.nnx.Module`; or a `Model`.

    Raises:
      TypeError: it is none of these.
    """
    if isinstance(model, Model):
        return model
    if isinstance(model, nn.Module):
        from jaxtune.models._linen import adapt_linen

        return adapt_linen(model)
    if isinstance(model, type) or not callable(model):
        raise InputTypeError(
            "model",
            model,
            "it is no model",
            "Pass a Linen module, a builder `lambda rngs: Net(rngs=rngs)` of an NNX module, or jt.Model(init, apply).",
        )
    from jaxtune.models._nnx import adapt_nnx

    return adapt_nnx(model)
