"""Arbitrary spaces, experiments, recipes and plans."""

import numpy as np
import optax
from faults.fuzz.values import anything, few, mostly, numbers, scalars, whole_numbers, words, works_or_is_refused
from faults.inputs import DATA
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from problems import linear

import jaxtune as jt
from jaxtune.training._hyperparameters import Hyperparameters
from jaxtune.training._recipe import call_recipe

# Spaces

names = st.one_of(
    st.sampled_from(["lr", "l2", "width", "act", "seed", "arm", "step", "test_x", "_a", "values", "a b"]), words
)
same = anything.flatmap(lambda v: st.lists(st.just(v), min_size=2, max_size=3))
settled = st.one_of(
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(), min_size=1, max_size=4, unique=True),
    st.lists(st.floats(0, 1) | st.booleans() | st.text(max_size=3) | st.integers(0, 3), min_size=1, max_size=4),
    st.dictionaries(
        st.text(max_size=3), st.none() | st.booleans() | st.integers() | st.floats(0, 1), min_size=1, max_size=3
    ),
    st.dictionaries(
        st.text(max_size=3), st.fixed_dictionaries({"a": numbers, "b": st.floats(0, 1)}), min_size=1, max_size=3
    ),
    npst.arrays(st.sampled_from([np.float32, np.int64, np.float64, bool]), (3,), unique=True),
)
marked = st.one_of(settled, settled.map(jt.static), st.lists(whole_numbers, min_size=1, max_size=3).map(jt.traced))
axes = mostly(
    marked, st.one_of(anything, st.lists(numbers, max_size=4), same, st.dictionaries(words, anything, max_size=3))
)
good_names = st.sampled_from(["lr", "l2", "width", "act", "é"])
axes_by_name = mostly(st.dictionaries(good_names, axes, max_size=3), st.dictionaries(names, axes, max_size=3))
value = (
    st.floats(0, 1)
    | st.integers(0, 3)
    | st.booleans()
    | st.none()
    | st.sampled_from([len, max, np.ones(2), {"a": 0.5}])
)
a_change = st.dictionaries(st.sampled_from(["l2", "lr"]), mostly(value, anything), max_size=2)
changes = st.dictionaries(words, mostly(a_change, anything), max_size=3)
bounds = mostly(st.floats(-1, 9), numbers | anything)
distributions = mostly(
    st.one_of(
        st.tuples(st.sampled_from(["uniform", "log_uniform"]), bounds, mostly(st.floats(9, 20), bounds)),
        st.tuples(st.just("choice"), axes),
    ),
    st.tuples(st.just("itself"), anything),
)
factors = st.one_of(
    st.tuples(st.just("grid"), axes_by_name),
    st.tuples(
        st.just("arms"),
        mostly(st.fixed_dictionaries({"l2": value, "lr": value}), st.dictionaries(names, anything) | anything),
        mostly(st.none() | changes, anything),
    ),
    st.tuples(
        st.just("sample"),
        mostly(few, st.integers(-1, 0) | scalars.filter(lambda v: not isinstance(v, int) or v < 100)),
        st.fixed_dictionaries(
            {},
            optional={
                "method": mostly(st.sampled_from(["random", "latin", "sobol"]), anything),
                "seed": mostly(st.integers(0, 9), scalars),
            },
        ),
        st.dictionaries(
            mostly(good_names, names.filter(lambda n: n not in ("method", "seed"))), distributions, max_size=2
        ),
    ),
)


def factor(kind, *given):
    """Returns a space, or what else comes of it."""
    if kind == "grid":
        return jt.grid(**given[0])
    if kind == "arms":
        return jt.arms(*given)
    n, options, drawn = given
    made = {
        name: arguments[0] if kind == "itself" else getattr(jt, kind)(*arguments)
        for name, (kind, *arguments) in drawn.items()
    }
    return jt.sample(n, **options, **made)


def space_is_made_or_refused(parts):
    def make():
        space = factor(*parts[0])
        for part in parts[1:]:
            space = space * factor(*part)
        # A space that was made can be used: its arms, its traced values, its labels in a result.
        arms = range(min(len(space), 20))
        for arm in arms:
            assert set(space.values(arm)) == {axis.name for axis in space.axes}
        assert {a.name for a in space.axes if a.traced} == set(space.stacked(arms) if arms else space.stacked([]))
        assert len(space.coordinates()) >= len(space.axes) and repr(space)

    works_or_is_refused(make)


# Experiments

counts = mostly(st.integers(1, 99), st.one_of(st.integers(-1, 0), st.none(), numbers, anything))
seeds = st.one_of(
    st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True),
    few,
    st.lists(st.integers(-1, 9), max_size=4).map(np.array),
    st.lists(numbers, max_size=3),
    anything.filter(lambda v: not isinstance(v, int) or not 10**6 < v < 2**62),  # that many would fill the memory
)
experiments = st.fixed_dictionaries(
    {},
    optional={
        "recipe": mostly(st.just(linear), anything),
        "space": mostly(st.just(jt.grid(lr=[0.1])), anything),
        "data": mostly(st.just(DATA), anything),
        "steps": counts,
        "epochs": mostly(st.none(), counts),
        "eval_every": counts,
        "seeds": seeds,
    },
)


def experiment_is_made_or_refused(fields):
    arguments = {"recipe": linear, "space": jt.grid(lr=[0.1]), "data": DATA, "steps": 4, **fields}

    def make():
        made = jt.Experiment(**arguments)
        assert made.seed_values == tuple(made.seeds) and made.quick().seed_values == made.seed_values[:2]

    works_or_is_refused(make)


# Recipes

MODELS = [
    jt.models.MLP((4,), 10),
    jt.models.MLP((), 9),
    jt.models.MLP((0,), 10),
    jt.models.CNN((4,), 10),
    jt.models.MLP,
]
fields = st.fixed_dictionaries(
    {},
    optional={
        "model": mostly(st.sampled_from([*MODELS, jt.models.MLP((4,), 10.0), jt.Model(None, None)]), anything),
        "optimizer": mostly(
            st.sampled_from([optax.adam(0.1), optax.sgd, optax.GradientTransformation(None, None)]), anything
        ),
        "batch_size": mostly(st.integers(-1, 70), anything),
        "loss": mostly(st.sampled_from([jt.losses.squared_error, jt.losses.hinge, jt.losses.focal(2.0)]), anything),
        "penalty": mostly(st.sampled_from([jt.penalties.l2(0.1), jt.penalties.activity_l1(0.1, "Dense_7")]), anything),
        "normalize": mostly(st.just(jt.data.whiten(1e-3)), anything),
        "subset": mostly(st.sampled_from([jt.data.fold(0, of=5), jt.data.balanced(7)]), anything),
        "augment": mostly(st.sampled_from([jt.data.augment.flip(0.5), jt.data.augment.target_noise(0.1)]), anything),
        "metrics": mostly(st.dictionaries(words, st.just(jt.metrics.f1(10)) | anything, max_size=2), anything),
        "early_stopping": mostly(st.just(jt.EarlyStopping(5.0, metric="f1")), anything),
        "plateau": mostly(st.just(jt.ReduceOnPlateau()), anything),
        "gradient": mostly(st.just(jt.optim.sam(0.1)), anything),
        "weight_average": mostly(st.dictionaries(words, st.just(jt.optim.ema(0.9)) | anything, max_size=2), anything),
        "reestimate": st.booleans(),
    },
)
recipes = mostly(fields, anything.filter(lambda v: not isinstance(v, dict)))


def made_of(given):
    """Returns the recipe that has some fields, or that returns something else."""
    usual = {"model": MODELS[0], "optimizer": optax.sgd(0.1), "batch_size": 16}
    return lambda hp: jt.Recipe(**{**usual, **given}) if isinstance(given, dict) else given


def recipe_is_called_or_refused(given):
    works_or_is_refused(lambda: call_recipe(made_of(given), Hyperparameters({})))


# What a plan refuses: fields that can only be judged with a model and data at hand. Users' functions may raise what they like.
judged = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from([*MODELS[:4], jt.models.MLP((4,), 10, dropout=1.5), jt.models.MLP((4.0,), 10)]),
        "batch_size": st.integers(1, 70),
        "loss": st.sampled_from(
            [None, jt.losses.squared_error, jt.losses.hinge, jt.losses.softmax_cross_entropy, lambda o, y: 1.0]
            + [
                lambda o, y: o,
                lambda o, y: o.sum(),
                lambda o, y: o[:3, 0],
                lambda o, y: (o[:, 0], y),
                lambda o, y: None,
            ]
        ),
        "penalty": st.sampled_from(
            [jt.penalties.l2(1), jt.penalties.l2({"Nowhere": 1}), jt.penalties.activity_l1(0.1, "Dense_7")]
            + [jt.penalties.l2(0.1, where=lambda path, leaf: False), jt.penalties.confidence(0.1)]
        ),
        "subset": st.sampled_from(
            [jt.data.fold(0, of=5), jt.data.fold(0, of=65), jt.data.first(100), jt.data.balanced(7)]
            + [jt.data.corrupt_labels(0.1, 3), jt.data.fold(0, of=2, groups=[0, 1]), jt.data.bootstrap(2)]
        ),
        "augment": st.sampled_from(
            [jt.data.augment.flip(0.5), jt.data.augment.target_noise(0.1), jt.data.augment.mixup(0.2, 3)]
            + [lambda key, batch: None, lambda key, batch: batch._replace(x=batch.x[:3])]
        ),
        "metrics": st.sampled_from(
            [{"m": jt.metrics.f1(10)}, {"m": jt.metrics.top_k(11)}, {"m": jt.metrics.macro_f1(3)}]
            + [{"m": lambda o, y: 1.0}, {"m": lambda o, y: o}, {"m": jt.metrics.r2()}, {"m": lambda o, y: None}]
        ),
        "early_stopping": st.sampled_from(
            [jt.EarlyStopping(5.0, metric="f1"), jt.EarlyStopping(3), jt.EarlyStopping(3, metric="valid_m")]
        ),
        "reestimate": st.booleans(),
    },
)
plans = st.tuples(
    judged, st.sampled_from([{}, {"chunk": (2, 2)}, {"chunk": 4}, {"memory": 10}, {"convolution": "patches"}])
)


def plan_is_made_or_refused(drawn):
    given, options = drawn
    experiment = jt.Experiment(made_of(given), jt.grid(), DATA, steps=2, seeds=1)
    works_or_is_refused(lambda: str(jt.plan(experiment, **options)))
