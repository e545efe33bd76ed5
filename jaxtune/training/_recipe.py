"""What a recipe returns."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError
from jaxtune._types import ExampleFn
from jaxtune.metrics import Metric, Mode, accuracy, mean
from jaxtune.models import as_model
from jaxtune.penalties import Penalty
from jaxtune.training._early_stopping import EarlyStopping
from jaxtune.training._objective import Objective

RecipeFn = Callable[..., "Recipe"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one trial is trained. A recipe function maps hyperparameters to this, inside the trace.

    Args:
      model: a Linen module, a builder `lambda rngs: ...` of an NNX module, or a `jt.Model(init, apply)`.
      optimizer: any Optax gradient transformation, built from traced hyperparameters as they are. It is given the loss
        as `value=`.
      batch_size: examples per update; a Python int.
      loss: `loss(outputs, y)`, one value per example, of which the mean is taken; or a `jt.Objective`. None:
        `jt.losses.softmax_cross_entropy` for integer labels, `jt.losses.squared_error` for floats.
      penalty: a penalty or a tuple of penalties, which are added to the loss.
      metrics: names and metrics to report besides loss and accuracy: `fn(outputs, y)`, one value per example, which is
        averaged, or a `jt.metrics.Metric`. Each appears as `train_<name>`, `valid_<name>`, `test_<name>`.
      early_stopping: when to stop, or None. With it the parameters of the best evaluation are kept.

    Raises:
      TypeError, ValueError: a field that cannot be used.
    """

    model: Any
    _: dataclasses.KW_ONLY
    optimizer: optax.GradientTransformation
    batch_size: int
    loss: ExampleFn | Objective | None = None
    penalty: Penalty | tuple[Penalty, ...] = ()
    metrics: Mapping[str, ExampleFn | Metric] = dataclasses.field(default_factory=dict)
    early_stopping: EarlyStopping | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", as_model(self.model))
        object.__setattr__(self, "batch_size", _check.count("batch_size", self.batch_size))
        if not isinstance(self.optimizer, optax.GradientTransformation):
            raise InputTypeError(
                "optimizer",
                self.optimizer,
                "it is no Optax gradient transformation",
                "Pass optax.adam(hp.lr), say (of optax.MultiSteps its .gradient_transformation()).",
            )
        if self.loss is not None and not callable(self.loss):
            raise InputTypeError("loss", self.loss, "it is no function", "Pass a function of (outputs, y), or None.")
        if self.early_stopping is not None and not isinstance(self.early_stopping, EarlyStopping):
            raise InputTypeError(
                "early_stopping",
                self.early_stopping,
                "it is no jt.EarlyStopping",
                "Pass jt.EarlyStopping(patience=hp.patience).",
            )
        object.__setattr__(self, "penalty", _penalties(self.penalty))
        if not isinstance(self.metrics, Mapping):
            raise InputTypeError("metrics", self.metrics, "metrics have names", "Pass a dict, {'top3': fn}.")
        for name in self.metrics:
            if name in ("loss", "accuracy") or name.startswith("penalty_") or not name.isidentifier():
                raise InputError("metrics", name, "this name is taken, or no identifier", "Choose another name.")

    @property
    def penalties(self) -> tuple[Penalty, ...]:
        """All penalties, as a tuple."""
        assert isinstance(self.penalty, tuple)
        return self.penalty

    @property
    def modes(self) -> dict[str, Mode]:
        """Whether less or more is better, for each metric by name."""
        built_in: dict[str, Mode] = {"loss": "min", "accuracy": "max"}
        return built_in | {name: getattr(m, "mode", None) for name, m in self.metrics.items()}

    def all_metrics(self, classification: bool) -> dict[str, Metric]:
        """Returns the metrics besides the loss by name: accuracy, of integer labels, and the recipe's own."""
        built_in = {"accuracy": mean(accuracy, "max")} if classification else {}
        return built_in | {name: m if isinstance(m, Metric) else mean(m) for name, m in self.metrics.items()}


def _penalties(given: Any) -> tuple[Penalty, ...]:
    penalties = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    for p in penalties:
        if not isinstance(p, Penalty):
            raise InputTypeError(
                "penalty", p, "it is no penalty", "Pass jt.penalties.l2(hp.l2), say, or a tuple of penalties."
            )
    names = [p.name for p in penalties]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                "penalty",
                names,
                f"two penalties are called {name!r}, and each is logged under its name",
                "Pass name= to one of them.",
            )
    return penalties


def call_recipe(recipe: RecipeFn, hp: Any) -> Recipe:
    """Returns what the recipe makes of these hyperparameters.

    Raises:
      TypeError: it is not a `Recipe`.
    """
    made = recipe(hp)
    if not isinstance(made, Recipe):
        shown = jax.tree_util.tree_map(type, made) if isinstance(made, tuple) else type(made).__name__
        raise InputTypeError(
            "recipe",
            shown,
            "a recipe has to return a jt.Recipe",
            "End it with `return jt.Recipe(model, optimizer=..., batch_size=...)`.",
        )
    return made
