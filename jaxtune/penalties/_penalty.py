"""What a penalty is, and which parameters it falls on."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError
from jaxtune._tree import by_path, check_prefixes, longest_prefix, structure_name
from jaxtune._types import Array, PyTree, Scalar, ScalarLike

Where = Callable[[str, Any], bool]
"""Chooses parameters: `where(path, leaf)`, with paths such as `"Dense_0/kernel"`."""


Strength = ScalarLike | Mapping[str, ScalarLike]
"""A strength of at least 0, which may be traced. Or strengths by path prefix, such as `{"Dense_0": 1e-3, "Dense_1": 0.1}`:
the longest prefix that a parameter has counts, and a parameter that has none is not penalized."""


_NEEDS = ("outputs", "intermediates", "input_gradient", "weight")


@dataclasses.dataclass(frozen=True)
class Penalty:
    """A function of the parameters, or of what a model makes of a batch, with a name: `penalty(params) -> scalar`.

    Attributes:
      name: it is logged as `train_penalty_<name>`.
      fn: `fn(params, **needed) -> scalar`.
      needs: what it needs besides the parameters, of `"outputs"`, `"intermediates"`, `"input_gradient"` and `"weight"`.
    """

    name: str
    fn: Callable[..., Scalar]
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise InputError(
                "name", self.name, "a penalty's name is an identifier", "Choose another, such as 'l2_head'."
            )

        for need in self.needs:
            if isinstance(self.needs, str) or need not in _NEEDS:
                raise InputError("needs", self.needs, "there is no such thing", f"Pass a tuple of {', '.join(_NEEDS)}.")

    def __call__(
        self,
        params: PyTree,
        *,
        outputs: Any = None,
        intermediates: Mapping[str, Array] | None = None,
        input_gradient: Any = None,
        weight: Array | None = None,
    ) -> Scalar:
        """Returns the penalty, strength included.

        Args:
          params: parameters.
          outputs: what the model returns for a batch, where it needs that.
          intermediates: what its layers return, by name, where it needs that.
          input_gradient: gradient of each example's loss in the example, in the shape of the inputs, where it needs that.
          weight: how much each example counts, shape (batch,); None is 1.

        Raises:
          ValueError: it needs something that is missing.
        """
        given = {
            "outputs": outputs,
            "intermediates": intermediates,
            "input_gradient": input_gradient,
            "weight": weight,
        }
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
    return list(selected_by_path(params, where).values())


def selected_by_path(params: PyTree, where: Where) -> dict[str, Array]:
    """Returns what `selected` does, by path."""
    if not callable(where):
        cure = "Pass a function: lambda path, leaf: path.endswith('kernel'), say."
        raise InputTypeError("where", where, "it chooses by no rule", cure)
    chosen = {path: jnp.asarray(leaf) for path, leaf in by_path(params).items() if where(path, leaf)}
    if not chosen:
        raise InputError(
            "where",
            getattr(where, "__name__", where),
            "the penalty falls on no parameter",
            f"Choose among: {structure_name(params)}.",
        )
    return chosen


def check_strength(name: str, strength: Strength) -> None:
    """Refuses a strength that is no number of at least 0, by name."""
    if isinstance(strength, Mapping) and not strength:
        raise InputError(name, strength, "there is no strength in it", "Pass a number, or strengths by path prefix.")
    given = strength if isinstance(strength, Mapping) else {None: strength}
    for prefix, value in given.items():
        _check.number(name if prefix is None else f"{name}[{prefix!r}]", value, low=0.0)


def is_off(strength: Strength) -> bool:
    """Returns whether a strength is the number 0 and not traced, so that nothing has to be computed."""
    return isinstance(strength, (int, float)) and strength == 0


def times(strength: Strength, values: Mapping[str, Array], name: str = "strength") -> Scalar:
    """Returns the sum of some values by path, each times its strength.

    Raises:
      ValueError: a strength for a prefix that no path has.
    """
    if not isinstance(strength, Mapping):
        return strength * jnp.stack(list(values.values())).sum()
    check_prefixes(values, strength, name)
    found = {path: longest_prefix(path, strength) for path in values}
    return jnp.stack([strength[p] * values[path] for path, p in found.items() if p is not None]).sum()


def shares(a: Array, weight: Array | None) -> Array:
    """Returns the share of each example in a mean over the batch."""
    if weight is None:
        return jnp.full(a.shape[0], 1 / a.shape[0], a.dtype)
    return weight / jnp.maximum(weight.sum(), jnp.finfo(weight.dtype).tiny)
