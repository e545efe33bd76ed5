"""What a run will do, before anything compiles."""

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen as nn, nnx
from problems import OFF, cnn, digits, linear, mlp

import jaxtune as jt
from jaxtune.sweep import _measure
from jaxtune.sweep.lanes._compile import compile_program
from jaxtune.sweep.programs import _jaxpr
from jaxtune.sweep.programs._programs import Layout, build

DATA = digits()


def test_counts_trials_lanes_bytes_and_flops():
    space = jt.grid(l2=[0.0, 1e-4, 1e-3], dropout=[0.0, 0.5], lr=[1e-3], patience=[OFF])
    plan = jt.plan(jt.Experiment(mlp, space, DATA, steps=100, seeds=3))
    (program,) = plan.programs
    assert (plan.arms, plan.seeds, plan.trials, plan.eval_every) == (6, 3, 18, 5)
    assert program.chunk == (4, 1) and program.chunks == 6 and program.full == 18 / 24
    # Forward, gradient of the weights, and of the hidden layer's inputs but not of the images.
    assert program.flops == 2 * 16 * (64 * 16 * 2 + 16 * 10 * 3)
    assert plan.flops == program.flops * 18 * 100
    weights = 64 * 16 + 16 + 16 * 10 + 10
    # Parameters, Adam's two averages and its count, early stopping's best, three numbers and five losses, and
    # five of the lane's own.
    assert program.variable_bytes == 4 * weights
    assert program.state_bytes == 4 * (4 * weights + 1 + 3 + 5) + 4 + 4 + 1 + 1
    assert plan.data_bytes == (64 + 48 + 48) * (64 * 4 + 4)
    memory = program.memory
    assert (memory.chunk, memory.kept) == (4 * program.state_bytes, 18 * 4 * weights)
    assert (memory.shared, memory.data) == (plan.data_bytes, 0)  # the devices of a CPU share it
    assert plan.bytes == 6 * memory.chunk + memory.shared + 2 * memory.work + memory.kept
    text = str(plan)
    assert "6 arms x 3 seeds = 18 trials of 100 updates" in text and "75%" in text and "4 x 1" in text


@pytest.mark.parametrize(("recipe", "axes", "chunk"), [(linear, {}, (1, 4)), (cnn, {"dropout": [0.5]}, (1, 1))])
def test_the_chunk_follows_from_the_program_alone(recipe, axes, chunk):
    for rates, seeds in ([0.1], 1), ([0.1, 0.2, 0.3, 0.4, 0.5], 9):
        plan = jt.plan(jt.Experiment(recipe, jt.grid(lr=rates, **axes), DATA, steps=4, seeds=seeds))
        assert plan.programs[0].chunk == chunk


def test_a_chunk_can_be_given_by_hand_and_fills_lanes():
    experiment = jt.Experiment(linear, jt.grid(lr=[0.1, 0.2]), DATA, steps=4, seeds=1)
    plan = jt.plan(experiment)
    assert plan.programs[0].full == 0.5
    wide = str(jt.plan(experiment, chunk=(1, 8)))
    assert "program 0: 75% of its lanes stay empty; with chunk=(8, 1) it would be 75%" not in wide
    assert jt.plan(experiment, chunk=(2, 1)).programs[0].full == 1.0
    assert "stay empty" not in str(jt.plan(experiment, chunk=(2, 1)))
    result = jt.run(experiment, chunk=(2, 1))
    assert (result.dataset["status"] == "finished").all()


def test_initializers_of_an_nnx_module_are_no_draws():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.dense = nnx.Linear(64, 10, rngs=rngs)

        def __call__(self, x):
            return self.dense(x.reshape(x.shape[0], -1))

    def recipe(hp):
        return jt.Recipe(lambda rngs: Net(rngs), optimizer=optax.sgd(hp.lr), batch_size=16)

    (program,) = jt.plan(jt.Experiment(recipe, jt.grid(lr=[0.1]), DATA, steps=4)).programs
    assert program.chunk == (1, 4) and program.flops == 2 * 16 * 64 * 10 * 2


def test_static_values_make_programs():
    def recipe(hp):
        return jt.Recipe(jt.models.MLP((hp.width,), 10), optimizer=optax.sgd(hp.lr), batch_size=16)

    plan = jt.plan(jt.Experiment(recipe, jt.grid(lr=[0.1, 0.2], width=[4, 8, 16]), DATA, steps=4, seeds=2))
    assert [p.static for p in plan.programs] == [{"width": 4}, {"width": 8}, {"width": 16}]
    assert [p.arms for p in plan.programs] == [2, 2, 2] and "1: width=8" in str(plan)


def test_multiplications_are_counted_by_shape():
    def f(x, kernel, w):
        y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jax.lax.scan(lambda c, _: (c @ w, None), y.reshape(2, -1), None, length=5)[0]

    closed = jax.make_jaxpr(f)(jnp.ones((2, 4, 4, 3)), jnp.ones((3, 3, 3, 2)), jnp.ones((32, 32)))
    assert _jaxpr.multiplications(closed) == 2 * (2 * 4 * 4 * 2) * (3 * 3 * 3) + 5 * 2 * 2 * 32 * 32


def test_used_inputs_are_seen_through_inner_programs():
    def f(a, b, c, d):
        return jax.jit(lambda a, b: (a * 2, b))(a, b)[0] + 0 * c

    assert _jaxpr.used_inputs(jax.make_jaxpr(f)(1.0, 1.0, 1.0, 1.0)) == [True, False, True, False]


def test_the_form_of_convolutions_is_said_and_can_be_chosen():
    experiment = jt.Experiment(cnn, jt.grid(lr=[0.1], dropout=[0.5]), DATA, steps=4)
    plan = jt.plan(experiment)
    assert plan.programs[0].convolution == "patches" and "program 0: convolutions as patches times a matrix" in str(
        plan
    )
    native = jt.plan(experiment, convolution="native")
    assert native.programs[0].convolution == "native" and "convolutions by XLA's own operation" in str(native)
    assert native.programs[0].flops == plan.programs[0].flops
    assert jt.plan(jt.Experiment(linear, jt.grid(lr=[0.1]), DATA, steps=4)).programs[0].convolution is None
    with pytest.raises(ValueError, match="`convolution` is 'fast'"):
        jt.plan(experiment, convolution="fast")


def lowered(recipe, **layout):
    experiment = jt.Experiment(recipe, jt.grid(lr=[0.1], dropout=[0.5]), DATA, steps=4)
    (program,) = build(experiment, lambda static: Layout(**layout)).programs
    return program.lowered[1].as_text()


def test_unmodified_flax_convolutions_are_replaced_in_lanes():
    class Linen(nn.Module):
        rate: float

        @nn.compact
        def __call__(self, x, train=False):
            x = nn.max_pool(nn.Conv(4, (3, 3))(x), (2, 2), strides=(2, 2))
            return nn.Dense(10)(jt.nn.linen.Dropout(self.rate)(x.reshape(x.shape[0], -1), deterministic=not train))

    class Nnx(nnx.Module):
        def __init__(self, rate, rngs):
            self.conv, self.dense = nnx.Conv(1, 4, (3, 3), rngs=rngs), nnx.Linear(64, 10, rngs=rngs)
            self.dropout = jt.nn.nnx.Dropout(rate, rngs=rngs)

        def __call__(self, x):
            x = nnx.max_pool(self.conv(x), (2, 2), strides=(2, 2))
            return self.dense(self.dropout(x.reshape(x.shape[0], -1)))

    for model in (lambda hp: Linen(hp.dropout), lambda hp: lambda rngs: Nnx(hp.dropout, rngs)):

        def recipe(hp, model=model):
            return jt.Recipe(model(hp), optimizer=optax.sgd(hp.lr), batch_size=16)

        for convolution, there in ("patches", False), ("native", True):
            text = lowered(recipe, convolution=convolution)
            assert ("stablehlo.convolution" in text) == ("reduce_window" in text) == there


@pytest.mark.parametrize("out", [True, False])
def test_a_measured_chunk_is_remembered_by_the_folder(out, tmp_path, monkeypatch):
    asked = []

    def seconds(program, experiment, compiled):
        asked.append(program.shape)
        return {(2, 1): 1.0, (1, 4): 1.5}[program.shape]

    monkeypatch.setattr(_measure, "SHAPES", (jt.sweep.ChunkShape(2, 1), jt.sweep.ChunkShape(1, 4)))
    monkeypatch.setattr(_measure, "_seconds_per_step", seconds)
    experiment = jt.Experiment(linear, jt.grid(lr=[0.1, 0.2]), DATA, steps=4, seeds=2, eval_every=2)
    # Two chunks of (2, 1) at 1.0 take longer than one of (1, 4) at 1.5.
    assert jt.plan(experiment, chunk="measure").programs[0].chunk == (1, 4) and asked == [(2, 1), (1, 4)]
    folder = tmp_path / "run" if out else None
    jt.run(experiment, chunk="measure", out=folder)
    asked.clear()
    jt.run(experiment, chunk="measure", out=folder)
    assert len(asked) == (0 if out else 2)


def test_a_timing_is_a_time():
    experiment = jt.Experiment(linear, jt.grid(lr=[0.1]), DATA, steps=4, seeds=2, eval_every=2)
    built = build(experiment, lambda static: Layout())
    (compiled,) = compile_program(built.programs[0], built.table, jax.devices()[:1])
    assert 1e-7 < _measure._seconds_per_step(built.programs[0], experiment, compiled) < 1.0
