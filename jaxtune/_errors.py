"""What jaxtune raises when it is given something that it cannot use.

Every class is a `ValueError` or a `TypeError`, so that callers need none of these names; they exist so that jaxtune can
tell its own verdict on bad input from an exception inside a user's recipe.
"""

from typing import Any


def first_line(error: BaseException) -> str:
    """Returns the first line of what an error says, at most 200 characters of it; nothing where it says nothing."""
    return next(iter(str(error).splitlines()), "")[:200]


class JaxtuneError(Exception):
    """The common root of all errors that jaxtune raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), self.args)  # between the processes of a cluster


def _remade(kind: type[JaxtuneError], args: tuple[Any, ...]) -> JaxtuneError:
    """Returns an error with the arguments that it has, whatever it takes to make one."""
    error = kind.__new__(kind)
    error.args = args
    return error


def _sentence(name: str, value: Any, reason: str, cure: str) -> str:
    try:
        shown = repr(value)
    except Exception:  # an int of more digits than Python writes, say
        shown = f"a value of type {type(value).__name__} that cannot be written"
    if len(shown) > 200:
        shown = shown[:200] + "..."
    return f"`{name}` is {shown}: {reason}. {cure}"


class InputError(JaxtuneError, ValueError):
    """A value that cannot be used: its name, the value, the reason, the cure."""

    def __init__(self, name: str, value: Any, reason: str, cure: str):
        super().__init__(_sentence(name, value, reason, cure))


class InputTypeError(JaxtuneError, TypeError):
    """A value of the wrong type: its name, the value, the reason, the cure."""

    def __init__(self, name: str, value: Any, reason: str, cure: str):
        super().__init__(_sentence(name, value, reason, cure))


class StaticHyperparameterError(JaxtuneError, TypeError):
    """A traced hyperparameter was used where Python needs a number."""


class UnusedHyperparameterError(JaxtuneError, ValueError):
    """A hyperparameter that changes nothing in the program."""


class UnknownHyperparameterError(JaxtuneError, ValueError, AttributeError, KeyError):
    """A recipe reads a hyperparameter that the space does not have."""

    def __str__(self) -> str:
        return str(self.args[0])  # and not its repr, as a KeyError would


class RunFolderError(JaxtuneError, ValueError):
    """A run folder that cannot be used: another experiment's, unfinished, or not a run folder."""
