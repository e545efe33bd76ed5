"""Bad input is refused before anything compiles, with the name, the value, the reason and the cure."""

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from problems import OFF, digits, linear, mlp

import jaxtune as jt

DATA = digits()
NAN = float("nan")
X, Y = np.arange(120, dtype=np.float32).reshape(40, 3), np.arange(40) % 4


def experiment(recipe=linear, space=None, data=DATA, **fields):
    return jt.Experiment(recipe, space or jt.grid(lr=[0.1]), data, **{"steps": 4, "seeds": 2, **fields})


def having(**fields):
    """Returns a recipe with other fields than `linear`, which are made from `hp` if they are functions of it."""

    def recipe(hp):
        made = linear(hp)
        given = {"optimizer": made.optimizer, "batch_size": 16, **fields}
        return jt.Recipe(given.pop("model", made.model), **given)

    return recipe


def dropout_at(*rates):
    def recipe(hp):
        return jt.Recipe(jt.models.MLP((4,), 10, dropout=hp.dropout), optimizer=optax.sgd(0.1), batch_size=16)

    return experiment(recipe, jt.grid(dropout=list(rates)))


def full_mlp(**axes):
    return experiment(mlp, jt.grid(**{**dict(l2=[0.0], dropout=[0.1], lr=[0.1], patience=[OFF]), **axes}))


def with_labels(y):
    return jt.data.from_arrays(X, y)


class Wide(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(nn.Dense(self.width)(x.reshape(x.shape[0], -1)))


def ranged(hp):
    for _ in range(hp.depth):
        pass
    return linear(hp)


CASES = {
    # spaces
    "empty axis": (lambda: jt.grid(lr=[]), "`lr` is [].*empty.*at least one"),
    "not a sequence": (lambda: jt.grid(lr=0.1), "`lr` is 0.1.*sequence.*lr=[0.1]"),
    "equal values": (lambda: jt.grid(lr=[0.1, 0.1]), "`lr`.*equal"),
    "NaN on an axis": (lambda: jt.grid(lr=[0.1, NAN]), "`lr` is nan.*NaN"),
    "NaN in an arm": (lambda: jt.arms(dict(lr=0.1), a=dict(lr=NAN)), "`lr` is nan"),
    "NaN in a tree": (lambda: jt.grid(kind={"a": {"b1": NAN}}), "`kind`.*NaN"),
    "floats and None": (lambda: jt.grid(clip=[None, 1.0]), "`clip`.*jt.static"),
    "floats and bools": (lambda: jt.grid(clip=[True, 1.0]), "`clip`.*jt.static"),
    "a function without label": (lambda: jt.grid(act=[nn.relu]), "`act`.*label"),
    "a tuple without label": (lambda: jt.grid(hidden=[(1, 2)]), "`hidden`.*label"),
    "labels that are no strings": (lambda: jt.grid(act={1: nn.relu}), "`act` is 1.*strings"),
    "trees of two structures": (lambda: jt.grid(k={"a": {"x": 1.0}, "b": {"y": 1.0}}), "`k`.*structure"),
    "strings marked traced": (lambda: jt.grid(k=jt.traced(["a"])), "`k`.*traced"),
    "axis called seed": (lambda: jt.grid(seed=[0.1]), "`axis` is 'seed'.*reserved"),
    "axis called arm": (lambda: jt.grid(arm=[0.1]), "reserved"),
    "axis called run": (lambda: jt.grid(run=[0.1]), "reserved"),
    "axis called step": (lambda: jt.sample(2, step=jt.uniform(0, 1)), "reserved"),
    "axis called like a result": (lambda: jt.grid(valid_loss=[0.1]), "reserved"),
    "axis called like a method": (lambda: jt.grid(items=[0.1]), "reserved"),
    "axis twice": (lambda: jt.grid(lr=[0.1]) * jt.grid(lr=[0.2]), "`space` is 'lr'.*once"),
    "arms twice": (lambda: jt.arms(dict(a=0.1)) * jt.arms(dict(b=0.1)), "`space` is 'arm'"),
    "an arm called default": (lambda: jt.arms(dict(lr=0.1), default=dict(lr=0.2)), "`arms` is 'default'"),
    "an arm twice": (lambda: jt.arms(dict(lr=0.1), {"a": dict(lr=0.2)}, a=dict(lr=0.3)), "`arms` is 'a'"),
    "two equal arms": (lambda: jt.arms(dict(lr=0.1), a=dict(lr=0.2), b=dict(lr=0.2)), "('a', 'b').*equal"),
    "an arm equal to the default": (lambda: jt.arms(dict(lr=0.1), a=dict(lr=0.1)), "('default', 'a').*equal"),
    "an arm called like a value": (
        lambda: jt.arms(dict(act="relu"), relu=dict(act=nn.relu)),
        "`act` is 'relu'.*confused.*Rename",
    ),
    "numbers equal in float32": (lambda: jt.grid(lr=[1.0, 1.0 + 1e-12]), "`lr`.*float32"),
    "numbers too small for float32": (lambda: jt.grid(lr=[1e-50, 1.0]), "`lr` is 1e-50.*float32"),
    "trees of two shapes": (lambda: jt.grid(k={"a": np.ones(2), "b": np.ones(3)}), "`k`.*shapes"),
    "an arm changes the unknown": (lambda: jt.arms(dict(lr=0.1), a=dict(l2=0.1)), "`a` is 'l2'.*default"),
    "an arm that is no dict": (lambda: jt.arms(dict(lr=0.1), a=0.2), "`a` is 0.2.*dict"),
    "no default": (lambda: jt.arms({}), "`default`"),
    "no draws": (lambda: jt.sample(0, lr=jt.uniform(0, 1)), "`n` is 0"),
    "nothing to draw": (lambda: jt.sample(4), "`axes`"),
    "a value to draw from": (lambda: jt.sample(4, lr=[0.1]), "`lr`.*distribution"),
    "unknown method": (lambda: jt.sample(4, method="grid", lr=jt.uniform(0, 1)), "`method` is 'grid'"),
    "bounds in disorder": (lambda: jt.uniform(1.0, 0.0), "`uniform`.*order"),
    "log of zero": (lambda: jt.log_uniform(0.0, 1.0), "`log_uniform`.*positive"),
    # experiments
    "zero seeds": (lambda: experiment(seeds=0), "`seeds` is 0"),
    "a seed twice": (lambda: experiment(seeds=[1, 1]), "`seeds`.*twice"),
    "a negative seed": (lambda: experiment(seeds=[-1]), "`seeds` is -1"),
    "zero steps": (lambda: experiment(steps=0), "`steps` is 0"),
    "steps as a float": (lambda: experiment(steps=10.0), "`steps` is 10.0.*whole"),
    "steps and epochs": (lambda: experiment(epochs=1), "`steps`.*either"),
    "neither": (lambda: experiment(steps=None), "`steps`.*either"),
    "eval_every over steps": (lambda: experiment(eval_every=5), "`eval_every` is 5.*4 steps"),
    "eval_every over epochs": (
        lambda: jt.plan(experiment(steps=None, epochs=1, eval_every=9)),
        "`eval_every` is 9.*4 steps of 1 epochs",
    ),
    "eval_every zero": (lambda: experiment(eval_every=0), "`eval_every` is 0"),
    "space is a dict": (lambda: jt.Experiment(linear, {"lr": [0.1]}, DATA, steps=4), "`space`.*jt.grid"),
    "data is a tuple": (lambda: experiment(data=(X, Y)), "`data` is 'tuple'.*from_arrays"),
    "recipe is a Recipe": (lambda: jt.Experiment(3, jt.grid(lr=[0.1]), DATA, steps=4), "`recipe` is 3"),
    "keep": (lambda: jt.run(experiment(), keep="some"), "`keep` is 'some'"),
    "chunk": (lambda: jt.plan(experiment(), chunk=(0, 1)), "`chunk` is 0"),
    # recipes
    "no Recipe": (lambda: jt.plan(experiment(lambda hp: hp.lr)), "`recipe` is 'float'.*jt.Recipe"),
    "zero batch size": (lambda: jt.plan(experiment(having(batch_size=0))), "`batch_size` is 0"),
    "batch over the split": (lambda: jt.plan(experiment(having(batch_size=65))), "`batch_size` is 65.*64 examples"),
    "batch size of floats": (
        lambda: jt.plan(experiment(lambda hp: having(batch_size=hp.b)(hp), jt.grid(lr=[0.1], b=[8.0, 16.0]))),
        "`batch_size` is 8.0: a whole number is needed",
    ),
    "optimizer": (lambda: jt.plan(experiment(having(optimizer="adam"))), "`optimizer` is 'adam'.*Optax"),
    "model": (lambda: jt.plan(experiment(having(model=3))), "`model` is 3"),
    "penalty": (lambda: jt.plan(experiment(having(penalty=0.1))), "`penalty` is 0.1"),
    "two penalties of one name": (
        lambda: jt.plan(experiment(having(penalty=(jt.penalties.l2(0.1), jt.penalties.l2(0.2))))),
        "`penalty`.*'l2'.*name=",
    ),
    "early stopping": (lambda: jt.plan(experiment(having(early_stopping=5))), "`early_stopping` is 5"),
    "watched metric": (
        lambda: jt.plan(experiment(having(early_stopping=jt.EarlyStopping(5, metric="valid_f1")))),
        "`early_stopping.metric` is 'valid_f1'.*valid_loss",
    ),
    "metric name": (lambda: jt.plan(experiment(having(metrics={"loss": lambda o, y: y}))), "`metrics` is 'loss'"),
    "loss is averaged": (
        lambda: jt.plan(experiment(having(loss=lambda o, y: optax.softmax_cross_entropy_with_integer_labels(o, y).mean()))),
        "`loss`.*one value per example",
    ),
    "wrong number of classes": (
        lambda: jt.plan(experiment(having(model=jt.models.MLP((), 9)))),
        "`model`.*10 classes.*hp.run.outputs",
    ),
    "rate over 1": (lambda: jt.plan(dropout_at(0.1, 1.5)), "`rate` is 1.5.*between 0 and 1"),
    "negative rate": (lambda: jt.plan(dropout_at(-0.1, 0.5)), "`rate` is -0.1.*between 0 and 1"),
    "infinite rate": (lambda: jt.plan(dropout_at(0.1, OFF)), "infinity"),
    "negative strength": (lambda: jt.plan(full_mlp(l2=[-1e-3, 0.0])), "`strength` is -0.001"),
    "infinite strength": (lambda: jt.plan(full_mlp(l2=[OFF, 0.0])), "`strength` is inf.*infinity"),
    "infinite learning rate": (lambda: jt.plan(full_mlp(lr=[OFF, 0.1])), "`lr` is inf.*off"),
    "patience below 1": (lambda: jt.plan(full_mlp(patience=[0.5, OFF])), "`patience` is 0.5"),
    "metrics without names": (lambda: jt.plan(experiment(having(metrics=[len]))), "`metrics`.*dict"),
    "a metric that is averaged": (
        lambda: jt.plan(experiment(having(metrics={"m": lambda o, y: (o.argmax(-1) == y).mean()}))),
        "`metrics`.*one value per example",
    ),
    "a penalty's name": (lambda: jt.penalties.l2(0.1, name="a/b"), "`name` is 'a/b'.*identifier"),
    "an objective without weights": (
        lambda: jt.plan(experiment(having(loss=jt.Objective(unweighted)))),
        "`loss`.*batch.weight",
    ),
    "a key in the state": (lambda: jt.plan(experiment(having(model=keyed()))), "`model`.*key at 1/key"),
    "running statistics without a switch": (
        lambda: jt.plan(experiment(having(model=NoSwitch()))),
        "`model` is 'NoSwitch'.*`train`",
    ),
    "state that grows": (lambda: jt.plan(experiment(having(model=Sower()))), "`collection` is 'losses'.*intermediates"),
    "no experiment": (lambda: jt.plan(linear), "`experiment` is 'function'"),
    # traced and static
    "traced width": (
        lambda: jt.plan(experiment(having_width, jt.grid(lr=[0.1], width=jt.traced([4, 8])))),
        "`width` is traced.*width=jt.static",
    ),
    "traced width in a user's model": (
        lambda: jt.plan(experiment(user_width, jt.grid(lr=[0.1], width=jt.traced([4, 8])))),
        "`width` is traced.*width=jt.static",
    ),
    "range of a tracer": (
        lambda: jt.plan(experiment(ranged, jt.grid(lr=[0.1], depth=jt.traced([1, 2])))),
        "`depth` is traced.*test_bad_input.py.*depth=jt.static",
    ),
    "an axis nobody reads": (lambda: jt.plan(experiment(space=jt.grid(lr=[0.1], l2=[0.0, 1.0]))), "`l2` is an axis"),
    "a static axis nobody reads": (
        lambda: jt.plan(experiment(space=jt.grid(lr=[0.1], width=[4, 8]))),
        "`width` is an axis.*4 and 8.*same program",
    ),
    "a static axis of 1 and True nobody reads": (
        lambda: jt.plan(experiment(space=jt.grid(lr=[0.1], on=jt.static({"a": 1, "b": True})))),
        "`on` is an axis",
    ),
    "unknown hyperparameter": (lambda: jt.plan(experiment(lambda hp: having(batch_size=hp.size)(hp))), "`size` is no hyperparameter.*which has: lr"),
    # data
    "labels of another length": (lambda: jt.data.from_arrays(X, Y[:-1]), "`x.*40 examples and y has 39"),
    "NaN in the data": (lambda: jt.data.from_arrays(np.full((40, 3), np.nan), Y), "`x`.*120 values are NaN"),
    "negative labels": (lambda: with_labels(Y - 1), "y` is -1.*outside the classes"),
    "labels over the classes": (lambda: jt.data.from_arrays(X, Y, classes=3), "y` is 3.*outside the classes 0 to 2"),
    "float labels": (
        lambda: jt.plan(experiment(having(loss=jt.losses.softmax_cross_entropy), data=with_labels(Y.astype(float)))),
        "`y` is 'float32'.*integer",
    ),
    "float labels by mistake": (
        lambda: jt.plan(experiment(having(model=jt.models.MLP((), 4)), data=with_labels(Y.astype(float)))),
        "`outputs`.*integer labels",
    ),
    "object dtype": (lambda: jt.data.from_arrays(np.full((40, 3), "a", object), Y), "`x`.*object"),
    "unknown data set": (lambda: jt.data.load("digit"), "`name` is 'digit'.*'digits'"),
}  # fmt: skip


def unweighted(apply, params, state, batch, key):
    outputs, state = apply(params, state, batch.x, key=key, train=True)
    return optax.softmax_cross_entropy_with_integer_labels(outputs, batch.y).mean(), (state, {})


def keyed():
    def init(key, x):
        return {"w": np.zeros((64, 10), np.float32)}, {"key": key}

    def apply(params, state, x, *, key, train):
        return x.reshape(x.shape[0], -1) @ params["w"], state

    return jt.Model(init, apply)


class NoSwitch(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=True)(nn.Dense(10)(x.reshape(x.shape[0], -1)))


class Sower(nn.Module):
    @nn.compact
    def __call__(self, x):
        self.sow("losses", "norm", (x**2).sum())
        return nn.Dense(10)(x.reshape(x.shape[0], -1))


def having_width(hp):
    return jt.Recipe(jt.models.MLP((hp.width,), 10), optimizer=optax.sgd(hp.lr), batch_size=16)


def user_width(hp):
    return jt.Recipe(Wide(hp.width), optimizer=optax.sgd(hp.lr), batch_size=16)


@pytest.fixture
def no_compilation(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("something was compiled")

    monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("no_compilation")
def test_is_refused(case):
    action, pattern = CASES[case]
    special = pattern.replace("[", r"\[").replace("]", r"\]").replace("(", r"\(").replace(")", r"\)")
    with pytest.raises((ValueError, TypeError), match=f"(?s){special}"):
        action()


def test_an_axis_used_in_some_programs_only_is_allowed_and_reported():
    def recipe(hp):
        optimizer = optax.adam(hp.lr, b2=hp.b2) if hp.adam else optax.sgd(hp.lr)
        return jt.Recipe(jt.models.MLP((), 10), optimizer=optimizer, batch_size=16)

    plan = jt.plan(experiment(recipe, jt.grid(adam=[True, False], lr=[0.1], b2=[0.9, 0.99, 0.999])))
    assert plan.duplicates == {4: 3, 5: 3}
    assert "2 arms repeat another" in str(plan)


def test_repetitions_are_seen_across_programs():
    def recipe(hp):
        model = jt.models.MLP((4,), 10, batch_norm=hp.bn, momentum=hp.momentum if hp.bn else 0.5)
        return jt.Recipe(model, optimizer=optax.sgd(0.1), batch_size=16)

    space = jt.grid(bn=[True, False], momentum=jt.static([0.5, 0.9]))
    assert jt.plan(experiment(recipe, space)).duplicates == {3: 2}


def test_infinity_is_a_value_where_it_means_off():
    assert jt.plan(full_mlp(patience=[OFF, 3.0])).trials == 4
