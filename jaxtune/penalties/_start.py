"""The distance to where training begins, for transfer."""

import jax.numpy as jnp

from jaxtune._errors import InputError
from jaxtune._tree import by_path, structure_name
from jaxtune._types import PyTree, Scalar
from jaxtune.penalties._penalty import Penalty, Strength, Where, check_strength, is_kernel, times


def l2_sp(strength: Strength, start: PyTree, *, where: Where = is_kernel, name: str = "l2_sp") -> Penalty:
    """Returns `strength * sum (w - w0)^2`, the squared distance to a starting point.

    Parameters that the starting point does not have, such as those of a new head, are left out: give them an `l2` of
    their own.

    Args:
      strength: at least 0, or strengths by path prefix; may be traced.
      start: parameters w0, by the same paths and of the same shapes; those of a trained model, say.
      where: `where(path, leaf)` chooses among the parameters that both have; by default kernels.
      name: logged as `train_penalty_<name>`.

    Raises:
      ValueError: when used, if shapes differ, or it falls on no parameter.

    References:
      Li, Grandvalet, Davoine, "Explicit inductive bias for transfer learning with convolutional networks", ICML 2018.
    """
    check_strength("strength", strength)
    anchors = by_path(start)

    def fn(params: PyTree) -> Scalar:
        distances = {}
        for place, leaf in by_path(params).items():
            if place not in anchors or not where(place, leaf):
                continue
            if jnp.shape(anchors[place]) != leaf.shape:
                reason = f"{place} has shape {leaf.shape} in the model"
                raise InputError("start", jnp.shape(anchors[place]), reason, "Leave out what does not fit.")
            distances[place] = jnp.square(leaf - anchors[place]).sum()
        if not distances:
            reason = f"it has no parameter of the model, which has {structure_name(params)}"
            raise InputError("start", sorted(anchors), reason, "Pass parameters by the same paths.")
        return times(strength, distances)

    return Penalty(name, fn)
