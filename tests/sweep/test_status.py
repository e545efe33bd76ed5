"""How trials end, and that a bad one is data and not an exception."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from problems import OFF, digits, mlp

import jaxtune as jt

DATA = digits()


def test_a_diverged_trial_keeps_its_last_good_boundary():
    blow_up_at = 13  # updates are counted from 1

    def recipe(hp):
        def schedule(count):
            return jnp.where(count == blow_up_at - 2, hp.late, 0.01)

        model = jt.models.MLP((), hp.run.outputs)
        return jt.Recipe(model, optimizer=optax.sgd(schedule), batch_size=16)

    space = jt.grid(late=[0.01, float(np.finfo(np.float32).max)])
    result = jt.run(jt.Experiment(recipe, space, DATA, steps=25, seeds=2, eval_every=5))
    bad = result.dataset.isel(late=1)
    assert (bad["status"] == "diverged").all()
    assert (bad["first_bad_step"] == blow_up_at).all()
    assert (bad["best_step"] == 10).all() and (bad["not_finite"] == "loss").all()
    assert bad["train_loss"].isnull().values.tolist() == [[False, False, True, True, True]] * 2
    assert bad["test_loss"].isnull().all()
    good = result.dataset.isel(late=0)
    assert (good["status"] == "finished").all() and (good["first_bad_step"] == 0).all()
    assert (good["not_finite"] == "").all()
    # Up to there both are the same run, so what is kept of the bad one is the good one's state at step 10.
    short = jt.run(jt.Experiment(recipe, jt.grid(late=[0.01]), DATA, steps=10, seeds=2, eval_every=5))
    late = bad["late"].item()
    assert_same_bits(result.variables(late=late, seed=1), short.variables(seed=1))
    assert result.summary("valid_loss")["lost"].tolist() == [0, 2]
    assert result.compare("valid_loss", dict(late=0.01))["pairs"].tolist() == [0]


LARGEST = float(np.finfo(np.float32).max)


def falling(hp):
    """A parameter `root` that gradient descent on its square root brings below 0, and what may overflow beside it."""

    def init(key, x):
        return {"other": jnp.ones(2), "root": jnp.ones(())}, {"count": jnp.ones(())}

    def apply(params, state, x, *, key, train):
        state = {"count": state["count"] * jnp.where(train, hp.growth, 1.0)}
        return jnp.zeros((x.shape[0], 10)) + 0.0 * params["other"].sum(), state

    def penalty(params):
        root = params["root"]
        return hp.pull * jnp.sqrt(jnp.where(hp.clipped > 0, jnp.maximum(root, 0.0), root))

    optimizer = optax.sgd(lambda count: jnp.where(count == 2, hp.late, 0.5))
    return jt.Recipe(
        jt.Model(init, apply), penalty=jt.penalties.Penalty("root", penalty), optimizer=optimizer, batch_size=16
    )


CAUSES = {
    # what changes: the first bad update, what was bad, where
    "fine": (dict(pull=0.1), (0, "", "")),
    "gradient": (dict(clipped=1.0), (5, "gradient", "root")),
    "loss": (dict(), (5, "loss", "")),
    "parameters": (dict(pull=1.5, late=LARGEST), (3, "parameters", "root")),
    "state": (dict(growth=1e15), (3, "model state", "count")),
}


def norms_by_hand(pull=1.0, late=0.5, **_):
    """Returns the gradient of each update as far as the root is positive."""
    root, found = 1.0, []
    while root > 0 and len(found) < 12:
        found.append(pull / 2 / np.sqrt(root))
        root -= (late if len(found) == 3 else 0.5) * found[-1]
    return found


@pytest.mark.parametrize("streamed", [False, True])
def test_the_cause_of_a_divergence_is_named_with_its_path_and_the_norm_before(streamed):
    changes = {name: change for name, (change, _) in CAUSES.items() if name != "fine"}
    default = dict(pull=0.1, clipped=0.0, late=0.5, growth=1.0)
    space = jt.arms(default, {name: dict(pull=1.0) | change for name, change in changes.items()})
    data = jt.data.Splits(jt.data.Stream(DATA.train), DATA.valid, DATA.test) if streamed else DATA
    found = jt.run(jt.Experiment(falling, space, data, steps=12, seeds=2, eval_every=6)).dataset
    for name, (change, expected) in CAUSES.items():
        trials = found.sel(arm="default" if name == "fine" else name)
        for seed in trials["seed"].values:
            trial = trials.sel(seed=seed)
            seen = (trial["first_bad_step"].item(), trial["not_finite"].item(), trial["not_finite_path"].item())
            assert seen == expected, name
            norm = trial["gradient_norm"].item()
            if name == "fine":
                assert np.isnan(norm)
            else:  # of the update before a bad gradient, else of the bad update itself, whose gradient was finite
                norms = norms_by_hand(**change)
                at = expected[0] - (1 if expected[1] in ("parameters", "model state") else 2)
                assert norm == pytest.approx(norms[at], rel=1e-5), name


def by_hand(values, patience):
    """Returns the index at which early stopping stops, or None, and that of the best evaluation until then."""
    best, wait = 0, 0
    for i, value in enumerate(values):
        best, wait = (i, 0) if i == 0 or value < values[best] else (best, wait + 1)
        if wait >= patience:
            return i, best
    return None, best


def test_early_stopping_stops_keeps_the_best_and_changes_no_neighbour():
    def run(patience, steps=120, seeds=4):
        space = jt.grid(l2=[0.0], dropout=[0.3], lr=[0.05], patience=patience)
        return jt.run(jt.Experiment(mlp, space, DATA, steps=steps, seeds=seeds, eval_every=4))

    result, plain = run([OFF, 1.0, 2.0, 1000.0]), run([OFF])
    off = result.dataset.sel(patience=OFF)
    assert (off["status"] == "finished").all() and (off["best_step"] == 120).all()
    assert_same_bits(off["valid_loss"].values, plain.dataset["valid_loss"].isel(patience=0).values)

    went_on_to_improve = 0
    for patience in (1.0, 2.0, 1000.0):
        for seed in range(4):
            lane = result.dataset.sel(patience=patience, seed=seed).squeeze()
            full, seen = off["valid_loss"].sel(seed=seed).values.squeeze(), lane["valid_loss"].values
            stop, best = by_hand(full, patience)
            end = len(full) if stop is None else stop + 1
            assert lane["status"].item() == ("finished" if stop is None else "stopped")
            assert lane["best_step"].item() == 4 * (best + 1)
            assert_same_bits(seen[:end], full[:end])
            assert np.isnan(seen[end:]).all()
            went_on_to_improve += full[end:].min(initial=np.inf) < full[best]
    assert went_on_to_improve, "no trial would have shown that a stopped lane goes on"

    # What is kept is, to the bit, what a run would end with that ends at the best step.
    step = result.dataset["best_step"].sel(patience=1.0, seed=2).item()
    assert_same_bits(result.variables(patience=1.0, seed=2), run([OFF], steps=step, seeds=[2]).variables(seed=2))
    restored = result.predict(DATA.valid.x, patience=1000.0, seed=2)
    loss = optax.softmax_cross_entropy_with_integer_labels(restored, DATA.valid.y).mean()
    assert float(loss) == pytest.approx(off["valid_loss"].sel(seed=2).min().item(), rel=1e-5)
    kept = result.summary("valid_loss").loc[(0.0, 0.3, 0.05, 1000.0), "mean"]
    assert kept == pytest.approx(float(off["valid_loss"].min("step").mean()), rel=1e-6)


def test_where_nothing_is_ever_better_the_last_parameters_stay():
    def recipe(hp):
        metrics = {"nothing": jt.metrics.mean(lambda outputs, y: outputs[:, 0] * jnp.nan, mode="min")}
        stopping = jt.EarlyStopping(1000.0, metric="valid_nothing")
        model = jt.models.MLP((), hp.run.outputs)
        return jt.Recipe(model, optimizer=optax.sgd(hp.lr), batch_size=16, metrics=metrics, early_stopping=stopping)

    space = jt.grid(lr=[0.05])
    result = jt.run(jt.Experiment(recipe, space, DATA, steps=20, seeds=1, eval_every=10))
    assert result.dataset["best_step"].item() == 20
    outputs = result.predict(DATA.valid.x, seed=0)
    loss = optax.softmax_cross_entropy_with_integer_labels(outputs, DATA.valid.y).mean()
    assert float(loss) == pytest.approx(result.summary("valid_loss")["mean"].item(), rel=1e-5)
    table = result.summary("valid_nothing")
    assert (table["n"].tolist(), table["lost"].tolist()) == ([0], [1])


def test_a_program_that_raises_fails_alone():
    def recipe(hp):
        if hp.width == 0:
            raise ZeroDivisionError("no width")
        return jt.Recipe(jt.models.MLP((hp.width,), hp.run.outputs), optimizer=optax.sgd(0.1), batch_size=16)

    experiment = jt.Experiment(recipe, jt.grid(width=[4, 0]), DATA, steps=4, seeds=2, eval_every=2)
    with pytest.warns(RuntimeWarning, match="width=0 failed: ZeroDivisionError: no width. .*result.failures"):
        result = jt.run(experiment)
    assert result.dataset["status"].values.tolist() == [["finished"] * 2, ["failed"] * 2]
    (trace,) = result.failures
    assert "ZeroDivisionError: no width" in trace
    assert result.summary("valid_accuracy")["lost"].tolist() == [0, 2]
    with pytest.raises(ValueError, match="raised.*result.failures"):
        result.variables(width=0, seed=0)


def test_when_every_program_raises_it_is_raised():
    def recipe(hp):
        raise ZeroDivisionError("always")

    with pytest.raises(ZeroDivisionError, match="always"):
        jt.run(jt.Experiment(recipe, jt.grid(lr=[0.1]), DATA, steps=4))
