"""What a recipe returns."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError
from jaxtune._types import ExampleFn, ScalarLike
from jaxtune.data import Normalization, Subset
from jaxtune.data.augment import Augmentation
from jaxtune.metrics import Metric, Mode, accuracy, mean
from jaxtune.models import as_model
from jaxtune.optim import GradientFn, WeightAverage
from jaxtune.penalties import Penalty
from jaxtune.training._early_stopping import EarlyStopping
from jaxtune.training._objective import Objective
from jaxtune.training._plateau import ReduceOnPlateau

RecipeFn = Callable[..., "Recipe"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one trial is trained. A recipe function maps hyperparameters to this, inside the trace.

    Args:
      model: a Linen module, a builder `lambda rngs: ...` of an NNX module, or a `jt.Model(init, apply)`.
      optimizer: any Optax gradient transformation, built from traced hyperparameters as they are. It is given the loss
        as `value=`.
      batch_size: examples per update: an int, or traced, `jt.traced([16, 32, 64])`: then all lanes are as wide as the
        largest, on which the last bits of a trial depend, and what is beyond its own size weighs nothing.
      loss: `loss(outputs, y)`, one value per example, of which the mean is taken; or a `jt.Objective`. None:
        `jt.losses.softmax_cross_entropy` for integer labels, `jt.losses.squared_error` for floats.
      penalty: a penalty or a tuple of penalties, which are added to the loss.
      normalize: what is done to inputs, such as `jt.data.standardize()`, fitted on the training split; or None.
        `result.predict` does the same.
      subset: which of the training examples a trial sees, such as `jt.data.fold(hp.fold, of=5)`; None: all.
      augment: what is done to training batches, such as `jt.data.augment.flip(hp.rate)`; or None.
      metrics: names and metrics to report besides loss and accuracy: `fn(outputs, y)`, one value per example, which is
        averaged, or a `jt.metrics.Metric`. Each appears as `train_<name>`, `valid_<name>`, `test_<name>`.
      early_stopping: when to stop, or None. With it the parameters of the best evaluation are kept.
      plateau: when the learning rate falls, or None.
      gradient: how the gradient is taken: None for the plain one, or `jt.optim.sam(rho)`.
      weight_average: `jt.optim.ema(decay)` or `jt.optim.swa(begin)`: what is evaluated and kept are then averaged
        parameters, with the model state of the last ones. Or names and averages, each of which is evaluated besides, as
        `valid_loss_<name>`, on the test split as it is at the end; the parameters that are kept are then not averaged.
      reestimate: whether running means and variances, such as batch norm's, are estimated anew over the training split,
        for all parameters that are evaluated and kept; see `jt.models.reestimate`.

    Raises:
      TypeError, ValueError: a field that cannot be used.
    """

    model: Any
    _: dataclasses.KW_ONLY
    optimizer: optax.GradientTransformation
    batch_size: int | ScalarLike
    loss: ExampleFn | Objective | None = None
    penalty: Penalty | tuple[Penalty, ...] = ()
    normalize: Normalization | None = None
    subset: Subset | None = None
    augment: Augmentation | None = None
    metrics: Mapping[str, ExampleFn | Metric] = dataclasses.field(default_factory=dict)
    early_stopping: EarlyStopping | None = None
    plateau: ReduceOnPlateau | None = None
    gradient: GradientFn | None = None
    weight_average: WeightAverage | Mapping[str, WeightAverage] | None = None
    reestimate: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", as_model(self.model))
        if not _is_traced_int(self.batch_size):
            object.__setattr__(self, "batch_size", _check.count("batch_size", self.batch_size))
        if self.subset is not None and not isinstance(self.subset, Subset):
            raise InputTypeError("subset", self.subset, "it is no subset", "Pass jt.data.fold(hp.fold, of=5), say.")
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
        if self.normalize is not None and not isinstance(self.normalize, Normalization):
            raise InputTypeError(
                "normalize", self.normalize, "it is no normalization", "Pass jt.data.standardize(), say, or None."
            )
        if self.augment is not None and not callable(self.augment):
            raise InputTypeError(
                "augment", self.augment, "it is no function", "Pass jt.data.augment.flip(hp.rate), say, or None."
            )
        if self.plateau is not None and not isinstance(self.plateau, ReduceOnPlateau):
            raise InputTypeError(
                "plateau", self.plateau, "it is no jt.ReduceOnPlateau", "Pass jt.ReduceOnPlateau(factor=hp.factor)."
            )
        if self.gradient is not None and not callable(self.gradient):
            raise InputTypeError("gradient", self.gradient, "it is no function", "Pass jt.optim.sam(hp.rho), or None.")
        _check_averages(self.weight_average)
        object.__setattr__(self, "penalty", _penalties(self.penalty))
        if not isinstance(self.metrics, Mapping):
            raise InputTypeError("metrics", self.metrics, "metrics have names", "Pass a dict, {'top3': fn}.")
        for name, metric in self.metrics.items():
            if not isinstance(name, str):
                raise InputTypeError("metrics", name, "names of metrics are texts", "Pass a dict, {'top3': fn}.")
            if not callable(metric) and not isinstance(metric, Metric):
                raise InputTypeError("metrics", metric, "it is no metric", "Pass a function of (outputs, y).")
            taken = {"loss", "accuracy", "clipped"} | {
                f"{metric}_{which}"
                for which in self.averages
                if which
                for metric in ("loss", "accuracy", *self.metrics)
            }
            if name in taken or name.startswith("penalty_") or not name.isidentifier():
                raise InputError("metrics", name, "this name is taken, or no identifier", "Choose another name.")

    @property
    def penalties(self) -> tuple[Penalty, ...]:
        """All penalties, as a tuple."""
        assert isinstance(self.penalty, tuple)
        return self.penalty

    @property
    def average(self) -> WeightAverage | None:
        """The average whose parameters are evaluated and kept, or None."""
        return self.weight_average if isinstance(self.weight_average, WeightAverage) else None

    @property
    def averages(self) -> Mapping[str, WeightAverage]:
        """All averages by name; that which is kept is called `""`."""
        if self.weight_average is None:
            return {}
        return {"": self.weight_average} if isinstance(self.weight_average, WeightAverage) else self.weight_average

    @property
    def modes(self) -> dict[str, Mode]:
        """Whether less or more is better, for each metric by name."""
        built_in: dict[str, Mode] = {"loss": "min", "accuracy": "max"}
        modes = built_in | {name: getattr(m, "mode", None) for name, m in self.metrics.items()}
        return modes | {f"{metric}_{which}": mode for which in self.averages if which for metric, mode in modes.items()}

    def all_metrics(self, classification: bool) -> dict[str, Metric]:
        """Returns the metrics besides the loss by name: accuracy, of integer labels, and the recipe's own."""
        built_in = {"accuracy": mean(accuracy, "max")} if classification else {}
        return built_in | {name: m if isinstance(m, Metric) else mean(m) for name, m in self.metrics.items()}


def _is_traced_int(value: Any) -> bool:
    return isinstance(value, jax.core.Tracer) and value.ndim == 0 and jnp.issubdtype(value.dtype, jnp.integer)


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


def _check_averages(given: Any) -> None:
    named = given if isinstance(given, Mapping) else {} if given is None else {"average": given}
    for name, average in named.items():
        if not isinstance(average, WeightAverage):
            cure = "Pass jt.optim.ema(hp.decay), say, or a dict of averages by name."
            raise InputTypeError("weight_average", average, "it is no average", cure)
        if not isinstance(name, str) or not name.isidentifier():
            reason = "averages are called by identifiers, for they end the names of metrics"
            raise InputError("weight_average", name, reason, "Choose another name, such as 'slow'.")


def call_recipe(recipe: RecipeFn, hp: Any) -> Recipe:
    """Returns what the recipe makes of these hyperparameters.

    Raises:
      TypeError: it is not a `Recipe`.
    """
    made = recipe(hp)
    if not isinstance(made, Recipe):
        shown = tuple(type(part).__name__ for part in made) if isinstance(made, tuple) else type(made).__name__
        raise InputTypeError(
            "recipe",
            shown,
            "a recipe has to return a jt.Recipe",
            "End it with `return jt.Recipe(model, optimizer=..., batch_size=...)`.",
        )
    return made
