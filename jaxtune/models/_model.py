"""What every model is inside jaxtune."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Model(NamedTuple):
    """A network as two pure functions.

    Attributes:
      init: `init(key, x) -> (params, state)`; `x` is a batch of inputs, of which only the shapes matter.
      apply: `apply(params, state, x, *, key, train) -> (outputs, state)`; `train` is a Python bool, `key` feeds dropout
        and noise, `state` holds what is neither learned nor constant, such as batch norm's running statistics.
      capture: `capture(params, state, x, *, key, train) -> (outputs, state, intermediates)`: the same with what layers
        return and what is sown, by name, such as `"Dense_0"`; None where a model does not tell.
      shifted: `shifted(change) -> Model`: the model that adds `change` to what its network sees; None where that is `x`.
    """

    init: Callable[..., Any]
    apply: Callable[..., Any]
    capture: Callable[..., Any] | None = None
    shifted: Callable[..., Any] | None = None
