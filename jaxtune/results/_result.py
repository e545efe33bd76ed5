"""What a run answers with."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

import jax
import numpy as np

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError
from jaxtune._types import PyTree
from jaxtune.results import _cube, _tables
from jaxtune.results._tables import Best
from jaxtune.results._variables import KeptVariables, Variables

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


class Result:
    """The cube of a run, with its statistics and its trained variables.

    Attributes:
      dataset: an `xarray.Dataset` with the space's dimensions, then `seed`, then `step` where a metric was followed
        through training. `step` counts updates done. A stopped or diverged trial is NaN from then on. `status` says how
        a trial ended, `best_step` which step its kept parameters are of. Of a trial that diverged `first_bad_step` says in which
        update, counted from 1, `not_finite` what was not finite first ("loss", "gradient", "parameters", "model state",
        "evaluation"), `not_finite_path` which leaf, and `gradient_norm` what the norm of the last finite gradient was since the evaluation before (NaN: there was none); of others
        they are 0, "", "" and NaN.

    Args:
      dataset: the cube.
      variables: the kept variables.
      predictor: maps the number of an arm to `apply(params, model_state, x, step) -> outputs` in evaluation mode; None where
        the recipe is not at hand.
    """

    def __init__(
        self,
        dataset: "xr.Dataset",
        variables: KeptVariables,
        predictor: Callable[[int], Callable[..., Any]] | None = None,
    ):
        self.dataset = dataset
        self._variables = variables
        self._predictor = predictor

    def summary(self, metric: str, *, level: float = 0.95, folds: str | None = None) -> "pd.DataFrame":
        """Returns each arm's mean of a metric at the kept parameters, with its t interval over seeds.

        Args:
          metric: such as `"valid_accuracy"`.
          level: confidence, in (0, 1).
          folds: an axis whose values are all folds of a cross-validation, as by `jt.data.fold`: means are then over folds, of
            seeds' means, n is their number, and intervals are those of `jt.results.fold_interval`, which cover the choice of the
            data, too. For validation metrics, for that is what a fold is held out for.

        Returns:
          A row per arm, with columns `mean`, `low`, `high`, `n` (trials that ended well) and `lost` (those that did
          not); the values drawn by `jt.sample` come first.

        Raises:
          ValueError: the metric was not measured.
        """
        return _tables.summary(self.dataset, metric, _level(level), folds)

    def compare(
        self,
        metric: str,
        baseline: Mapping[str, Any] | str | None = None,
        *,
        level: float = 0.95,
        method: Literal["t", "bootstrap"] = "t",
        folds: str | None = None,
    ) -> "pd.DataFrame":
        """Returns each arm's paired difference from a baseline: arm minus baseline, seed by seed.

        Args:
          metric: such as `"valid_accuracy"`, read at the kept parameters.
          baseline: values of some axes, such as `dict(l2=0.0)`; an arm is compared with the one that has these values
            and agrees with it in all other axes. A string names an arm of `jt.arms`; None is its `default`.
          level: confidence of the intervals, in (0, 1).
          method: `"t"` for Student's interval, `"bootstrap"` for the studentized bootstrap, which follows skewness.
          folds: an axis whose values are all folds of a cross-validation, as for `summary`; differences, seed by seed, are then averaged
            within each fold, of which `pairs` is the number; p is that of the corrected t-test, and there is no sign-flip test,
            for folds are not independent.

        Returns:
          A row per arm that is not a baseline, with columns `difference`, `low`, `high`; `p` of the paired t-test,
          `p_holm` corrected for the number of rows; `p_sign_flip` of the exact sign-flip test and the smallest value
          that it can take; `pairs` (complete ones) and `lost` (the arm's trials that did not end well).

        Raises:
          ValueError: unknown metric, axis, value or method.
        """
        if baseline is None and "arm" in self.dataset.dims and "default" in self.dataset["arm"].values:
            baseline = "default"
        if baseline is None:
            raise InputError(
                "baseline",
                None,
                "it is not known what to compare with",
                f"Name values of {', '.join(_cube.arm_dims(self.dataset))}.",
            )
        if isinstance(baseline, str):
            baseline = {"arm": baseline}
        if not isinstance(baseline, Mapping) or not all(isinstance(name, str) for name in baseline):
            reason = "a baseline is a dict of axes to values"
            raise InputTypeError("baseline", baseline, reason, "Pass dict(l2=0.0), or the name of an arm.")
        if not baseline:
            raise InputError(
                "baseline", baseline, "it names no axis", f"Name values of {', '.join(_cube.arm_dims(self.dataset))}."
            )
        return _tables.compare(self.dataset, metric, baseline, _level(level), method, folds)

    @overload
    def best(self, metric: str, *, per: None = None, mode: str | None = None, level: float = 0.95) -> Best: ...
    @overload
    def best(self, metric: str, *, per: str, mode: str | None = None, level: float = 0.95) -> "pd.DataFrame": ...
    def best(
        self, metric: str, *, per: str | None = None, mode: str | None = None, level: float = 0.95
    ) -> "Best | pd.DataFrame":
        """Returns the arm with the best mean of a validation metric, and its score on the test split.

        Args:
          metric: a validation metric, such as `"valid_accuracy"`.
          per: an axis; the best of the other axes is then given for each of its values, as a table. Folds of a
            cross-validation are an axis like any other here: choose among arms by `summary(metric, folds=...)`.
          mode: `"min"` or `"max"`; known for losses, accuracies and metrics that say so.
          level: confidence of the intervals, in (0, 1).

        Raises:
          ValueError: a metric of another split, an unknown axis, or no arm of which all trials ended well.
        """
        if per is None:
            return _tables.best(self.dataset, metric, mode, _level(level))
        return _tables.best_per(self.dataset, metric, per, mode, _level(level))

    def variables(self, /, **setting: Any) -> Variables:
        """Returns the kept parameters and model state of one trial.

        Args:
          **setting: a value for every axis, and `seed`; axes of one value may be left out.

        Raises:
          ValueError: no such trial, or its variables were not kept.
        """
        return self._variables.trial(*self._trial(setting), setting)

    def predict(self, x: PyTree, /, **setting: Any) -> jax.Array:
        """Returns the outputs of one trained trial for raw inputs, in evaluation mode.

        Args:
          x: inputs of shape (n, ...), of the form that the trial was trained on.
          **setting: a value for every axis, and `seed`; axes of one value may be left out.

        Raises:
          ValueError: no such trial, variables not kept, inputs of another shape, or the result was loaded without its
            experiment, which holds the model.
        """
        if self._predictor is None:
            raise InputError(
                "experiment",
                None,
                "a run folder holds data and no code, so the model is not known",
                "Load with jt.load(path, experiment).",
            )
        arm, seed = self._trial(setting)
        params, model_state = self._variables.trial(arm, seed, setting)
        step = int(_cube.rows(self.dataset, self.dataset["best_step"])[arm, seed])
        return self._predictor(arm)(params, model_state, jax.tree.map(np.asarray, x), step)

    @property
    def failures(self) -> list[str]:
        """The tracebacks of programs that raised; their trials have the status `failed`."""
        return list(json.loads(self.dataset.attrs.get("failures", "[]")))

    def __repr__(self) -> str:
        sizes = ", ".join(f"{k}: {v}" for k, v in self.dataset.sizes.items())
        names, counts = np.unique(self.dataset["status"].values, return_counts=True)
        return f"Result({sizes}; {', '.join(f'{c} {n}' for n, c in zip(names, counts, strict=True))})"

    def _trial(self, setting: Mapping[str, Any]) -> tuple[int, int]:
        dims = _cube.arm_dims(self.dataset)
        found = _cube.positions(self.dataset, setting, [*dims, "seed"])
        arm = np.ravel_multi_index([found[d] for d in dims], [self.dataset.sizes[d] for d in dims])
        if self.dataset["status"].isel(found).item() == "failed":
            raise InputError("setting", dict(setting), "the program of this trial raised", "See result.failures.")
        return int(arm), found["seed"]


def _level(level: float) -> float:
    return float(_check.number("level", level, low=0.01, high=0.9999))
