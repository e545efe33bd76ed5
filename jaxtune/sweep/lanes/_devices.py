"""Which devices the lanes run on."""

import functools as ft
import os
import warnings

import jax


def use_all_cores() -> int:
    """Asks JAX for one CPU device per core, and returns how many CPU devices there are.

    It has to come before JAX is first used, for the number is fixed then; later it changes nothing. `jt.plan` and
    `jt.run` ask by themselves. Accelerators are not affected, and a number that the user has chosen stays.
    """
    ask_for_all_cores()
    return jax.local_device_count("cpu")


def ask_for_all_cores() -> None:
    """Asks for them without a look at what there is, which has to come after `jax.distributed.initialize`."""
    try:
        if not _chosen():
            jax.config.update("jax_num_cpu_devices", _cores())
    except RuntimeError:  # the backend is up
        pass


def lane_devices() -> list[jax.Device]:
    """Returns the devices of the default backend that lanes are spread over."""
    chosen = _chosen()
    use_all_cores()
    devices = jax.local_devices()
    if devices[0].platform == "cpu" and len(devices) == 1 < _cores() and not chosen:
        _warn_of_idle_cores()
    return devices


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _chosen() -> bool:
    """Returns whether the user, or an earlier call, has said how many CPU devices there are to be."""
    flags = os.environ.get("XLA_FLAGS", "")
    return "xla_force_host_platform_device_count" in flags or getattr(jax.config, "jax_num_cpu_devices", -1) > 0


@ft.cache
def _warn_of_idle_cores() -> None:
    warnings.warn(
        f"JAX was in use before jaxtune could ask for one device per core, so lanes run on one CPU device, at about 1/{_cores()} "
        "of the speed. Call jt.use_all_cores() first: before the first array is made, as a notebook's first line.",
        RuntimeWarning,
        stacklevel=4,
    )
