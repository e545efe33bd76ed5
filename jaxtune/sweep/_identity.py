"""What an experiment is, and where and with what it ran, in JSON's types."""

import inspect
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import jax
import numpy as np

from jaxtune.checkpoint import data_hash
from jaxtune.data import Arrays, Stream
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep.lanes._compile import compiler_options
from jaxtune.sweep.programs._chunks import ChunkShape
from jaxtune.sweep.programs._programs import Built, Layout, LayoutOf

_PACKAGES = ("jaxtune", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def fingerprint(experiment: Experiment, built: Built) -> dict[str, Any]:
    """Returns what makes this experiment itself, in JSON's types."""
    train = experiment.data.train
    space = [
        {
            "dim": d.name,
            "labels": [str(x) for x in d.labels],
            "axes": {a.name: [_exactly(v) for v in (a.values if a.traced else a.labels)] for a in d.axes},
        }
        for d in experiment.space.dims
    ]
    programs = [
        {
            "static": {k: repr(v) for k, v in p.static.items()},
            "chunk": list(p.shape),
            "convolution": p.convolution,
            "text": p.identity,
        }
        for p in built.programs
    ]
    return {
        "programs": programs,
        "space": space,
        "steps": built.steps,
        "eval_every": built.eval_every,
        "seeds": list(experiment.seed_values),
        "data": data_hash(_examples(experiment, built)),
        "streamed": {"seed": train.seed, "sample_size": train.sample_size} if isinstance(train, Stream) else None,
        "compiler": _compiler(),
    }


def _examples(experiment: Experiment, built: Built) -> Any:
    """Returns all arrays that make up the data; of a source that is no array, its sample and its length."""
    train = experiment.data.train
    if not isinstance(train, Stream):
        return built.table
    arrays = train.source
    return built.table, (arrays.x, arrays.y, arrays.weight) if isinstance(arrays, Arrays) else np.int64(len(train))


def _exactly(value: Any) -> str:
    """Returns a value as text: of a tree its structure and all digits of all numbers, which the text of an array leaves out."""
    if isinstance(value, (bool, int, float, str)):
        return repr(value)
    leaves, structure = jax.tree.flatten(value)
    return repr([str(structure), *(np.asarray(leaf).tolist() for leaf in leaves)])


def recorded_layout(fingerprint: Mapping[str, Any]) -> LayoutOf:
    """Returns how each program of a run was laid out."""
    layouts = {
        tuple(p["static"].items()): Layout(ChunkShape(*p["chunk"]), p.get("convolution"))
        for p in fingerprint.get("programs", [])
    }
    return lambda static: layouts.get(tuple((k, repr(v)) for k, v in static.items()), Layout())


def circumstances(experiment: Experiment, devices: Sequence[jax.Device]) -> dict[str, Any]:
    """Returns where and with what a run is made."""
    return {
        "commit": _commit(experiment.recipe),
        "devices": [f"{d.platform}:{d.id} {d.device_kind}" for d in devices],
        "partition": "one single-device program dispatched to each device",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in _PACKAGES},
    }


def _commit(recipe: Any) -> str | None:
    """Returns the git commit of the file that a recipe is in, with a `+` where something differs from it; None without git."""
    try:
        folder = os.path.dirname(inspect.getsourcefile(recipe) or "") or "."
        found = [
            subprocess.run(
                ["git", "-C", folder, *command], capture_output=True, text=True, timeout=10, check=True
            ).stdout
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, TypeError, subprocess.SubprocessError):  # no git, no repository, no file
        return None
    return found[0].strip() + ("+" if found[1].strip() else "")


def _compiler() -> dict[str, Any]:
    """Returns what changes bits and is not in a program's text."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    return {
        "flags": [f for f in flags if "device_count" not in f],
        "options": compiler_options(),
        "matmul_precision": str(getattr(jax.config, "jax_default_matmul_precision", None)),
        "backend": jax.default_backend(),
    }
