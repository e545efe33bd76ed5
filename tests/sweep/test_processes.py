"""What can only be seen in a process of its own: devices, caches, warnings."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.slow

OWN = ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "JAX_NUM_CPU_DEVICES", "JAXTUNE_COMPILATION_CACHE")
EXPERIMENT = """
import optax
import jaxtune as jt

def recipe(hp):
    model = jt.models.MLP((8,), hp.run.outputs, dropout=hp.dropout)
    stopping = jt.EarlyStopping(hp.patience, min_delta=1e6)
    return jt.Recipe(model, optimizer=optax.adam(hp.lr), batch_size=16, early_stopping=stopping)

data = jt.data.load("digits", fractions=(0.04, 0.03, 0.03))
off = float("inf")

def experiment(patience, lr=(1e-3, 1e-2, 1e-1)):
    space = jt.grid(lr=list(lr), dropout=[0.2, 0.5], patience=patience)
    return jt.Experiment(recipe, space, data, steps=12, seeds=3, eval_every=3)
"""


def process(code, tmp_path, **environment):
    """Returns what a fresh process prints, as JSON, and its standard error."""
    clean = {k: v for k, v in os.environ.items() if k not in OWN}
    clean |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "JAX_PLATFORMS": "cpu", **environment}
    script = EXPERIMENT + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=clean, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def kept(folder):
    return sum(file.name.endswith("-cache") for file in folder.rglob("*")) if folder.exists() else 0


def test_bits_are_the_same_on_1_2_and_4_devices_with_and_without_early_stops(tmp_path):
    code = """
    import hashlib, json
    import jax

    def bits(patience, devices):
        result = jt.run(experiment(patience), devices=jax.devices()[:devices])
        point = dict(lr=1e-2, dropout=0.5, patience=off, seed=1)
        kept = jax.tree.leaves(result.variables(**point))
        loss = result.dataset["valid_loss"].sel(point).values
        return hashlib.sha256(b"".join(a.tobytes() for a in [loss, *kept])).hexdigest()

    print(json.dumps([bits(p, n) for p in ([off], [1.0, off]) for n in (1, 2, 4)]))
    """
    found, _ = process(code, tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=4")
    assert len(found) == 6 and len(set(found)) == 1


def test_idle_cores_are_spoken_of_once(tmp_path):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one core")
    code = """
    import json
    import jax
    jax.numpy.ones(1)
    for _ in range(2):
        plan = jt.plan(experiment([off]))
    print(json.dumps(plan.devices))
    """
    devices, said = process(code, tmp_path, PYTHONWARNINGS="always")
    assert devices == ["cpu:0"]
    assert said.count("RuntimeWarning: JAX was in use before") == 1 and "jt.use_all_cores()" in said

    devices, said = process(code.replace("import jax\n", "import jax; jt.use_all_cores()\n"), tmp_path)
    assert len(devices) == len(os.sched_getaffinity(0)) and "RuntimeWarning" not in said
    devices, said = process(code, tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=1")
    assert devices == ["cpu:0"] and "RuntimeWarning" not in said


def test_what_is_compiled_is_kept_in_a_user_folder(tmp_path):
    code = """
    import json
    def linear(hp):
        return jt.Recipe(jt.models.MLP((), hp.run.outputs), optimizer=optax.sgd(hp.lr), batch_size=16)

    result = jt.run(jt.Experiment(linear, jt.grid(lr=[0.1, 0.2]), data, steps=4, seeds=2, eval_every=2))
    print(json.dumps(float(result.dataset["valid_loss"].mean())))
    """
    default, own, named = tmp_path / "cache" / "jaxtune" / "xla", tmp_path / "own", tmp_path / "named"
    off, _ = process(code, tmp_path, JAXTUNE_COMPILATION_CACHE="off")
    assert not default.exists()
    first, _ = process(code, tmp_path)
    files = kept(default)
    assert files == 3  # start, segment and end of one program, for all devices
    second, _ = process(code, tmp_path)
    assert kept(default) == files and first == second == off
    process(code, tmp_path, JAX_COMPILATION_CACHE_DIR=str(own))
    process(code, tmp_path, JAXTUNE_COMPILATION_CACHE=str(named))
    assert kept(own) == kept(named) == 3 and kept(default) == files
