"""What can be read from a traced program: which inputs matter, whether it draws, what it multiplies."""

import math
from collections.abc import Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jax.interpreters import partial_eval


def used_inputs(closed: ClosedJaxpr) -> list[bool]:
    """Returns for each input whether any output depends on it. A product with zero counts as dependence."""
    _, used = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    return list(used)


def live(closed: ClosedJaxpr) -> ClosedJaxpr:
    """Returns the program without what no output depends on."""
    jaxpr, _ = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    return ClosedJaxpr(jaxpr, closed.consts)


def draws(closed: ClosedJaxpr) -> list[tuple[int, ...]]:
    """Returns the shapes of all arrays of random bits that the program draws, those of inner programs included."""
    return [eqn.outvars[0].aval.shape for eqn, _ in _equations(closed.jaxpr, 1) if eqn.primitive.name == "random_bits"]


def multiplications(closed: ClosedJaxpr) -> int:
    """Returns the floating-point operations of the program's matrix products and convolutions.

    A product of (m, k) by (k, n) counts 2 m k n. Loops with a fixed number of turns count every turn, others one.
    """
    total = 0
    for eqn, times in _equations(closed.jaxpr, 1):
        out = math.prod(eqn.outvars[0].aval.shape) if eqn.outvars else 0
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            left = eqn.invars[0].aval.shape
            total += times * 2 * out * math.prod(left[d] for d in contracted)
        elif eqn.primitive.name == "conv_general_dilated":
            kernel, numbers = eqn.invars[1].aval.shape, eqn.params["dimension_numbers"]
            total += times * 2 * out * math.prod(kernel) // kernel[numbers.rhs_spec[0]]
    return total


def peak_bytes(closed: ClosedJaxpr) -> int:
    """Returns the most bytes of results that are alive at once, one operation after the other, inputs not counted.

    XLA makes less of it where it fuses operations, and more where it copies.
    """
    return _peak(closed.jaxpr)


def _peak(jaxpr: Jaxpr) -> int:
    last = {v: i for i, eqn in enumerate(jaxpr.eqns) for v in eqn.invars if not isinstance(v, Literal)}
    last |= {v: len(jaxpr.eqns) for v in jaxpr.outvars if not isinstance(v, Literal)}
    made: set[Any] = set()
    alive = peak = 0
    for i, eqn in enumerate(jaxpr.eqns):
        alive += sum(_bytes(v.aval) for v in eqn.outvars)
        made.update(eqn.outvars)
        peak = max(peak, alive + max((_peak(inner) for inner in _inner(eqn)), default=0))
        gone = {
            v for v in (*eqn.invars, *eqn.outvars) if not isinstance(v, Literal) and v in made and last.get(v, i) <= i
        }
        alive -= sum(_bytes(v.aval) for v in gone)
        made -= gone
    return peak


def _bytes(aval: Any) -> int:
    shape, dtype = getattr(aval, "shape", ()), getattr(aval, "dtype", None)
    return math.prod(shape) * getattr(dtype, "itemsize", 4)


def _inner(eqn: Any) -> Iterator[Jaxpr]:
    for value in eqn.params.values():
        for leaf in jax.tree.leaves(value, is_leaf=lambda v: isinstance(v, (ClosedJaxpr, Jaxpr))):
            if isinstance(leaf, (ClosedJaxpr, Jaxpr)):
                yield leaf.jaxpr if isinstance(leaf, ClosedJaxpr) else leaf


def _equations(jaxpr: Jaxpr, times: int) -> Iterator[tuple[Any, int]]:
    for eqn in jaxpr.eqns:
        yield eqn, times
        inner = times * eqn.params["length"] if eqn.primitive.name == "scan" else times
        for jaxpr_inside in _inner(eqn):
            yield from _equations(jaxpr_inside, inner)
