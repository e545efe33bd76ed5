"""Whether training examples stay on the device or are streamed to it."""

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

from jaxtune._tree import size_bytes
from jaxtune.data import Arrays, Stream
from jaxtune.data.batches._grain import check_grain
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep.lanes._memory import si

_SHARE = 0.25
"""Of the memory that a run may take, what its data may, whatever the number of devices, which is not to change bits."""


def placed(experiment: Experiment, budget: int, recorded: Mapping[str, Any] | None = None) -> Experiment:
    """Returns the experiment, its training split a stream where its data takes too much of the memory; it says so.

    Args:
      experiment: the experiment.
      budget: bytes that the run may hold.
      recorded: the fingerprint of an earlier run in the same folder, which decides if there is one.

    Raises:
      ValueError: the training split is a stream, and Grain is not installed.
    """
    train = experiment.data.train
    if isinstance(train, Arrays):
        n = size_bytes([(a.x, a.y, a.weight) for a in (train, experiment.data.valid, experiment.data.test)])
        if recorded is None:
            too_large = n > _SHARE * budget and len(train) > Stream.sample_size
            reason = (
                f"{si(n, 'B')} of data would be more than a quarter of the {si(budget, 'B')} that the run may "
                "take; pass memory= for another limit"
            )
        else:
            too_large, reason = was_streamed(recorded), "as they were in the run that the folder holds"
        if not too_large:
            return experiment
        warnings.warn(
            "training examples are streamed, so that all trials see the same batches, and training metrics and "
            f"`normalize` are of a sample of {Stream.sample_size}: {reason}",
            stacklevel=3,
        )
        experiment = streamed(experiment)
    check_grain()
    return experiment


def was_streamed(recorded: Mapping[str, Any]) -> bool:
    """Returns whether a run, by its fingerprint, streamed arrays as jaxtune does by itself."""
    return recorded.get("streamed") == {"seed": Stream.seed, "sample_size": Stream.sample_size}


def streamed(experiment: Experiment) -> Experiment:
    """Returns the experiment with its training split as a stream."""
    train = experiment.data.train
    if isinstance(train, Stream):
        return experiment
    return dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, train=Stream(train)))
