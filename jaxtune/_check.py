"""Checks of numbers that components are given.

A hyperparameter is a Python number when jaxtune checks ranges and a tracer when it compiles. The checks look at numbers
and let tracers pass, so a component states its range once and is usable under every transformation.
"""

import contextlib
import contextvars
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxtune._errors import InputError, InputTypeError, StaticHyperparameterError

_accepted: contextvars.ContextVar[list[Any] | None] = contextvars.ContextVar("accepted_infinities", default=None)


def number(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    infinity: str | None = None,
    exclusive: bool = False,
    cure: str = "",
) -> Any:
    """Returns `value` as it came, having checked it if it is a concrete number.

    Args:
      name: what the caller calls the argument.
      value: a real number, or an array or tracer, which passes unseen.
      low: smallest legal value.
      high: largest legal value.
      infinity: what positive infinity does, where it is legal; None where it is not.
      exclusive: whether `low` itself is illegal.
      cure: replaces the sentence that tells what to pass.

    Raises:
      InputError: the number is NaN, out of range, or infinite where that means nothing.
      InputTypeError: not a real number at all.
    """
    if isinstance(value, jax.core.Tracer) or (isinstance(value, (jax.Array, np.ndarray)) and value.ndim > 0):
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number, np.ndarray, jax.Array)):
        raise InputTypeError(name, value, "a real number is needed", cure or "Pass a float, or a traced scalar.")
    dtype = value.dtype if isinstance(value, (np.generic, np.ndarray, jax.Array)) else np.dtype(float)
    kind = getattr(dtype, "kind", "key")  # of random keys there is none
    if kind not in ("i", "u", "f", "V") or getattr(dtype, "names", None):  # V: bfloat16, or fields with names
        raise InputTypeError(name, value, "a real number is needed", cure or "Pass a float, or a traced scalar.")
    try:
        concrete = float(value)
    except OverflowError as error:
        raise InputError(name, value, "no float is as large", cure or "Pass a smaller number.") from error
    span = f"between {low:g} and {high:g}" if math.isfinite(high) else f"of at least {low:g}"
    if math.isnan(concrete):
        raise InputError(name, value, "NaN is no setting", cure or f"Pass a number {span}.")
    if concrete == math.inf and infinity is not None:
        note_infinity(value)
        return value
    if math.isinf(concrete):
        raise InputError(name, value, 'infinity does not mean "off" here', cure or f"Pass a finite number {span}.")
    if exclusive and concrete == low:
        raise InputError(name, value, f"it has to be above {low:g}", cure or f"Pass a number above {low:g}.")
    if not low <= concrete <= high:
        raise InputError(name, value, f"it has to be {span.removeprefix('of ')}", cure or f"Pass a number {span}.")
    return value


def count(name: str, value: Any, *, low: int = 1, high: int | None = None) -> int:
    """Returns `value` as an int, having checked that it is a whole number of at least `low`, and of at most `high`.

    Raises:
      InputError: it is too small.
      InputTypeError: it is no whole number.
      StaticHyperparameterError: it is traced.
    """
    if isinstance(value, jax.core.Tracer):
        raise StaticHyperparameterError(
            f"`{name}` is traced: it shapes the program, so it has to be a Python int. Write its axis as jt.static([...])."
        )
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise InputTypeError(name, value, "a whole number is needed", f"Pass an int of at least {low}.")
    if value < low:
        raise InputError(name, value, f"it has to be at least {low}", f"Pass an int of at least {low}.")
    if high is not None and value > high:
        raise InputError(name, value, f"it has to be at most {high}", f"Pass an int of at most {high}.")
    return int(value)


def seed(name: str, value: Any) -> int:
    """Returns `value` as an int, having checked that NumPy and JAX take it for a seed.

    Raises:
      InputError, InputTypeError: they do not.
    """
    return count(name, value, low=0, high=2**31 - 1)


def sequence(name: str, value: Any) -> Any:
    """Returns `value` as it came, having checked that it is a sequence.

    Raises:
      InputTypeError: it is none.
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence) and getattr(value, "ndim", 0) < 1:
        raise InputTypeError(name, value, "it is no sequence", "Pass a tuple or a list.")
    return value


def exists(path: Path) -> bool:
    """Returns whether there is something at a path, be it one that no system could have."""
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or holds a null
        return False


def note_infinity(value: Any) -> None:
    """Records that a component takes this infinity to mean "off"."""
    noted = _accepted.get()
    if noted is not None:
        noted.append(value)


@contextlib.contextmanager
def collect_infinities() -> Iterator[list[Any]]:
    """Yields the list into which components note the infinities that they accept."""
    noted: list[Any] = []
    token = _accepted.set(noted)
    try:
        yield noted
    finally:
        _accepted.reset(token)
