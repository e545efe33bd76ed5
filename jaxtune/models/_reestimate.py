"""Running means and variances, estimated anew for given parameters."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._tree import by_path
from jaxtune._types import Array, Key, PyTree
from jaxtune.models._adapt import as_model


def reestimate(
    model: Any, params: PyTree, state: PyTree, x: PyTree, *, key: Key | None = None, batch_size: int = 256
) -> PyTree:
    """Returns the state with running means and variances as they are over all of `x`, for these parameters.

    Running statistics lag behind the parameters, and those of an average of parameters were never seen. These are
    put together from what batches of at most `batch_size` show: `mean = E m` and `var = E v + E (m - mean)^2`, over means m and
    variances v of batches of equal size, which overlap a little where the size does not divide the number of examples.

    Statistics are the leaves of the state that are called `mean` or `var`, as those of Flax's `BatchNorm` and of jaxtune's
    are, and that a call in training changes in the form `s <- momentum s + (1 - momentum) batch's`. What it does not change
    stays as it is.

    Args:
      model: a Linen module, a builder of an NNX module, or a `jt.Model`.
      params: parameters.
      state: the model's state.
      x: inputs, along a leading axis.
      key: feeds dropout and noise; None is `jax.random.key(0)`.
      batch_size: examples that run through the model at a time.

    References:
      Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3.
      Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018, section 3.2.
    """
    inner = as_model(model)
    root = jax.random.key(0) if key is None else key
    n = jax.tree.leaves(x)[0].shape[0]
    batches = -(-n // _check.count("batch_size", batch_size))
    size = -(-n // batches)

    leaves, structure = by_path(state), jax.tree.structure(state)
    names = list(leaves)
    places = [i for i, name in enumerate(names) if name.rpartition("/")[2] in ("mean", "var")]
    if not places:
        return state
    old = [jnp.asarray(leaf) for leaf in leaves.values()]

    def after(given: dict[int, Array], i: Any) -> dict[int, Array]:
        """Returns the statistics, by place, after a training call on batch i, if they are the given ones before it."""
        rows = (i + batches * jnp.arange(size)) % n  # spread out, for examples may be sorted
        batch = jax.tree.map(lambda a: jnp.take(a, rows, axis=0), x)
        tree = jax.tree.unflatten(structure, [given.get(place, leaf) for place, leaf in enumerate(old)])
        _, new = inner.apply(params, tree, batch, key=jax.random.fold_in(root, i), train=True)
        found = by_path(new)
        return {place: found[names[place]].astype(_wide(old[place])) for place in places}

    held = {place: old[place].astype(_wide(old[place])) for place in places}
    moves = {place: (leaf != held[place]).any() for place, leaf in after(held, 0).items()}  # the others are left alone

    def with_statistics(given: dict[int, Array]) -> dict[int, Array]:
        return {place: jnp.where(moves[place], given[place], held[place]) for place in places}

    # s <- m s + (1 - m) b, with one batch b from two starts, the second at the size of (1 - m) b, so that nothing cancels.
    zeros = with_statistics(jax.tree.map(jnp.zeros_like, held))
    at_zero = after(zeros, 0)
    sizes = with_statistics({place: 1 + jnp.abs(leaf) for place, leaf in at_zero.items()})
    at_size = after(sizes, 0)
    share = {
        place: 1 - (at_size[place] - at_zero[place]) / jnp.where(moves[place], sizes[place], 1.0) for place in places
    }
    own = jax.lax.map(lambda i: after(zeros, i), jnp.arange(batches))
    own = {place: leaf / jnp.where(moves[place], share[place], 1.0)[None] for place, leaf in own.items()}

    by_name = {names[place]: place for place in places}
    new = list(old)
    for name, place in by_name.items():
        value = own[place].mean(0)
        if name.endswith("var") and (mean := by_name.get(name.removesuffix("var") + "mean")) is not None:
            value = value + own[mean].var(0)
        new[place] = jnp.where(moves[place], value, held[place]).astype(old[place].dtype)
    return jax.tree.unflatten(structure, new)


def _wide(leaf: Array) -> Any:
    return jnp.promote_types(leaf.dtype, jnp.float32)
