"""What an experiment is, and where and with what it ran, in JSON's types."""

import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import jax

from jaxtune.checkpoint import data_hash, text_hash
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep._programs import Built

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def fingerprint(experiment: Experiment, built: Built) -> dict[str, Any]:
    """Returns what makes this experiment itself, in JSON's types."""
    space = [
        {
            "dim": d.name,
            "labels": [str(x) for x in d.labels],
            "axes": {a.name: [repr(v) for v in (a.values if a.traced else a.labels)] for a in d.axes},
        }
        for d in experiment.space.dims
    ]
    programs = [
        {"static": {k: str(v) for k, v in p.static.items()}, "chunk": list(p.shape), "text": text_hash(p.lowered)}
        for p in built.programs
    ]
    return {
        "programs": programs,
        "space": space,
        "steps": built.steps,
        "eval_every": built.eval_every,
        "seeds": list(experiment.seed_values),
        "data": data_hash(built.table),
        "compiler": {},  # options beyond XLA's defaults
    }


def circumstances(devices: Sequence[jax.Device]) -> dict[str, Any]:
    """Returns where and with what a run is made."""
    return {
        "devices": [f"{d.platform}:{d.id} {d.device_kind}" for d in devices],
        "partition": "one single-device program dispatched to each device",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in _PACKAGES},
    }
