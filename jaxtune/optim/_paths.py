"""Different treatment of different parameters, chosen by path."""

from collections.abc import Mapping
from typing import Any

import jax
import optax

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError
from jaxtune._tree import by_prefix, path_name, structure_name
from jaxtune._types import PyTree, ScalarLike
from jaxtune.penalties import Where


def freeze(optimizer: optax.GradientTransformation, where: Where) -> optax.GradientTransformationExtraArgs:
    """Returns the optimizer with some parameters left as they are, to the bit, and without optimizer state.

    Args:
      optimizer: what updates the others.
      where: `where(path, leaf)` chooses the parameters that are frozen.

    Raises:
      ValueError: at the start, if that is none of them or all.

    Example:
      >>> import optax
      >>> import jaxtune as jt
      >>> head_only = jt.optim.freeze(optax.adam(1e-3), lambda path, leaf: not path.startswith("head"))
    """

    def label(params: PyTree) -> PyTree:
        named = jax.tree_util.tree_map_with_path(
            lambda path, leaf: "frozen" if where(path_name(path), leaf) else "moving", params
        )
        if len(found := set(jax.tree.leaves(named))) == 1:
            reason = "it freezes no parameter" if found == {"moving"} else "it freezes all parameters"
            choice = f"Choose among: {structure_name(params)}."
            raise InputError("where", getattr(where, "__name__", where), reason, choice)
        return named

    return optax.partition({"moving": optimizer, "frozen": optax.set_to_zero()}, label)


def scale_by_path(scales: Mapping[str, ScalarLike], *, default: ScalarLike = 1.0) -> optax.GradientTransformation:
    """Returns the transformation that multiplies updates by a factor by path; last in a chain, that scales learning rates.

    Args:
      scales: from path prefixes, such as `"Dense_0"` or `"Dense_0/bias"`, to factors of at least 0, which may be traced.
        The longest prefix counts. A factor of 0 leaves parameters unchanged.
      default: factor of all others.

    Raises:
      ValueError: at the first update, a prefix that no parameter has.

    Example:
      >>> import optax
      >>> import jaxtune as jt
      >>> optimizer = optax.chain(optax.adam(1e-3), jt.optim.scale_by_path({"Dense_0": 0.1}))

    References:
      Howard and Ruder, "Universal language model fine-tuning for text classification", ACL 2018, section 3.2.
    """
    if not isinstance(scales, Mapping):
        raise InputTypeError("scales", scales, "factors have path prefixes", "Pass {'Dense_0': 0.1}, say.")
    for prefix, scale in {**scales, "default": default}.items():
        _check.number(f"scales[{prefix!r}]", scale, low=0.0)

    def update(updates: PyTree, state: Any, params: PyTree = None) -> tuple[PyTree, Any]:
        del params
        factors = by_prefix(updates, scales, default, "scales")
        return jax.tree.map(lambda u, factor: u * factor, updates, factors), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
