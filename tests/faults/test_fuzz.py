"""Arbitrary input either works, or is refused with its name, the value, the reason and the cure.

Nothing else may come out: no assertion, no error of NumPy's or JAX's, no traceback on the command line. Each property has a
quick variant and an exhaustive one, of the same body.
"""

import contextlib
import io
import string

import pytest
from faults.fuzz import data, experiments
from faults.fuzz.values import anything, numbers, scalars, works_or_is_refused
from faults.inputs import FOLDER, written
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

import jaxtune as jt

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
    "spaces": (st.lists(experiments.factors, min_size=1, max_size=3), experiments.space_is_made_or_refused, 30, 1000),
    "experiments": (experiments.experiments, experiments.experiment_is_made_or_refused, 15, 400),
    "recipes": (experiments.recipes, experiments.recipe_is_called_or_refused, 15, 400),
    "plans": (experiments.plans, experiments.plan_is_made_or_refused, 4, 80),
    "arrays": (data.datasets, data.splits_are_made_or_refused, 20, 600),
    "streams": (data.streams, data.stream_is_made_or_refused, 10, 300),
    "csv": (data.tables, data.csv_is_read_or_refused, 15, 600),
    "npz": (data.archives, data.npz_is_read_or_refused, 15, 800),
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
