"""What a penalty is, and which parameters it falls on."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxtune._errors import InputError
from jaxtune._tree import path_name, structure_name
from jaxtune._types import Array, PyTree, Scalar

Where = Callable[[str, Any], bool]
"""Chooses parameters: `where(path, leaf)`, with paths such as `"Dense_0/kernel"`."""


@dataclasses.dataclass(frozen=True)
class Penalty:
    """A function of the parameters, or of what a model makes of a batch, with a name: `penalty(params) -> scalar`.

    Attributes:
      name: it is logged as `train_penalty_<name>`.
      fn: `fn(params, **needed) -> scalar`.
      needs: what it needs besides the parameters, of `"outputs"`, `"intermediates"` and `"weight"`.
    """

    name: str
    fn: Callable[..., Scalar]
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise InputError(
                "name", self.name, "a penalty's name is an identifier", "Choose another, such as 'l2_head'."
            )

    def __call__(
        self,
        params: PyTree,
        *,
        outputs: Any = None,
        intermediates: Mapping[str, Array] | None = None,
        weight: Array | None = None,
    ) -> Scalar:
        """Returns the penalty, strength included.

        Args:
          params: parameters.
          outputs: what the model returns for a batch, where it needs that.
          intermediates: what its layers return, by name, where it needs that.
          weight: how much each example counts, shape (batch,); None is 1.

        Raises:
          ValueError: it needs something that is missing.
        """
        given = {"outputs": outputs, "intermediates": intermediates, "weight": weight}
        for need in self.needs:
            if given[need] is None and need != "weight":
                raise InputError(
                    need, None, f"the penalty {self.name!r} needs it", f"Call penalty(params, {need}=...)."
                )
        return self.fn(params, **{need: given[need] for need in self.needs})


def is_kernel(path: str, leaf: Any) -> bool:
    """Returns whether a parameter is a kernel: a matrix or filter, neither a bias nor a normalization's scale."""
    return leaf.ndim >= 2 and path.rsplit("/", 1)[-1] not in ("bias", "scale", "log_alpha")


def selected(params: PyTree, where: Where) -> list[Array]:
    """Returns the parameters for which `where(path, leaf)` holds.

    Raises:
      ValueError: it holds for none, so the penalty would be zero without a sign.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    chosen = [jnp.asarray(leaf) for path, leaf in leaves if where(path_name(path), leaf)]
    if not chosen:
        raise InputError(
            "where",
            getattr(where, "__name__", where),
            "the penalty falls on no parameter",
            f"Choose among: {structure_name(params)}.",
        )
    return chosen
