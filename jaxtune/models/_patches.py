"""Unmodified models with their convolutions and poolings in another form.

The model's own program is traced, and evaluated again with some of its operations replaced; so it works on any Linen or
NNX layer, and on a bare `jax.lax.conv_general_dilated`, without a word in the model. Whatever is not recognized
stays as it is.
"""

import functools as ft
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun

from jaxtune._types import Key, PyTree
from jaxtune.models._model import Model
from jaxtune.nn._convolution import MOST_OFFSETS, convolve, max_pool


def with_patches(model: Model) -> Model:
    """Returns the model with convolutions as patches times a matrix and max-pooling as a maximum of slices.

    Its parameters are the same. Values and gradients agree within rounding; where entries of a pooling window tie they
    share the gradient.
    """

    def rewritten(fn: Callable[..., Any]) -> Callable[..., Any]:
        def other(params: PyTree, state: PyTree, x: PyTree, *, key: Key, train: bool) -> Any:
            plain = ft.partial(fn, key=key, train=train)
            closed, shapes = jax.make_jaxpr(plain, return_shape=True)(params, state, x)
            if not replaceable(closed.jaxpr):
                return plain(params, state, x)
            flat = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves((params, state, x)))
            return jax.tree.unflatten(jax.tree.structure(shapes), flat)

        return other

    return Model(model.init, rewritten(model.apply), None if model.capture is None else rewritten(model.capture))


def replaceable(jaxpr: Jaxpr) -> bool:
    """Returns whether a traced program has operations that `with_patches` may replace."""
    return any(
        eqn.primitive.name in _RULES or any(map(replaceable, jax.tree.leaves(_inner(eqn)))) for eqn in jaxpr.eqns
    )


def _evaluate(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """Returns the outputs of a traced program, computed operation by operation."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for eqn in jaxpr.eqns:
        outputs = _apply(eqn, [read(atom) for atom in eqn.invars], jaxpr)
        values.update(zip(eqn.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(eqn: JaxprEqn, inputs: Sequence[Any], within: Jaxpr) -> Sequence[Any]:
    """Returns the outputs of one operation, in its other form if it has one."""
    rule = _RULES.get(eqn.primitive.name)
    if rule is not None:
        aval: Any = eqn.outvars[0].aval
        replaced = rule(eqn.params, *inputs) if aval.size > 0 else None
        if replaced is not None:
            return [replaced]
    inner = _inner(eqn)
    if any(map(replaceable, jax.tree.leaves(inner))):
        if eqn.primitive.name in ("jit", "pjit", "closed_call"):
            (program,) = inner.values()
            return _evaluate(program.jaxpr, program.consts, inputs)
        eqn = eqn.replace(params={**eqn.params, **jax.tree.map(_rewritten, inner)})
    given = {atom: value for atom, value in zip(eqn.invars, inputs, strict=True) if not isinstance(atom, Literal)}
    alone = within.replace(constvars=(), invars=list(given), outvars=eqn.outvars, eqns=[eqn], effects=eqn.effects)
    return jaxpr_as_fun(ClosedJaxpr(alone, []))(*given.values())


def _inner(eqn: JaxprEqn) -> dict[str, Any]:
    """Returns the programs inside an operation that may be replaced by others of the same inputs and outputs.

    What has a derivative rule of its own is left alone, for the rule would not follow.
    """
    if eqn.primitive.name not in ("jit", "pjit", "closed_call", "scan", "while", "cond", "checkpoint", "remat2"):
        return {}
    leaf = (ClosedJaxpr, Jaxpr)
    return {
        name: value
        for name, value in eqn.params.items()
        if isinstance(value, leaf) or (isinstance(value, tuple) and value and isinstance(value[0], leaf))
    }


def _rewritten(program: Any) -> Any:
    """Returns an inner program with its operations replaced."""
    closed = program if isinstance(program, ClosedJaxpr) else ClosedJaxpr(program, [])
    evaluate = ft.partial(_evaluate, closed.jaxpr, closed.consts)
    new = jax.make_jaxpr(lambda *args: evaluate(args))(*closed.in_avals)
    if isinstance(program, ClosedJaxpr):
        return new
    return program if new.consts else new.jaxpr


def _convolution(params: dict[str, Any], x: Any, kernel: Any) -> Any:
    """Returns the convolution as patches times a matrix, or None where that is no form of it."""
    numbers, window = params["dimension_numbers"], [kernel.shape[d] for d in params["dimension_numbers"].rhs_spec[2:]]
    fits = (
        params["batch_group_count"] == 1
        and all(d == 1 for d in params["lhs_dilation"])
        and 0 < math.prod(window) <= MOST_OFFSETS
        and jnp.issubdtype(x.dtype, jnp.floating)
        and params["preferred_element_type"] in (None, x.dtype)
        and params["precision"] is None
    )
    if not fits:
        return None
    out, channels, *space = numbers.rhs_spec
    y = convolve(
        jnp.transpose(x, (numbers.lhs_spec[0], *numbers.lhs_spec[2:], numbers.lhs_spec[1])),
        jnp.transpose(kernel, (*space, channels, out)),
        strides=params["window_strides"],
        padding=params["padding"],
        dilation=params["rhs_dilation"],
        groups=params["feature_group_count"],
    )
    batch, features, *space = numbers.out_spec
    places = {batch: 0, features: y.ndim - 1} | {d: i + 1 for i, d in enumerate(space)}
    return jnp.transpose(y, [places[d] for d in range(y.ndim)])


def _max_pooling(params: dict[str, Any], x: Any) -> Any:
    """Returns a max-pooling over inner dimensions as a maximum of slices, or None where it is none."""
    window, padding = params["window_dimensions"], params["padding"]
    fits = (
        x.ndim > 2
        and all(d == 1 for d in (*params["base_dilation"], *params["window_dilation"]))
        and (window[0], window[-1]) == (1, 1)
        and (params["window_strides"][0], params["window_strides"][-1]) == (1, 1)
        and not any(padding[0] + padding[-1])
        and 1 < math.prod(window) <= MOST_OFFSETS
        and jnp.issubdtype(x.dtype, jnp.floating)
    )
    if not fits:
        return None
    return max_pool(x, window[1:-1], strides=params["window_strides"][1:-1], padding=padding[1:-1])


_RULES: dict[str, Callable[..., Any]] = {
    "conv_general_dilated": _convolution,
    "reduce_window_max": _max_pooling,
}
