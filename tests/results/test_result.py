"""What a result hands out: trained variables, predictions, its repr."""

import cubes
import numpy as np
import pytest

from jaxtune.results import KeptVariables, Result, Variables


def _kept(read=None):
    """Returns variables of 2 x 3 arms by 4 seeds in two programs, each parameter the number of its trial.

    Arms 0, 2, 4 are of program 0, arms 1, 3 of program 1; arm 5 was not kept.
    """
    place = np.full((6, 4, 2), -1)
    trials = [[(a, s) for a in (0, 2, 4) for s in range(4)], [(a, s) for a in (1, 3) for s in range(4)]]
    for program, rows in enumerate(trials):
        for row, (arm, seed) in enumerate(rows):
            place[arm, seed] = program, row

    def stack(program):
        if read is not None:
            read.append(program)
        number = np.array([10.0 * arm + seed for arm, seed in trials[program]])
        return Variables({"dense": {"bias": np.stack([number, -number], axis=1)}}, {"count": number})

    return KeptVariables(place, [lambda: stack(0), lambda: stack(1)])


def _scale(arm):
    """Returns a model that multiplies by its bias, and tells its arm and the step it is at."""
    return lambda params, model_state, x, step: (arm, step, x * params["dense"]["bias"][0] + model_state["count"])


def _result(read=None, predictor=_scale):
    return Result(cubes.grid_cube().dataset, _kept(read), predictor)


@pytest.mark.parametrize(
    ("setting", "number"),
    [
        (dict(l2=0.0, width=8, seed=3), 0.0),
        (dict(l2=0.0, width=16, seed=13), 13.0),
        (dict(l2=0.001, width=8, seed=5), 31.0),
        (dict(seed="8", width="16", l2="0.001"), 42.0),
    ],
)
def test_variables_are_those_of_the_trial(setting, number):
    variables = _result().variables(**setting)
    assert isinstance(variables, Variables)
    np.testing.assert_array_equal(variables.params["dense"]["bias"], [number, -number])
    assert variables.model_state == {"count": number}


def test_programs_are_read_when_first_asked_for_and_once():
    read = []
    result = _result(read)
    assert read == []
    for seed in (3, 5):
        result.variables(l2=0.0, width=16, seed=seed)
    assert read == [1]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (dict(l2=1e-3, width=32, seed=3), "the program of this trial raised. See result.failures"),
        (dict(l2=1e-3, width=8), r"`seed` is None: this axis has several values. Choose one of \[3, 5, 8, 13\]"),
        (dict(l2=1e-3, seed=3), r"`width` is None: .*Choose one of \[8, 16, 32\]"),
        (dict(l2=1e-3, width=8, seed=0), r"`seed` is 0: this axis has no such value. Values: \[3, 5, 8, 13\]"),
        (dict(l2=1e-3, width=8, seed=3, lr=1.0), "`lr` is 1.0: the result has no such axis"),
    ],
)
def test_settings_of_no_kept_trial_are_refused(setting, message):
    for call in (_result().variables, lambda **s: _result().predict(np.ones(2), **s)):
        with pytest.raises(ValueError, match=message):
            call(**setting)


def test_predict_calls_the_model_of_the_arm_with_the_variables_of_the_trial():
    result = _result()
    arm, step, outputs = result.predict(np.array([1.0, 2.0]), l2=1e-3, width=16, seed=8)
    assert arm == 4 and step == result.dataset["best_step"].sel(l2=1e-3, width=16, seed=8)
    np.testing.assert_array_equal(outputs, [84.0, 126.0])


def test_predict_without_the_experiment_says_how_to_get_it():
    with pytest.raises(ValueError, match=r"`experiment` is None: .*Load with jt.load\(path, experiment\)"):
        _result(predictor=None).predict(np.ones(2), l2=0.0, width=8, seed=3)


def test_repr_shows_sizes_and_how_trials_ended():
    assert repr(_result()) == "Result(l2: 2, width: 3, seed: 4, step: 3; 1 diverged, 1 failed, 21 finished, 1 stopped)"
