"""Every test sees two CPU devices and a compilation cache that outlives the run."""

import os
import pathlib

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(__file__).parents[1] / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# What tests compile themselves runs once or twice: a third less time goes into compiling it at jaxtune's own level.
os.environ["XLA_FLAGS"] = f"--xla_backend_optimization_level=1 {os.environ.get('XLA_FLAGS', '')}".strip()

import jax
import matplotlib as mpl
import pytest

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
mpl.use("agg")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hands whole files to workers, for the tests of a file share compiled programs and fixtures."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)
