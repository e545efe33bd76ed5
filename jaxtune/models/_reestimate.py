"""Running means and variances, estimated anew for given parameters."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._tree import path_name
from jaxtune._types import Array, Key, PyTree
from jaxtune.models._adapt import as_model


def reestimate(
    model: Any, params: PyTree, state: PyTree, x: PyTree, *, key: Key | None = None, batch_size: int = 256
) -> PyTree:
    """Returns the state with running means and variances as they are over all of `x`, for these parameters.

    Running statistics lag behind the parameters, and those of an average of parameters were never seen. These are the
    those of what batches of at most `batch_size` show: `mean = E m` and `var = E v + E (m - mean)^2`, over means m and
    variances v of batches of equal size, which overlap a little where the size does not divide the number of examples.

    Statistics are the leaves of the state that are called `mean` or `var`, as those of Flax's `BatchNorm` and of jaxtune's
    are, and that a call in training changes in the form `s <- momentum s + (1 - momentum) batch's`. With a momentum of 1
    they stay as they are.

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

    leaves, structure = jax.tree_util.tree_flatten_with_path(state)
    names = [path_name(path) for path, _ in leaves]
    places = [i for i, name in enumerate(names) if name.rpartition("/")[2] in ("mean", "var")]
    if not places:
        return state
    old = [jnp.asarray(leaf) for _, leaf in leaves]

    def after(given: float, i: Any) -> list[Array]:
        """Returns the statistics after a training call on batch i, if they are a given number before it."""
        start = i * (n - size) // max(batches - 1, 1)
        batch = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, size), x)
        leaves = [jnp.full_like(leaf, given) if i in places else leaf for i, leaf in enumerate(old)]
        tree = jax.tree.unflatten(structure, leaves)
        _, new = inner.apply(params, tree, batch, key=jax.random.fold_in(root, i), train=True)
        found = {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(new)}
        return [found[names[place]] for place in places]

    zero, one = after(0.0, 0), after(1.0, 0)
    momentum = {place: b - a for place, a, b in zip(places, zero, one, strict=True)}
    own = dict(zip(places, jax.lax.map(lambda i: after(0.0, i), jnp.arange(batches)), strict=True))
    for place in places:
        own[place] = own[place] / jnp.where(momentum[place] < 1, 1 - momentum[place], 1.0)[None]

    by_name = {names[place]: place for place in places}
    new = list(old)
    for name, place in by_name.items():
        value = own[place].mean(0)
        if name.endswith("var") and (mean := by_name.get(name.removesuffix("var") + "mean")) is not None:
            value = value + own[mean].var(0)
        new[place] = jnp.where(momentum[place] < 1, value, old[place]).astype(old[place].dtype)
    return jax.tree.unflatten(structure, new)
