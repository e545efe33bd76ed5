"""Bad strengths, rates and other arguments of components, and bad questions to results."""

import collections

import numpy as np
import optax
from cubes import arms_cube, grid_cube
from faults.inputs import HUGE, IMAGES, INF, NAN, X, Y, key

import jaxtune as jt

KEPT = jt.results.KeptVariables(np.full((6, 4, 2), -1), [])
GRID = jt.Result(grid_cube().dataset, KEPT)
ARMS = jt.Result(arms_cube().dataset, KEPT)
Running = collections.namedtuple("Running", "mean var")

# What is called, how its message begins, what else is in it.
CASES = {
    # components
    "l2: negative": (lambda: jt.penalties.l2(-1), "`strength` is -1", "at least 0"),
    "l2: infinite": (lambda: jt.penalties.l2(INF), "`strength` is inf", "off"),
    "l2: over all floats": (lambda: jt.penalties.l2(HUGE), "`strength` is 1000", ""),
    "l2: no strength": (lambda: jt.penalties.l2({}), "`strength` is {}", "by path prefix"),
    "l2: one of the strengths": (lambda: jt.penalties.l2({"Dense_0": "a"}), "`strength['Dense_0']` is 'a'", "real"),
    "l2: name": (lambda: jt.penalties.l2(0.1, name="a/b"), "`name` is 'a/b'", "identifier"),
    "l2: name is a number": (lambda: jt.penalties.l2(0.1, name=1), "`name` is 1", "identifier"),
    "l2: where": (lambda: jt.penalties.l2(0.1, where="kernel")({"w": X}), "`where` is 'kernel'", ""),
    "kl_sparsity: rate": (lambda: jt.penalties.kl_sparsity(0.1, 2, "Dense_0"), "`rate` is 2", "between 0 and 1"),
    "spectral norm: iterations": (lambda: jt.penalties.spectral_norm(0.1, iterations=0), "`iterations` is 0", ""),
    "confidence: text": (lambda: jt.penalties.confidence("a"), "`strength` is 'a'", "real number"),
    "ema: decay": (lambda: jt.optim.ema(1.5), "`decay` is 1.5", "between 0 and 1"),
    "swa: every": (lambda: jt.optim.swa(0, every=0), "`every` is 0", "at least 1"),
    "clip: negative": (lambda: jt.optim.clip_by_global_norm(-1), "`threshold` is -1", "at least 0"),
    "sam: NaN": (lambda: jt.optim.sam(NAN), "`rho` is nan", "NaN"),
    "from_kind: text": (lambda: jt.optim.from_kind("adam", 0.1), "`kind` is 'adam'", "adam_kind"),
    "from_kind: rate": (lambda: jt.optim.from_kind(jt.optim.adam_kind(), -1), "`lr` is -1", "at least 0"),
    "from_kind: b1": (
        lambda: jt.optim.from_kind(jt.optim.adam_kind(b1=2), 0.1),
        "`kind.b1` is 2",
        "between 0 and 1",
    ),
    "lookahead: share": (lambda: jt.optim.lookahead(optax.sgd(0.1), share=2), "`share` is 2", "between 0 and 1"),
    "lookahead: optimizer": (lambda: jt.optim.lookahead("sgd"), "`optimizer` is 'sgd'", ""),
    "scale_by_path: negative": (lambda: jt.optim.scale_by_path({"a": -1}), "`scales['a']` is -1", "at least 0"),
    "scale_by_path: a number": (lambda: jt.optim.scale_by_path(0.1), "`scales` is 0.1", ""),
    "constant: negative": (lambda: jt.optim.schedules.constant(-1), "`value` is -1", "at least 0"),
    "piecewise: too few": (lambda: jt.optim.schedules.piecewise([0.1], [5]), "`values` is [0.1]", "one value more"),
    "piecewise: a number": (lambda: jt.optim.schedules.piecewise(0.1, []), "`values` is 0.1", ""),
    "dropout: rate": (lambda: jt.nn.dropout(key(), X, 1.5), "`rate` is 1.5", "between 0 and 1"),
    "dropout: integers": (lambda: jt.nn.dropout(key(), Y, 0.5), "`x` is 'int", "float32"),
    "gaussian_dropout: one": (lambda: jt.nn.gaussian_dropout(key(), X, 1), "`rate` is 1", "infinite"),
    "noise: distribution": (
        lambda: jt.nn.noise(key(), X, 1.0, distribution="cauchy"),
        "`distribution` is 'cauchy'",
        "'uniform'",
    ),
    "batch_norm: features": (
        lambda: jt.nn.batch_norm(X, Running(np.ones(2), np.ones(2)), train=True, momentum=0.9),
        "`x` is (40, 3)",
        "(2,)",
    ),
    "group_norm: groups": (lambda: jt.nn.group_norm(X, 2), "`groups` is 2", "3 features"),
    "instance_norm: a table": (lambda: jt.nn.instance_norm(X), "`x` is (40, 3)", "layer_norm"),
    "drop_block: block": (lambda: jt.nn.drop_block(key(), IMAGES, 0.1, 9), "`block` is 9", ""),
    "spatial_dropout: a table": (lambda: jt.nn.spatial_dropout(key(), X, 0.1), "`x` is (40, 3)", "dropout"),
    "convolve: channels": (
        lambda: jt.nn.convolve(IMAGES, np.ones((3, 3, 2, 4), np.float32)),
        "`kernel` is 'shape (3, 3, 2, 4)'",
        "Channels",
    ),
    "max_pool: window": (lambda: jt.nn.max_pool(IMAGES, (9, 9), padding="VALID"), "`window` is (9, 9)", "larger"),
    "he: gain": (lambda: jt.nn.initializers.he(-1), "`gain` is -1", "at least 0"),
    "he: distribution": (
        lambda: jt.nn.initializers.he(distribution="cauchy")(key(), (2, 2)),
        "`distribution` is 'cauchy'",
        "",
    ),
    "huber: delta": (lambda: jt.losses.huber(0), "`delta` is 0", "above 0"),
    "label_smoothing: rate": (lambda: jt.losses.label_smoothing(2), "`rate` is 2", "between 0 and 1"),
    "class_weighted: negative": (lambda: jt.losses.class_weighted([1, -1]), "`weights[1]` is -1", "at least 0"),
    "class_weighted: a number": (lambda: jt.losses.class_weighted(2), "`weights` is 2", ""),
    "focal: text": (lambda: jt.losses.focal("2"), "`gamma` is '2'", "real number"),
    "squared_error: shapes": (lambda: jt.losses.squared_error(X, X[:, 0]), "`outputs` is ((40, 3), (40,))", "target"),
    "softmax: float labels": (lambda: jt.losses.softmax_cross_entropy(X, X[:, 0]), "`y` is 'float32'", "integer"),
    "top_k: none": (lambda: jt.metrics.top_k(0), "`k` is 0", "at least 1"),
    "top_k: too many": (lambda: jt.metrics.top_k(4)(X, Y), "`k` is 4", "3 classes"),
    "f1: label": (lambda: jt.metrics.f1(-1), "`label` is -1", "at least 0"),
    "calibration: bins": (lambda: jt.metrics.calibration_error(0), "`bins` is 0", "at least 1"),
    "as_model: text": (lambda: jt.models.as_model("mlp"), "`model` is 'mlp'", "Linen"),
    "with_spectral_norm: bound": (
        lambda: jt.models.with_spectral_norm(jt.models.MLP((), 4), 0),
        "`bound` is 0",
        "above 0",
    ),
    "with_weight_noise: scale": (
        lambda: jt.models.with_weight_noise(jt.models.MLP((), 4), -1),
        "`scale` is -1",
        "at least 0",
    ),
    "monte_carlo: samples": (
        lambda: jt.models.monte_carlo(jt.models.MLP((), 4), {}, {}, X, key=None, samples=1),
        "`samples` is 1",
        "at least 2",
    ),
    # results
    "summary: metric": (lambda: GRID.summary("valid_f1"), "`metric` is 'valid_f1'", "valid_loss"),
    "summary: level": (lambda: GRID.summary("valid_loss", level=95), "`level` is 95", "between"),
    "summary: folds": (lambda: GRID.summary("valid_loss", folds="fold"), "`folds` is 'fold'", "l2, width"),
    "compare: no baseline": (lambda: GRID.compare("valid_loss"), "`baseline` is None", "l2, width"),
    "compare: empty baseline": (lambda: GRID.compare("valid_loss", {}), "`baseline` is {}", "l2, width"),
    "compare: a number": (lambda: GRID.compare("valid_loss", 0.5), "`baseline` is 0.5", ""),
    "compare: no such value": (lambda: GRID.compare("valid_loss", dict(l2=7)), "`l2` is 7", "Values"),
    "compare: no such arm": (lambda: ARMS.compare("valid_loss", "l3"), "`arm` is 'l3'", "'default'"),
    "compare: keys that have no order": (lambda: GRID.compare("valid_loss", {1: 1, "a": 1}), "`", ""),
    "compare: method": (lambda: ARMS.compare("valid_loss", method="z"), "`method` is 'z'", "'bootstrap'"),
    "best: a test metric": (lambda: GRID.best("test_loss"), "`metric` is 'test_loss'", "valid_loss"),
    "best: a number": (lambda: GRID.best(5), "`metric` is 5", ""),
    "best: mode": (lambda: GRID.best("valid_loss", mode="up"), "`mode` is 'up'", "'min'"),
    "best: per": (lambda: GRID.best("valid_loss", per="lr"), "`per` is 'lr'", "l2, width"),
    "variables: no axis": (lambda: GRID.variables(lr=0.1), "`lr` is 0.1", "l2, width, seed"),
    "variables: an axis left out": (lambda: GRID.variables(l2=0.0, seed=3), "`width` is None", "[8, 16, 32]"),
    "variables: an array": (lambda: GRID.variables(l2=np.ones(2), width=8, seed=3), "`l2` is ", ""),
    "variables: not kept": (lambda: GRID.variables(l2=0.0, width=8, seed=3), "`setting` is {'l2'", "keep='all'"),
    "predict: no model": (lambda: GRID.predict(X, l2=0.0, width=8, seed=3), "`experiment` is None", "jt.load"),
    "plots: metric": (lambda: jt.plots.learning_curves(GRID, "test_loss"), "`metric` is 'test_loss'", "valid_loss"),
}
