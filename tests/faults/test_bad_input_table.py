"""A table of bad input to everything that is public: each is refused in one form, before anything compiles.

The form is "`name` is VALUE: reason. Cure." As a script this prints each case with its message:

PYTHONPATH=tests python tests/faults/test_bad_input_table.py
"""

import contextlib
import io
import pathlib

import jax
import pytest
from faults.inputs import FOLDER, FORM, flaw, written
from faults.table import components, data, experiments

import jaxtune as jt

CASES = experiments.CASES | data.CASES | components.CASES
FINE = """
import sys
sys.path.insert(0, {tests!r})
from problems import digits, linear
import jaxtune as jt
experiment = jt.Experiment(linear, jt.grid(lr=[0.1]), digits(), steps=4)
"""
COMMANDS = {
    "no file": (["run", "nowhere.py"], "`file` is 'nowhere.py'"),
    "a folder": (["run", str(FOLDER)], f"`file` is '{FOLDER}'"),
    "a name that is too long": (["run", "a" * 5000], "`file` is 'aaa"),
    "no Python": (["run", written("notes.txt", "x = 1")], "`file` is "),
    "no experiment": (["run", written("empty.py", "x = 1")], "`experiment` is None"),
    "an experiment that is a number": (["run", written("three.py", "experiment = 3")], "`experiment` is 3"),
    "out is a file": (
        [
            "run",
            written("fine.py", FINE.format(tests=str(pathlib.Path(__file__).parents[1]))),
            "--out",
            written("h", ""),
        ],
        f"`out` is '{FOLDER / 'h'}'",
    ),
    "out holds something else": (["run", FOLDER / "fine.py", "--out", FOLDER], f"`out` is '{FOLDER}'"),
}


def refusal(action):
    """Returns the exception that an action ends with, or None."""
    try:
        action()
    except Exception as error:
        return error
    return None


def commanded(arguments):
    """Returns exit status and standard error of a command."""
    with contextlib.redirect_stderr(io.StringIO()) as err:
        return jt.cli.main([str(a) for a in arguments]), err.getvalue()


@pytest.fixture
def no_compilation(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("something was compiled")

    monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("no_compilation")
def test_is_refused_in_the_form(case):
    action, opening, words = CASES[case]
    error = refusal(action)
    assert flaw(error) is None
    assert str(error).startswith(opening) and words in str(error)


@pytest.mark.parametrize("case", COMMANDS)
@pytest.mark.usefixtures("no_compilation")
def test_a_command_is_refused_in_one_line(case):
    arguments, opening = COMMANDS[case]
    status, said = commanded(arguments)
    assert (status, said.count("\n")) == (2, 1)
    assert said.startswith(f"jaxtune: {opening}") and FORM.fullmatch(said.removeprefix("jaxtune: ").strip())


@pytest.mark.parametrize("options", [[], ["--quick"]])
def test_a_script_without_an_experiment_is_refused(options, capsys):
    with pytest.raises(SystemExit, match="2"):
        jt.cli.script(3, arguments=options)
    assert capsys.readouterr().err.startswith("jaxtune: `experiment` is 'int'")


def show():
    """Prints each case and its message."""
    for case, (action, *_) in CASES.items():
        error = refusal(action)
        print(f"{case}\n    {type(error).__name__}: {error}")
    for case, (arguments, _) in COMMANDS.items():
        print(f"command line: {case}\n    {commanded(arguments)[1].strip()}")


if __name__ == "__main__":
    show()
