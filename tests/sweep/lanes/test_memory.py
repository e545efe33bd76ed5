"""A run holds what it may, in waves, or is refused before anything compiles."""

import pathlib
import sys
import types

import jax
import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from problems import cnn, digits

import jaxtune as jt
from jaxtune.sweep.lanes._compile import compile_program
from jaxtune.sweep.lanes._memory import Memory, memory_budget, predict_memory
from jaxtune.sweep.programs._programs import Layout, build

DATA = digits()
GIB = 2**30


def wide(hp):
    return jt.Recipe(jt.models.MLP((200,), hp.run.outputs), optimizer=optax.adam(hp.lr), batch_size=16)


def experiment(seeds=20):
    return jt.Experiment(wide, jt.grid(lr=[1e-3, 1e-2]), DATA, steps=4, seeds=seeds, eval_every=2)


def memory_for(chunks):
    """Returns bytes that hold so many chunks and all that is held besides."""
    memory = jt.plan(experiment()).programs[0].memory
    return memory.fixed + int((chunks + 0.5) * memory.chunk)


@pytest.mark.slow
def test_a_sweep_that_does_not_fit_runs_in_waves_with_the_same_bits():
    small = memory_for(3)
    plan = jt.plan(experiment(), memory=small)
    (program,) = plan.programs
    assert (program.chunks, program.memory.at_once, program.memory.waves) == (10, 3, 4)
    assert "program 0: 3 of 10 chunks at once" in str(plan) and plan.bytes <= small
    results = [jt.run(experiment(), memory=m) for m in (None, small)]
    assert_same_bits(*({k: v.values for k, v in r.dataset.items() if v.dtype.kind != "U"} for r in results))
    assert_same_bits(*(r.variables(lr=1e-2, seed=19) for r in results))


@pytest.mark.parametrize("ask", [jt.run, jt.plan])
def test_a_sweep_of_which_no_chunk_fits_is_refused(ask, tmp_path):
    with pytest.raises(
        ValueError, match=r"`memory` is '100 kB': a single chunk of 1 arms x 4 seeds needs .* Use fewer"
    ):
        ask(experiment(), memory=100_000, **({"out": tmp_path / "run"} if ask is jt.run else {}))
    assert not (tmp_path / "run").exists()


def test_without_kept_variables_less_is_held():
    memory = jt.plan(experiment()).programs[0].memory
    half = memory.shared + memory.work + memory.chunk + memory.kept // 2
    with pytest.raises(ValueError, match="`memory` is"):
        jt.run(experiment(), memory=half)
    result = jt.run(experiment(), memory=half, keep=None)
    assert (result.dataset["status"] == "finished").all()


def test_what_waits_and_what_is_held():
    memory = Memory(chunk=10, work=100, data=1000, shared=0, kept=7, budget=2250, chunks=9, devices=2)
    assert (memory.fixed, memory.at_once, memory.waves, memory.total) == (2207, 4, 3, 2247)
    assert memory._replace(budget=2207).at_once == 0
    plenty = memory._replace(budget=GIB)
    assert (plenty.at_once, plenty.waves, plenty.total) == (9, 1, 2297)
    assert memory.short and not plenty.short
    assert memory._replace(data=0, shared=1000).fixed == 1207


def test_of_many_chunks_few_are_held_however_much_memory_there_is():
    memory = Memory(chunk=10, work=100, data=1000, shared=0, kept=7, budget=GIB, chunks=64, devices=2)
    assert memory.at_once == 32
    assert memory._replace(chunks=1000).at_once == 32 and not memory._replace(chunks=1000).short
    assert memory._replace(chunks=1000, devices=8).at_once == 128


@pytest.mark.parametrize(("recipe", "axes"), [(wide, {}), (cnn, {"dropout": [0.5]})])
def test_the_prediction_is_near_what_the_compiler_takes(recipe, axes):
    made = jt.Experiment(recipe, jt.grid(lr=[1e-3], **axes), DATA, steps=4, seeds=4, eval_every=2)
    built = build(made, lambda static: Layout())
    (program,) = built.programs
    (compiled,) = compile_program(program, built.table, jax.devices()[:1])
    taken = compiled.advance.memory_analysis().temp_size_in_bytes
    predicted = program.shape.lanes * (program.probe.work_bytes + program.probe.state_bytes)
    assert taken / 2 < predicted < 6 * taken


def test_the_budget_is_half_of_what_is_free():
    if sys.platform == "linux":
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        assert 0 < memory_budget(jax.devices()) <= 0.55 * free

    class Accelerator:
        platform = "gpu"

        def memory_stats(self):
            return {"bytes_limit": 16 * GIB, "bytes_in_use": 4 * GIB}

    assert memory_budget([Accelerator(), Accelerator()]) == np.int64(12 * GIB)


def test_a_finished_run_is_fetched_whatever_the_memory(tmp_path):
    first = jt.run(experiment(1), out=tmp_path / "run")
    again = jt.run(experiment(1), out=tmp_path / "run", memory=1000)
    assert_same_bits(*(r.dataset["valid_loss"].values for r in (first, again)))


def test_where_the_data_is_large_fewer_devices_take_part():
    built = build(experiment(), lambda static: Layout())
    (program,) = built.programs
    data = 10**9

    def devices(budget, platform):
        there = [types.SimpleNamespace(platform=platform)] * 8
        return predict_memory(program, 20, data, there, budget, kept=0).devices

    for platform, shared, own in (("gpu", 0, data), ("cpu", data, 0)):
        each = own + program.shape.lanes * (program.probe.work_bytes + program.probe.state_bytes)
        budgets = [shared + n for n in (8 * each, 8 * each - 1, 3 * each, each)]
        assert [devices(budget, platform) for budget in (*budgets, 0)] == [8, 7, 3, 1, 1]


def test_the_plan_says_where_devices_stay_idle():
    memory = jt.plan(experiment()).programs[0].memory
    assert memory.devices == 2
    small = memory.kept + memory.shared + memory.work + memory.chunk
    plan = jt.plan(experiment(), memory=small)
    assert plan.programs[0].memory.devices == 1 and plan.bytes <= small
    assert "program 0: on 1 of 2 devices, for" in str(plan) and "on 2 of" not in str(jt.plan(experiment()))


def test_the_devices_of_a_cpu_share_the_data():
    built = build(experiment(), lambda static: Layout())
    compiled = compile_program(built.programs[0], built.table, jax.devices()[:2])
    leaves = [jax.tree.leaves(c.table) for c in compiled]
    for host, first, second in zip(jax.tree.leaves(built.table), *leaves, strict=True):
        assert host.ctypes.data == first.unsafe_buffer_pointer() == second.unsafe_buffer_pointer()
        assert first.devices() != second.devices()
