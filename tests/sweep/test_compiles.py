"""Programs are compiled once per group of static values and device, whatever the number of trials."""

import collections
import logging
import random
import re

import jax
import optax
import pytest
from problems import OFF, digits, mlp

import jaxtune as jt

DATA = digits()


@pytest.fixture
def compiled(caplog):
    """Counts XLA compilations by the name of the function."""
    jax.config.update("jax_log_compiles", True)
    caplog.set_level(logging.WARNING)

    def count():
        names = re.findall(r"Finished XLA compilation of jit\((\w+)\)", caplog.text)
        return collections.Counter(names)

    yield count
    jax.config.update("jax_log_compiles", False)


@pytest.mark.filterwarnings("default")
def test_a_traced_grid_is_one_program(compiled):
    space = jt.grid(l2=[0.0, 1e-4, 1e-3], dropout=[0.0, 0.25, 0.5], lr=[1e-3], patience=[OFF])
    experiment = jt.Experiment(mlp, space, DATA, steps=6, seeds=8, eval_every=3)
    result = jt.run(experiment, devices=jax.devices()[:1])
    assert result.dataset["status"].size == 72
    assert compiled() == {"init_chunk": 1, "advance_chunk": 1, "finish_chunk": 1}


def test_all_devices_share_one_compilation():
    new = random.SystemRandom().random()  # a program that no cache can hold

    def recipe(hp):
        model = jt.models.MLP((), hp.run.outputs)
        return jt.Recipe(model, optimizer=optax.sgd(hp.lr), batch_size=16, penalty=jt.penalties.l2(new))

    events = collections.Counter()
    jax.monitoring.register_event_listener(lambda event, **_: events.update([event.rpartition("/")[2]]))
    experiment = jt.Experiment(recipe, jt.grid(lr=[0.1, 0.2]), DATA, steps=4, seeds=8, eval_every=2)
    jt.run(experiment, devices=jax.devices()[:2])
    assert events["compile_requests_use_cache"] == 6
    assert 1 <= events["cache_misses"] <= 3  # the start knows nothing of the penalty, so it may be known


@pytest.mark.filterwarnings("default")
def test_a_static_axis_of_two_values_makes_two(compiled):
    def recipe(hp):
        model = jt.models.MLP((hp.width,), hp.run.outputs, dropout=hp.dropout)
        return jt.Recipe(model, optimizer=optax.sgd(0.1), batch_size=16, penalty=jt.penalties.l2(hp.l2))

    space = jt.grid(l2=[0.0, 1e-4, 1e-3], dropout=[0.0, 0.25, 0.5], width=[4, 8])
    jt.run(jt.Experiment(recipe, space, DATA, steps=6, seeds=8, eval_every=3), devices=jax.devices()[:1])
    assert compiled() == {"init_chunk": 2, "advance_chunk": 2, "finish_chunk": 2}


def test_each_function_is_traced_once_per_program():
    calls = collections.Counter()

    def recipe(hp):
        calls[type(hp.lr).__name__] += 1
        return jt.Recipe(jt.models.MLP((), hp.run.outputs), optimizer=optax.sgd(hp.lr), batch_size=16)

    def count(arms, seeds, devices):
        calls.clear()
        space = jt.grid(lr=[0.1 / (i + 1) for i in range(arms)])
        jt.run(jt.Experiment(recipe, space, DATA, steps=4, seeds=seeds, eval_every=2), devices=jax.devices()[:devices])
        return {kind: n for kind, n in calls.items() if "Tracer" in kind}

    few = count(2, 1, 1)
    assert few and count(30, 9, 1) == few and count(30, 9, 2) == few
