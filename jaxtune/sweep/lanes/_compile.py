"""Programs to executables: once per program, whatever the number of devices, and once per machine where JAX may cache."""

import concurrent.futures
import contextlib
import copy
import importlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxtune.data.batches._table import Table
from jaxtune.sweep.programs._programs import Program

COMPILER_OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "cpu": {
        "advance": {"xla_backend_optimization_level": 1},
        "once": {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False},
    }
}
"""XLA's options by platform: for training, and for what a trial does once, at its start and at its end.

On CPUs the first level compiles in two thirds of the time, and runs no slower. Without its emitters for fusions XLA
compiles in half the time, and what it makes trains a fifth slower.
"""

CACHE_SWITCH = "JAXTUNE_COMPILATION_CACHE"


_LOCK = threading.Lock()  # one at a time: JAX's settings are changed while compiling, and restored


class Compiled(NamedTuple):
    """A program's functions compiled for one device, with what stays there."""

    device: jax.Device
    init: Any
    advance: Any
    finish: Any
    table: Table


def compile_program(program: Program, table: Table, devices: Sequence[jax.Device]) -> list[Compiled]:
    """Returns the program compiled for each device."""
    use_compilation_cache()
    home, placed = jax.local_devices()[0], []
    with _LOCK, _everything_cached(), _one_entry_for_all_devices():
        for device in sorted(devices, key=lambda d: d != home):
            init, advance, finish = _compile(program.lowered if device == home else program.lower(device))
            placed.append(Compiled(device, init, advance, finish, jax.device_put(table, device)))
    return placed


def _compile(lowered: Sequence[Any]) -> list[Any]:
    """Returns init, advance and finish compiled side by side."""
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=len(lowered))
    try:
        options = compiler_options()
        kinds = [options.get(name, {}) for name in ("once", "advance", "once")]
        jobs = [pool.submit(f.compile, given) for f, given in zip(lowered, kinds, strict=True)]
        return [job.result() for job in jobs]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C nothing more is begun


def compiler_options() -> dict[str, dict[str, Any]]:
    """Returns XLA's options for the default backend, for what is done in a loop and for what is done once."""
    return COMPILER_OPTIONS.get(jax.default_backend(), {})


def use_compilation_cache() -> None:
    """Lets JAX keep what it compiles in a user folder, for the next process.

    A folder that the user has set stays. `JAXTUNE_COMPILATION_CACHE=off` in the environment switches this off, and
    another value is taken for the folder.
    """
    wish = os.environ.get(CACHE_SWITCH, "")
    if wish.lower() in ("off", "0", "no", "false") or getattr(jax.config, "jax_compilation_cache_dir", None):
        return
    jax.config.update("jax_compilation_cache_dir", wish or str(_cache_folder() / "jaxtune" / "xla"))


def _cache_folder() -> Path:
    """Returns where this system keeps what can be made again."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@contextlib.contextmanager
def _everything_cached() -> Iterator[None]:
    """Lifts JAX's threshold of a second of compile time for what is kept."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, 0.0)
    try:
        yield
    finally:
        jax.config.update(name, before)


@contextlib.contextmanager
def _one_entry_for_all_devices() -> Iterator[None]:
    """Lets the devices of one CPU share what is compiled for the first of them, by way of JAX's cache.

    JAX leaves the device out of the cache's key on GPUs, not on CPUs, where it would compile the same program once per
    device. There is no public way to say so; where JAX has changed inside, each device compiles for itself.
    """
    try:
        cache: Any = importlib.import_module("jax._src.compilation_cache")
        assignment: Any = importlib.import_module("jax._src.lib").xla_client.DeviceAssignment
        key_of = cache.get_cache_key
    except (ImportError, AttributeError):
        yield
        return

    def key_for_any_device(module: Any, devices: Any, options: Any, *rest: Any, **more: Any) -> Any:
        with contextlib.suppress(AttributeError, TypeError):
            if devices.size == 1 and devices.flat[0].platform == "cpu":
                anywhere = copy.deepcopy(options)
                anywhere.device_assignment = assignment.create(np.zeros((1, 1), int))
                options = anywhere
        return key_of(module, devices, options, *rest, **more)

    cache.get_cache_key = key_for_any_device
    try:
        yield
    finally:
        cache.get_cache_key = key_of
