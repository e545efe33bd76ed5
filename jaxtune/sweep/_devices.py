"""Which devices the lanes run on."""

import os

import jax

# Round numbers of a CPU core, which decide on devices and on nothing else.
_UPDATE_SECONDS = 3e-5
_FLOPS_PER_SECOND = 3e10
_WORTH_SECONDS = 12.0


def use_all_cores() -> int:
    """Asks JAX for one CPU device per core, and returns how many CPU devices there are.

    It has to come before JAX is first used, for the number is fixed then; later it changes nothing. `jt.plan` and
    `jt.run` ask by themselves. Accelerators are not affected, and a number that the user has chosen stays.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
        if not chosen and getattr(jax.config, "jax_num_cpu_devices", -1) < 1:
            jax.config.update("jax_num_cpu_devices", cores)
    except RuntimeError:  # the backend is up
        pass
    return jax.local_device_count("cpu")


def lane_devices() -> list[jax.Device]:
    """Returns the devices of the default backend that lanes are spread over."""
    use_all_cores()
    return jax.local_devices()


def devices_worth_using(available: int, chunks: int, updates: int, flops: int) -> int:
    """Returns on how many devices a program is worth being compiled.

    XLA compiles a program anew for every device, in seconds, so another device has to have enough to do. It changes no
    bit, and follows from the program and the experiment alone.

    Args:
      available: number of devices.
      chunks: number of chunks.
      updates: updates of all lanes together.
      flops: floating-point operations in matrix products of one update of one lane.
    """
    seconds = updates * (_UPDATE_SECONDS + flops / _FLOPS_PER_SECOND)
    return max(1, min(available, chunks, 1 + int(seconds / _WORTH_SECONDS)))
