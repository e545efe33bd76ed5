"""Which devices the lanes run on."""

import os

import jax


def use_all_cores() -> int:
    """Asks JAX for one CPU device per core, and returns how many CPU devices there are.

    It has to come before JAX is first used, for the number is fixed then; later it changes nothing. `jt.plan` and
    `jt.run` ask by themselves. Accelerators are not affected.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        if getattr(jax.config, "jax_num_cpu_devices", -1) < 1:
            jax.config.update("jax_num_cpu_devices", cores)
    except RuntimeError:  # the backend is up
        pass
    return jax.local_device_count("cpu")


def lane_devices() -> list[jax.Device]:
    """Returns the devices of the default backend that lanes are spread over."""
    use_all_cores()
    return jax.local_devices()
