"""A question: a recipe, a space, data, and how long with how many seeds."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError
from jaxtune.data import Splits
from jaxtune.sweep.space._space import Space
from jaxtune.training._recipe import RecipeFn

_LARGEST_SEED = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A recipe trained for every arm of a space and every seed.

    Args:
      recipe: a pure function of hyperparameters to a `jt.Recipe`.
      space: the arms, from `jt.grid`, `jt.arms` or `jt.sample`.
      data: the splits, from `jt.data`.
      steps: updates per trial; or else
      epochs: passes over the training split.
      seeds: their number (seeds 0, 1, ...), or distinct integers. Seed s is `jax.random.key(s)`.
      eval_every: updates between evaluations; None is a twentieth of the steps, at least 1.

    Raises:
      ValueError, TypeError: an argument that cannot be used.
    """

    recipe: RecipeFn
    space: Space
    data: Splits
    _: dataclasses.KW_ONLY
    steps: int | None = None
    epochs: int | None = None
    seeds: int | Sequence[int] = 8
    eval_every: int | None = None

    def __post_init__(self) -> None:
        if not callable(self.recipe):
            raise InputTypeError(
                "recipe", self.recipe, "a recipe is a function of hyperparameters", "Pass the function itself."
            )
        if not isinstance(self.space, Space):
            raise InputTypeError("space", self.space, "it is no space", "Use jt.grid, jt.arms or jt.sample.")
        if not isinstance(self.data, Splits):
            raise InputTypeError(
                "data", type(self.data).__name__, "it is no jt.data.Splits", "Use jt.data.load or jt.data.from_arrays."
            )
        if (self.steps is None) == (self.epochs is None):
            raise InputError("steps", self.steps, "either steps or epochs has to be given", "Pass one of them.")
        for name in ("steps", "epochs", "eval_every"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _check.count(name, getattr(self, name)))
        if self.steps is not None and self.eval_every is not None and self.eval_every > self.steps:
            raise InputError(
                "eval_every", self.eval_every, f"it is more than the {self.steps} steps", "Evaluate at least once."
            )
        object.__setattr__(self, "seeds", _seeds(self.seeds))

    @property
    def seed_values(self) -> tuple[int, ...]:
        """The seeds, one by one."""
        assert not isinstance(self.seeds, int)
        return tuple(self.seeds)

    def quick(self) -> "Experiment":
        """Returns the experiment with a tenth of the steps or epochs, two seeds, and its own number of evaluations."""
        name = "steps" if self.epochs is None else "epochs"
        whole = getattr(self, name)
        tenth = max(whole // 10, 1)
        every = None if self.eval_every is None else max(self.eval_every * tenth // whole, 1)
        return dataclasses.replace(self, **{name: tenth}, seeds=self.seed_values[:2], eval_every=every)


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if (
        isinstance(seeds, (int, np.integer))
        or not isinstance(seeds, (Sequence, np.ndarray, range))
        or isinstance(seeds, (str, bytes))
        or getattr(seeds, "ndim", 1) == 0
    ):
        return tuple(range(_check.count("seeds", seeds, high=2**20)))
    values = tuple(_check.count("seeds", s, low=0) for s in seeds)
    if not values or len(set(values)) < len(values) or max(values) > _LARGEST_SEED:
        raise InputError(
            "seeds",
            seeds,
            "at least one seed is needed, no seed twice, none over 2^31 - 1",
            "Pass a count, or distinct integers.",
        )
    return values
