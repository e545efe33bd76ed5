"""Arbitrary input either works, or is refused with its name, the value, the reason and the cure.

Nothing else may come out: no assertion, no error of NumPy's or JAX's, no traceback on the command line. Each property has a
quick variant and an exhaustive one, of the same body.
"""

import contextlib
import io
import string
import warnings

import jax
import numpy as np
import optax
import pytest
from faults.test_bad_input_table import DATA, FOLDER, flaw, written
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from hypothesis.extra import numpy as npst
from problems import linear

import jaxtune as jt
from jaxtune.training._hyperparameters import Hyperparameters
from jaxtune.training._recipe import call_recipe

pytestmark = [
    pytest.mark.filterwarnings("ignore:x, images of shape"),
    pytest.mark.filterwarnings("ignore:splits share inputs"),
]


def profile(examples, shrink):
    """Returns settings under which a test sees the same examples every time, and perhaps looks for the smallest that fails."""
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    return settings(
        max_examples=examples,
        phases=phases,
        derandomize=True,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


def works_or_is_refused(action):
    """Returns what an action returns, None where the input was refused in the form."""
    try:
        return action()
    except Exception as error:
        wrong = flaw(error)
        if wrong is not None:
            raise AssertionError(wrong) from error
    return None


def mostly(good, bad):
    """Returns the strategy that draws what is bad once in a while."""
    return st.integers(0, 5).flatmap(lambda i: bad if i == 5 else good)


# Values

whole_numbers = st.one_of(st.integers(-3, 50), st.integers(), st.sampled_from([2**31, 2**63, -(2**63), 10**400]))
numbers = st.one_of(
    whole_numbers,
    st.floats(),
    st.floats(0, 1),
    st.sampled_from([np.float32(0.5), np.int64(3), np.float64("nan"), np.bool_(True), np.float16(1), np.complex64(1j)]),
)
words = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["seed", "arm", "valid_loss", "_x", "lr", "relu", "\x00", "a" * 300, "`", "é. é", "sobol"]),
)
arrays = npst.arrays(
    npst.scalar_dtypes() | npst.array_dtypes(max_size=2) | st.just(np.dtype(np.float32)),
    npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
jax_arrays = st.sampled_from([0.5, [1.0, 2.0], [True], 3]).map(jax.numpy.asarray) | st.builds(
    jax.random.key, st.just(0)
)
odd = st.sampled_from(
    [None, ..., NotImplemented, len, int, np.nan, jt, 1j, b"ab", bytearray(b"a"), range(3), range(0), {1, 2}]
)
scalars = st.one_of(numbers, words, st.booleans(), st.none(), arrays, odd, jax_arrays)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(words | st.integers(0, 3) | st.none(), inner, max_size=3),
        st.builds(jt.static, inner),
        st.builds(jt.traced, inner),
    ),
    max_leaves=6,
)

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
few = st.integers(1, 9)
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


# Data

n = st.integers(0, 12)


def as_objects(values):
    """Returns an array of Python objects."""
    made = np.empty(len(values), object)
    for i, value in enumerate(values):
        made[i] = value
    return made


inputs = n.flatmap(
    lambda n: npst.arrays(
        st.sampled_from(
            [np.float32, np.float64, np.float16, np.uint8, np.int64, bool, complex, "U3", "M8[s]", "m8[s]"]
        ),
        st.tuples(st.just(n), *[st.integers(0, 3)] * 2) | st.just((n, 2)) | st.just((n,)),
    )
)
labels = n.flatmap(
    lambda n: st.one_of(
        st.lists(st.integers(0, 2), min_size=n, max_size=n),
        st.lists(st.integers(-1, 5), min_size=n, max_size=n).map(np.array),
        st.lists(st.sampled_from(["a", "b", ""]), min_size=n, max_size=n),
        st.lists(scalars, min_size=n, max_size=n).map(as_objects),
        npst.arrays(st.sampled_from([np.float64, bool, "S2", "U2"]), n),
    )
)
fractions = st.one_of(st.lists(st.floats(0, 1), min_size=2, max_size=4), st.lists(anything, max_size=3), anything)
no_numbers = anything.filter(lambda v: not isinstance(v, (list, tuple, np.ndarray)))  # a label of 2^31 fills the memory
datasets = st.fixed_dictionaries(
    {"x": inputs | st.dictionaries(words, inputs, max_size=2) | anything, "y": labels | no_numbers},
    optional={
        "weight": n.flatmap(lambda n: npst.arrays(st.sampled_from([np.float32, int]), n)) | anything,
        "groups": labels | anything,
        "fractions": fractions,
        "seed": scalars,
        "classes": st.integers(-1, 5) | scalars,
    },
) | st.integers(4, 30).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "x": npst.arrays(np.float32, (n, 2), elements=st.floats(width=32)),
            "y": st.lists(st.integers(0, 2), min_size=n, max_size=n),
        },
        optional={
            "weight": st.lists(st.floats(-0.1, 1) | st.none(), min_size=n, max_size=n),
            "groups": st.lists(st.integers(0, 9), min_size=n, max_size=n),
            "fractions": fractions,
        },
    )
)


def splits_are_made_or_refused(arguments):
    def make():
        made = jt.data.from_arrays(
            arguments["x"], arguments["y"], **{k: v for k, v in arguments.items() if k not in "xy"}
        )
        assert min(len(made.train), len(made.valid), len(made.test)) > 0 and made.outputs is not None

    works_or_is_refused(make)


pairs = st.tuples(npst.arrays(np.float32, 2, elements=st.floats(-9, 9, width=32)), st.integers(0, 3))
examples = mostly(pairs, st.one_of(st.tuples(inputs, labels), st.tuples(anything, anything), anything))
streams = st.tuples(
    mostly(st.lists(examples, min_size=1, max_size=3) | st.lists(pairs, min_size=1), anything),
    st.dictionaries(st.sampled_from(["seed", "sample_size"]), mostly(few, scalars)),
)


def stream_is_made_or_refused(drawn):
    source, options = drawn
    works_or_is_refused(lambda: len(jt.data.Stream(source, **options).sample))


fields_of_tables = st.one_of(
    st.integers(-2, 3).map(str),
    st.floats().map(str),
    st.text(max_size=5),
    st.sampled_from(["", '"', '"a,b"', str(10**30)]),
)
rows = st.lists(st.lists(fields_of_tables, min_size=2, max_size=2).map(",".join), max_size=8)
sound_rows = st.lists(
    st.tuples(st.floats(-9, 9), st.integers(0, 1) | st.sampled_from(["a", 10**30, "1_0"])), max_size=12
)
tables = st.tuples(
    mostly(
        sound_rows.map(lambda lines: "\n".join(["a,y", *(f"{x},{y}" for x, y in lines)]).encode()),
        st.one_of(
            rows.map(lambda lines: "\n".join(["a,y", *lines]).encode("utf-8", "replace")),
            st.text().map(lambda text: text.encode("utf-8", "replace")),
            st.binary(),
        ),
    ),
    st.fixed_dictionaries(
        {"target": mostly(st.just("y"), words | st.none() | st.just("a"))},
        optional={
            "inputs": mostly(st.just(["a"]), st.lists(words, max_size=2) | anything),
            "groups": mostly(st.just("a"), words),
            "separator": mostly(st.just(","), st.sampled_from([";", "", "ab", "\n", '"', None, 5])),
            "regression": st.booleans(),
            "fractions": mostly(st.just((0.4, 0.3, 0.3)), fractions),
        },
    ),
)


def csv_is_read_or_refused(drawn):
    content, options = drawn
    works_or_is_refused(lambda: jt.data.from_csv(written("fuzz.csv", content), **options))


@st.composite
def damaged_archives(draw):
    """Returns the bytes of an archive of NumPy's, some of which are not as they were written."""
    made, n = io.BytesIO(), draw(st.integers(3, 12))
    save = draw(st.sampled_from([np.savez, np.savez_compressed]))
    save(made, x=np.arange(2.0 * n).reshape(n, 2), y=np.arange(n) % 2, z=np.array("abc"))
    content = bytearray(made.getvalue())
    for place, byte in draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=2)):
        content[place] = byte
    return bytes(content[: draw(mostly(st.none(), st.integers(0, len(content))))])


archives = st.tuples(
    mostly(
        damaged_archives(), st.binary() | st.binary().map(b"PK\x03\x04".__add__) | st.binary().map(b"\x93NUMPY".__add__)
    ),
    mostly(
        st.just({}),
        st.fixed_dictionaries(
            {}, optional={"x": words | st.just("z"), "y": words | st.just("x"), "groups": st.just("y")}
        ),
    ),
)


def npz_is_read_or_refused(drawn):
    content, options = drawn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zip files that hold a name twice
        works_or_is_refused(lambda: jt.data.from_npz(written("fuzz.npz", content), **options))


# Everything that takes numbers

COMPONENTS = [
    *(
        getattr(jt.penalties, name)
        for name in ("l1", "l2", "group_lasso", "orthogonality", "confidence", "input_gradient")
    ),
    *(
        getattr(jt.optim, name)
        for name in ("ema", "swa", "sam", "gradient_noise", "clip_by_value", "max_norm", "prox_l1")
    ),
    *(getattr(jt.data.augment, name) for name in ("flip", "shift", "rotate", "zoom", "shear", "noise", "cutout")),
    *(getattr(jt.losses, name) for name in ("huber", "label_smoothing", "focal", "class_weighted")),
    *(getattr(jt.metrics, name) for name in ("top_k", "f1", "macro_f1", "calibration_error", "r2")),
    *(getattr(jt.data, name) for name in ("first", "bootstrap", "balanced", "min_max", "whiten")),
    *(
        jt.optim.schedules.constant,
        jt.optim.scale_by_path,
        jt.EarlyStopping,
        jt.ReduceOnPlateau,
        jt.Ray,
        jt.models.as_model,
    ),
]
components = st.tuples(st.sampled_from(COMPONENTS), numbers | scalars | anything)


def component_is_made_or_refused(drawn):
    component, value = drawn
    works_or_is_refused(lambda: component(value))


# The command line

FILES = {
    "empty.py": "",
    "three.py": "experiment = 3",
    "none.py": "experiment = None\nreport = 3\nmetric = 5",
    "notes.txt": "no experiment",
    "no_ending": "x = 1",
}
tokens = st.one_of(
    st.sampled_from(
        ["run", "--out", "--quick", "--force", "--help", "-h", "--", "-", "--out=", ".", "/", "~", str(FOLDER)]
    ),
    st.sampled_from(sorted(FILES)).map(lambda name: str(FOLDER / name)),
    st.text(st.characters(blacklist_characters="/"), max_size=10),
    st.text(string.ascii_letters + "./-", max_size=20),
    st.just("a" * 300),
)
commands = st.one_of(
    st.lists(tokens, max_size=5),
    st.lists(tokens, max_size=3).map(lambda rest: ["run", *rest]),
    st.lists(tokens, min_size=1),
)


def command_ends_cleanly(arguments):
    for name, content in FILES.items():
        written(name, content)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            status = jt.cli.main(arguments)
        except SystemExit as ended:
            status = ended.code
    assert status in (0, 1, 2), said.getvalue()
    assert "Traceback" not in said.getvalue(), said.getvalue()


# What is drawn, what is checked, and how many examples a quick and an exhaustive run draw.
PROPERTIES = {
    "spaces": (st.lists(factors, min_size=1, max_size=3), space_is_made_or_refused, 30, 1000),
    "experiments": (experiments, experiment_is_made_or_refused, 15, 400),
    "recipes": (recipes, recipe_is_called_or_refused, 15, 400),
    "plans": (plans, plan_is_made_or_refused, 4, 80),
    "arrays": (datasets, splits_are_made_or_refused, 20, 600),
    "streams": (streams, stream_is_made_or_refused, 10, 300),
    "csv": (tables, csv_is_read_or_refused, 15, 600),
    "npz": (archives, npz_is_read_or_refused, 15, 800),
    "components": (components, component_is_made_or_refused, 15, 400),
    "commands": (commands, command_ends_cleanly, 10, 200),
}


def check(name, exhaustive):
    """Checks a property of as many examples as it says."""
    strategy, prop, quick, whole = PROPERTIES[name]
    profile(whole if exhaustive else quick, shrink=exhaustive)(given(strategy)(prop))()


@pytest.mark.parametrize("name", PROPERTIES)
def test_works_or_is_refused(name):
    check(name, exhaustive=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROPERTIES)
def test_works_or_is_refused_however_hard_one_tries(name):
    check(name, exhaustive=True)
