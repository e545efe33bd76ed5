"""Models whose kernels are functions of what is learned: weight and spectral normalization of unmodified models."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._tree import by_path, path_name, structure_name
from jaxtune._types import Array, Key, PyTree, ScalarLike
from jaxtune.models._adapt import as_model
from jaxtune.models._model import Model
from jaxtune.nn import spectral_norm, weight_norm
from jaxtune.nn._power import power_start
from jaxtune.penalties import Where, group_norms, is_kernel


def with_weight_norm(model: Any, *, where: Where = is_kernel) -> Model:
    """Returns a model whose kernels are learned as directions and lengths: the columns of W are `g v / ||v||`.

    Its parameters are `{"model": parameters, "length": lengths g}`; in the beginning it is the given model. A penalty on
    kernels falls on the directions v, which the outputs do not depend on: penalize the lengths, with
    `where=lambda path, leaf: path.startswith("length")`.

    Args:
      model: a Linen module, a builder of an NNX module, or a `jt.Model`.
      where: `where(path, leaf)` chooses the kernels.

    Raises:
      ValueError: at init, `where` chooses none.

    References:
      Salimans and Kingma, "Weight normalization: a simple reparameterization to accelerate training of deep neural
      networks", NeurIPS 2016.
    """
    inner = as_model(model)

    def init(key: Key, x: PyTree) -> tuple[PyTree, PyTree]:
        params, state = inner.init(key, x)
        chosen = _chosen(params, where)
        # A column of zeros has no direction, and would never get one: any will do, at length 0.
        params = _replaced(params, chosen, lambda path, w: jnp.where(group_norms(w, "units") > 0, w, jnp.ones_like(w)))
        lengths = {path: group_norms(w, "units").reshape(-1) for path, w in chosen.items()}
        return {"model": params, "length": _nested(lengths)}, state

    def kernels(params: PyTree, state: PyTree, train: bool) -> tuple[PyTree, PyTree, dict[str, Array]]:
        del train
        lengths = by_path(params["length"])
        return _replaced(params["model"], lengths, lambda path, w: weight_norm(w, lengths[path])), state, {}

    return _through(inner, init, kernels, lambda new, carried: new)


def with_spectral_norm(
    model: Any, bound: ScalarLike = 1.0, *, always: bool = True, where: Where = is_kernel, iterations: int = 1
) -> Model:
    """Returns a model whose kernels have a largest singular value of `bound`; see `jaxtune.nn.spectral_norm`.

    Its state is `{"model": state, "vector": vectors v}`, with those of the power method, which move in training. Of a model
    with both normalizations this one comes first: `with_weight_norm(with_spectral_norm(model))`; the other way round the
    lengths undo it.

    Args:
      model: a Linen module, a builder of an NNX module, or a `jt.Model`.
      bound: above 0; may be traced; infinity is off where `always` is False.
      always: whether kernels with a smaller value are scaled up, too.
      where: `where(path, leaf)` chooses the kernels.
      iterations: of the power method in a training call, at least 1; before training there are 20.

    Raises:
      ValueError: at init, `where` chooses none; a number is out of range.

    References:
      Miyato, Kataoka, Koyama, Yoshida, "Spectral normalization for generative adversarial networks", ICLR 2018.
      Gouk, Frank, Pfahringer, Cree, "Regularisation of neural networks by enforcing Lipschitz continuity", 2021.
    """
    _check.number("bound", bound, low=0.0, exclusive=True, infinity=None if always else "off")
    _check.count("iterations", iterations)
    inner = as_model(model)

    def init(key: Key, x: PyTree) -> tuple[PyTree, PyTree]:
        params, state = inner.init(key, x)
        vectors = {}
        for path, w in _chosen(params, where).items():
            vectors[path] = spectral_norm(w, power_start(w.shape[-1], w.dtype), iterations=20)[1]
        return params, {"model": state, "vector": _nested(vectors)}

    def kernels(params: PyTree, state: PyTree, train: bool) -> tuple[PyTree, PyTree, dict[str, Array]]:
        before = by_path(state["vector"])
        carried = dict(before)

        def scaled(path: str, w: Array) -> Array:
            turns = iterations if train else 0
            w, carried[path] = spectral_norm(w, before[path], bound=bound, always=always, iterations=turns)
            return w

        return _replaced(params, carried, scaled), state["model"], carried

    return _through(inner, init, kernels, lambda new, carried: {"model": new, "vector": _nested(carried)})


def _chosen(params: PyTree, where: Where) -> dict[str, Array]:
    """Returns the kernels by path.

    Raises:
      ValueError: there are none.
    """
    chosen = {path: leaf for path, leaf in by_path(params).items() if where(path, leaf) and leaf.ndim >= 2}
    if not chosen:
        name = getattr(where, "__name__", where)
        raise InputError("where", name, "it chooses no kernel", f"Choose among: {structure_name(params)}.")
    return chosen


def _nested(leaves: Mapping[str, Array]) -> dict[str, Any]:
    """Returns arrays by path as dicts of dicts."""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *outer, last = path.split("/")
        inside = tree
        for name in outer:
            inside = inside.setdefault(name, {})
        inside[last] = leaf
    return tree


def _replaced(params: PyTree, paths: Any, change: Callable[[str, Array], Array]) -> PyTree:
    """Returns the parameters with those at some paths changed."""

    def new(path: Any, w: Array) -> Array:
        name = path_name(path)
        return change(name, w) if name in paths else w

    return jax.tree_util.tree_map_with_path(new, params)


def _through(inner: Model, init: Callable[..., Any], kernels: Callable[..., Any], joined: Callable[..., Any]) -> Model:
    """Returns the model that runs another on changed parameters.

    Args:
      inner: the other.
      init: the new model's.
      kernels: `kernels(params, state, train) -> (params, state, carried)`: what the other model is given.
      joined: `joined(new, carried) -> state`, from the other model's new state.
    """

    def apply(params: PyTree, state: PyTree, x: PyTree, *, key: Key, train: bool) -> Any:
        own, before, carried = kernels(params, state, train)
        outputs, new = inner.apply(own, before, x, key=key, train=train)
        return outputs, joined(new, carried)

    def capture(params: PyTree, state: PyTree, x: PyTree, *, key: Key, train: bool) -> Any:
        assert inner.capture is not None
        own, before, carried = kernels(params, state, train)
        outputs, new, seen = inner.capture(own, before, x, key=key, train=train)
        return outputs, joined(new, carried), seen

    return Model(init, apply, None if inner.capture is None else capture)
