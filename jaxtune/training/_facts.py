"""What is known of a run before it is traced: batch size, steps, when to evaluate."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxtune import _check
from jaxtune.data._splits import Splits
from jaxtune.data.batches._table import steps_per_epoch
from jaxtune.training._hyperparameters import Hyperparameters, RunFacts
from jaxtune.training._recipe import RecipeFn, call_recipe


def default_eval_every(steps: int) -> int:
    """Returns a twentieth of the steps, at least 1."""
    return max(steps // 20, 1)


def evaluation_steps(steps: int, eval_every: int) -> np.ndarray:
    """Returns the numbers of updates after which is evaluated: the multiples of `eval_every`, and `steps`."""
    return np.unique(np.append(np.arange(eval_every, steps + 1, eval_every), steps)).astype(np.int64)


def facts_of(data: Splits, steps: int, batch_size: int) -> RunFacts:
    """Returns what a recipe reads as `hp.run`."""
    shapes = jax.tree.map(lambda a: a.shape[1:], data.valid.x)
    return RunFacts(steps, steps_per_epoch(len(data.train), batch_size), data.outputs, shapes)


def batch_size_of(recipe: RecipeFn, hp: Mapping[str, Any], data: Splits, steps: int) -> int:
    """Returns the recipe's batch size, from a first call of it that assumes a batch size of 1.

    Raises:
      ValueError: it is larger than the training split, or traced.
    """
    size = call_recipe(recipe, Hyperparameters(hp, facts_of(data, steps, 1), step=np.int32(0))).batch_size
    if isinstance(size, jax.core.Tracer):
        _check.count("batch_size", size)
    return int(
        _check.number(
            "batch_size",
            size,
            low=1,
            high=len(data.train),
            cure=f"The training split has {len(data.train)} examples: use at most as many.",
        )
    )
