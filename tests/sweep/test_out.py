"""Run folders as a user meets them: finished, unfinished, another's, no folder at all."""

import json

import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from problems import OFF, digits, linear, mlp

import jaxtune as jt

DATA = digits()


def experiment(steps=6, lr=(0.1, 0.2), recipe=linear, **more):
    return jt.Experiment(recipe, jt.grid(lr=list(lr), **more), DATA, steps=steps, seeds=[3, 5], eval_every=3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "linear"
    return out, jt.run(experiment(), out=out)


def test_a_finished_folder_returns_its_result_without_training(finished, monkeypatch):
    out, first = finished
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    monkeypatch.setattr("jaxtune.sweep._train.run_program", None)
    again = jt.run(experiment(), out=out)
    assert again.dataset.identical(first.dataset)
    assert_same_bits(again.variables(lr=0.2, seed=5), first.variables(lr=0.2, seed=5))
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before


@pytest.mark.parametrize("with_experiment", [False, True])
def test_loads(finished, with_experiment):
    out, first = finished
    result = jt.load(out, experiment()) if with_experiment else jt.load(out)
    assert result.dataset.identical(first.dataset)
    assert result.dataset["lr"].values.tolist() == [0.1, 0.2]
    assert_same_bits(result.variables(lr=0.1, seed=3), first.variables(lr=0.1, seed=3))
    if with_experiment:
        assert_same_bits(result.predict(DATA.test.x, lr=0.1, seed=3), first.predict(DATA.test.x, lr=0.1, seed=3))
    else:
        with pytest.raises(ValueError, match=r"`experiment`.*jt.load\(path, experiment\)"):
            result.predict(DATA.test.x, lr=0.1, seed=3)


@pytest.mark.parametrize(
    ("other", "part"),
    [
        (lambda: experiment(steps=9), "`steps`"),
        (lambda: experiment(lr=(0.1, 0.3)), "`space`"),
        (lambda: jt.Experiment(linear, jt.grid(lr=[0.1, 0.2]), DATA, steps=6, seeds=[3, 6], eval_every=3), "`seeds`"),
        (
            lambda: jt.Experiment(
                linear, jt.grid(lr=[0.1, 0.2]), digits(64, 48, 47), steps=6, seeds=[3, 5], eval_every=3
            ),
            "`data`",
        ),
        (
            lambda: experiment(
                recipe=lambda hp: jt.Recipe(linear(hp).model, optimizer=optax.sgd(hp.lr / 3), batch_size=16)
            ),
            "`programs`",
        ),
    ],
)
def test_another_experiment_is_refused_with_what_differs(finished, other, part):
    out, _ = finished
    with pytest.raises(ValueError, match=f"another experiment.*{part}.*force=True"):
        jt.run(other(), out=out)
    with pytest.raises(ValueError, match=f"another experiment.*{part}"):
        jt.load(out, other())


def test_an_unfinished_run_is_continued_or_replaced(tmp_path, monkeypatch):
    out = tmp_path / "run"

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("jaxtune.sweep._train.run_program", interrupted)
        with pytest.raises(KeyboardInterrupt):
            jt.run(experiment(), out=out)
    assert not json.loads((out / "run.json").read_text())["finished"]
    with pytest.raises(ValueError, match="unfinished run. Run the experiment again, which goes on"):
        jt.load(out)
    with pytest.raises(ValueError, match="another experiment"):
        jt.run(experiment(steps=9), out=out)
    with pytest.raises(ValueError, match="`keep` is None: the unfinished run .* was begun with keep='all'"):
        jt.run(experiment(), out=out, keep=None)
    assert (jt.run(experiment(), out=out).dataset["status"] == "finished").all()
    assert json.loads((out / "run.json").read_text())["finished"] and not (out / ".lock").exists()
    assert (jt.run(experiment(), out=out, force=True).dataset["status"] == "finished").all()


def test_what_is_no_run_folder_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(ValueError, match="is a file"):
        jt.run(experiment(), out=file)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="no run"):
        jt.run(experiment(), out=tmp_path / "full", force=True)
    with pytest.raises(ValueError, match="no folder"):
        jt.load(tmp_path / "nowhere")
    assert file.read_text() == (tmp_path / "full" / "thesis.tex").read_text() == "precious"


def test_the_record_says_what_ran_where(finished):
    out, _ = finished
    record = json.loads((out / "run.json").read_text())
    assert record["fingerprint"]["seeds"] == [3, 5] and record["fingerprint"]["programs"][0]["chunk"] == [1, 4]
    assert record["devices"] and record["versions"]["jax"] and "partition" in record
    events = [json.loads(line)["event"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert events == ["compiled", "trained", "finished"]


@pytest.mark.parametrize(("keep", "kept"), [("all", 4), ("best", 2), (None, 0)])
def test_keep_says_whose_variables_stay(tmp_path, keep, kept):
    result = jt.run(experiment(), keep=keep, out=tmp_path / "run")
    loaded = jt.load(tmp_path / "run")
    for r in (result, loaded):
        found = 0
        for lr in (0.1, 0.2):
            for seed in (3, 5):
                try:
                    found += np.isfinite(r.variables(lr=lr, seed=seed).params["Dense_0"]["kernel"]).all()
                except ValueError as error:
                    assert "not kept" in str(error)
        assert found == kept
    if keep == "best":
        assert result.variables(**result.best("valid_accuracy").arm, seed=3)


def test_more_than_was_kept_is_refused(tmp_path):
    jt.run(experiment(), keep=None, out=tmp_path / "run")
    assert jt.run(experiment(), keep=None, out=tmp_path / "run").dataset.sizes["lr"] == 2
    with pytest.raises(ValueError, match="`keep` is 'all'.*keep=None.*force=True"):
        jt.run(experiment(), out=tmp_path / "run")


def test_every_kind_of_coordinate_comes_back(tmp_path):
    def recipe(hp):
        model = jt.models.MLP((hp.width,), 10, activation=hp.act, batch_norm=hp.bn)
        return jt.Recipe(model, optimizer=optax.sgd(hp.kind["lr"], hp.kind["momentum"]), batch_size=16)

    space = jt.grid(
        width=[8],
        act={"square": lambda x: x * x},
        bn=[True, False],
        kind={"slow": {"lr": 0.01, "momentum": 0.0}, "fast": {"lr": 0.1, "momentum": 0.9}},
    )
    result = jt.run(jt.Experiment(recipe, space, DATA, steps=2, seeds=1, eval_every=2), out=tmp_path / "run")
    loaded = jt.load(tmp_path / "run")
    assert loaded.dataset.identical(result.dataset)
    for r in (result, loaded):
        assert r.dataset.sizes == {"width": 1, "act": 1, "bn": 2, "kind": 2, "seed": 1, "step": 1}
        chosen = r.variables(width=8, act="square", bn=True, kind="fast", seed=0)
        assert chosen.params["Dense_0"]["kernel"].shape == (64, 8) and "batch_stats" in chosen.model_state
    for bn in (True, False):
        for kind in ("slow", "fast"):
            outputs = result.predict(DATA.test.x, bn=bn, kind=kind, seed=0)
            measured = result.dataset["test_accuracy"].sel(bn=bn, kind=kind).item()
            assert measured == pytest.approx(float((outputs.argmax(-1) == DATA.test.y).mean()), abs=1e-6)


def test_structures_other_than_dicts_come_back_with_the_experiment(tmp_path):
    def recipe(hp):
        def init(key, x):
            return [(np.zeros((64, 10), np.float32), np.zeros(10, np.float32))], ()

        def apply(params, state, x, *, key, train):
            ((w, b),) = params
            return x.reshape(x.shape[0], -1) @ w + b[None], state

        return jt.Recipe(jt.Model(init, apply), optimizer=optax.sgd(hp.lr), batch_size=16)

    question = experiment(recipe=recipe)
    result = jt.run(question, out=tmp_path / "run")
    assert_same_bits(jt.load(tmp_path / "run", question).variables(lr=0.1, seed=3), result.variables(lr=0.1, seed=3))
    bare = jt.load(tmp_path / "run").variables(lr=0.1, seed=3)
    np.testing.assert_array_equal(bare.params[0][0], result.variables(lr=0.1, seed=3).params[0][0])


def test_epochs_become_steps():
    space = jt.grid(l2=[0.0], dropout=[0.0], lr=[0.1], patience=[OFF])
    result = jt.run(jt.Experiment(mlp, space, digits(train=60), epochs=3, seeds=1, eval_every=5))
    assert result.dataset["step"].values.tolist() == [5, 10, 12]


def test_a_damaged_cube_is_refused(tmp_path):
    out = tmp_path / "run"
    jt.run(experiment(), out=out)
    damaged = bytearray((out / "results.nc").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (out / "results.nc").write_bytes(damaged)
    with pytest.raises(ValueError, match="results.nc' is missing or damaged"):
        jt.load(out)


def test_the_record_names_the_commit_that_the_recipe_is_of(tmp_path):
    import importlib.util
    import json
    import subprocess

    def git(*command):
        options = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", "-C", tmp_path, *options, *command], check=True, capture_output=True, text=True
        ).stdout

    source = "import optax, jaxtune as jt\ndef recipe(hp):\n    return jt.Recipe(jt.models.MLP((), 10), optimizer=optax.sgd(hp.lr), batch_size=16)\n"
    (tmp_path / "code.py").write_text(source)
    spec = importlib.util.spec_from_file_location("code_of_recipe", tmp_path / "code.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def recorded(name):
        jt.run(jt.Experiment(module.recipe, jt.grid(lr=[0.1]), DATA, steps=2, seeds=1), out=tmp_path / name)
        return json.loads((tmp_path / name / "run.json").read_text())["commit"]

    assert recorded("none") is None
    git("init")
    git("add", "code.py")
    git("commit", "-m", "one")
    assert recorded("clean") == git("rev-parse", "HEAD").strip()
    (tmp_path / "code.py").write_text(source + "# changed\n")
    assert recorded("changed") == git("rev-parse", "HEAD").strip() + "+"


def test_settings_that_differ_deep_in_an_array_are_another_experiment(tmp_path):
    def recipe(hp):
        return jt.Recipe(jt.models.MLP((), 10), optimizer=optax.sgd(hp.scale["w"].sum() * 1e-4), batch_size=16)

    def run(change):
        long = np.ones(2000)  # the text of an array leaves out what is in the middle
        long[1000] += change
        space = jt.grid(scale={"a": {"w": np.ones(2000)}, "b": {"w": long}})
        return jt.run(jt.Experiment(recipe, space, DATA, steps=2), out=tmp_path / "run")

    first = run(1e-9)
    assert run(1e-9).dataset.identical(first.dataset)
    with pytest.raises(ValueError, match="another experiment.*`space`"):
        run(2e-9)


def test_the_same_numbers_at_other_places_are_other_settings(tmp_path):
    def run(axis):
        def recipe(hp):
            return jt.Recipe(
                jt.models.MLP((), 10),
                optimizer=optax.sgd(hp.rate.get("a", 0.1) * hp.rate.get("b", 1.0)),
                batch_size=16,
            )

        return jt.run(jt.Experiment(recipe, jt.grid(rate=axis), DATA, steps=2), out=tmp_path / "run")

    run({"one": {"a": 0.5}, "two": {"a": 0.25}})
    with pytest.raises(ValueError, match="another experiment.*`space`"):
        run({"one": {"b": 0.5}, "two": {"b": 0.25}})


def test_bare_arrays_are_settings_too(tmp_path):
    def run(change):
        def recipe(hp):
            return jt.Recipe(jt.models.MLP((), 10), optimizer=optax.sgd(hp.scale.sum() * 1e-4), batch_size=16)

        long = np.ones(2000)
        long[1000] += change
        experiment = jt.Experiment(recipe, jt.grid(scale={"a": np.ones(2000), "b": long}), DATA, steps=2)
        return jt.run(experiment, out=tmp_path / "run")

    run(1e-9)
    with pytest.raises(ValueError, match="another experiment.*`space`"):
        run(2e-9)


def test_what_was_left_by_a_process_killed_at_the_very_end_is_removed(tmp_path):
    out = tmp_path / "run"
    first = jt.run(experiment(), out=out)
    (out / "checkpoints" / "0").mkdir(parents=True)
    assert jt.run(experiment(), out=out).dataset.identical(first.dataset)
    assert not (out / "checkpoints").exists() and not (out / ".lock").exists()
