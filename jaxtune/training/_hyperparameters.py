"""What a recipe is given."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxtune._errors import UnknownHyperparameterError
from jaxtune._types import Count, PyTree


class RunFacts(NamedTuple):
    """The static facts of a run, read in a recipe as `hp.run`.

    Attributes:
      steps: updates that a trial makes.
      steps_per_epoch: updates that cover the training split once. While jaxtune learns the batch size from the recipe,
        in a first call, this is the number of training examples.
      outputs: what a model has to return per example: classes, or targets.
      input_shape: shape of one example; a pytree of shapes if `x` is one.
    """

    steps: int
    steps_per_epoch: int
    outputs: int
    input_shape: PyTree


@jax.tree_util.register_pytree_with_keys_class
class Hyperparameters(Mapping[str, Any]):
    """An immutable mapping of hyperparameters, read as `hp.lr`, `hp["lr"]` or `**hp`.

    As a pytree its children are the traced values and the step; anything else, `run` included, is static.

    Args:
      values: names and values.
      run: the facts of the run.
      traced: names of the traced values; None takes floats, arrays, and containers of them.
      step: updates done.
    """

    __slots__ = ("_run", "_step", "_traced", "_values")

    def __init__(
        self,
        values: Mapping[str, Any],
        run: RunFacts | None = None,
        traced: tuple[str, ...] | None = None,
        step: Count | int | None = None,
    ):
        object.__setattr__(self, "_values", dict(values))
        object.__setattr__(self, "_run", run)
        object.__setattr__(self, "_step", step)
        names = tuple(k for k, v in values.items() if _is_dynamic(v)) if traced is None else traced
        object.__setattr__(self, "_traced", names)

    @property
    def run(self) -> RunFacts:
        """The static facts of the run."""
        if self._run is None:
            raise RuntimeError("`hp.run` is known inside jt.run and jt.train only")
        return self._run

    @property
    def step(self) -> Count | int:
        """Updates done when the recipe is called: traced, for it is called anew in every update.

        What is a function of it is annealed: a penalty of `hp.l2 * jt.optim.schedules.linear(0, 1, 100)(hp.step)`, say.
        """
        if self._step is None:
            raise RuntimeError("`hp.step` is known inside jt.run and jt.train only")
        return self._step

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in Hyperparameters.__slots__:
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"hyperparameters are immutable, so `{name}` cannot be set")

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            known = ", ".join(self._values) or "none"
            raise UnknownHyperparameterError(
                f"`{name}` is no hyperparameter of the space, which has: {known}. Give it an axis, or another name."
            )
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Hyperparameters({self._values})"

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        """Splits the values into traced children and static rest."""
        fixed = tuple((k, None if k in self._traced else v) for k, v in self._values.items())
        children = [(jax.tree_util.GetAttrKey(k), self._values[k]) for k in self._traced]
        if self._step is not None:
            children.append((jax.tree_util.GetAttrKey("step"), self._step))
        return children, (self._traced, fixed, self._run)

    @classmethod
    def tree_unflatten(cls, aux: Any, children: Any) -> "Hyperparameters":
        """Puts the children back into their places."""
        names, fixed, run = aux
        values = dict(zip(names, children, strict=False))
        return cls({**dict(fixed), **values}, run, names, *children[len(names) :])


def _is_dynamic(value: Any) -> bool:
    if isinstance(value, (bool, int, str)) or value is None:
        return False
    leaves = jax.tree.leaves(value)
    return bool(leaves) and all(isinstance(leaf, (float, np.number, np.ndarray, jax.Array)) for leaf in leaves)
