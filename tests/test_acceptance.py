"""Every public component that has a strength takes it traced: under jit, as a lane of vmap, and under grad."""

import inspect

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxtune as jt

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (8, 6, 5, 4))
FLAT = X.reshape(8, -1)
LOGITS, LABELS = X[:, 0, 0, :], jnp.arange(8) % 4
PARAMS = {"layer": {"kernel": jax.random.normal(KEY, (5, 6)), "bias": jnp.ones(6)}}
START = jax.tree.map(lambda w: w + 0.1, PARAMS)
BATCH = jt.data.Batch(X, LABELS, None)
GRADIENTS = jax.tree.map(lambda w: 0.3 * w + 0.1, PARAMS)
SHARE, SIZE = [0.0, 0.3, 1.0], [0.0, 0.3, 2.0]


def through(transformation, steps=3):
    """Returns the parameters after some updates."""
    params, transformation = PARAMS, optax.with_extra_args_support(transformation)
    state = transformation.init(params)
    for t in range(steps):
        updates, state = transformation.update(GRADIENTS, state, params, key=jax.random.fold_in(KEY, t))
        params = optax.apply_updates(params, updates)
    return params


def averaged(average):
    state = average.init(PARAMS)
    for t in range(1, 5):
        params = jax.tree.map(lambda w: w * t, PARAMS)  # noqa: B023 (called at once)
        state = average.update(state, params, jnp.int32(t))
    return average.value(state, params)


def scheduled(schedule):
    return jnp.stack([schedule(jnp.int32(t)) for t in (0, 3, 10)])


def of_kind(kind):
    return through(jt.optim.from_kind(kind, 0.1))


def normalized(normalization):
    return normalization.apply(normalization.fit(FLAT[:, :3]), FLAT[:, :3])


def quadratic(params):
    return 0.5 * optax.tree.norm(params, squared=True), None


def stopped(**config):
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    start = jt.training._early_stopping.start(zeros, {})
    state, stop = jt.training._early_stopping.observe(start, 1.0, 3, PARAMS, {}, jt.EarlyStopping(**config), "min")
    return state.wait, state.best_step, state.best_params, stop


def reduced(**config):
    start = jt.training._plateau.start()._replace(best=jnp.zeros(()))
    return jt.training._plateau.observe(start, 1.0, jt.ReduceOnPlateau(**config), "min")


s = jt.optim.schedules
TABLE = {
    # penalties
    "penalties.l1": (lambda a: jt.penalties.l1(a)(PARAMS), SIZE),
    "penalties.l2": (lambda a: jt.penalties.l2(a)(PARAMS), SIZE),
    "penalties.elastic_net": (lambda a: jt.penalties.elastic_net(a, a)(PARAMS), SIZE),
    "penalties.group_lasso": (lambda a: jt.penalties.group_lasso(a)(PARAMS), SIZE),
    "penalties.sparse_group_lasso": (lambda a: jt.penalties.sparse_group_lasso(a, a)(PARAMS), SIZE),
    "penalties.orthogonality": (lambda a: jt.penalties.orthogonality(a)(PARAMS), SIZE),
    "penalties.spectral_norm": (lambda a: jt.penalties.spectral_norm(a)(PARAMS), SIZE),
    "penalties.activity_l1": (lambda a: jt.penalties.activity_l1(a, "a")({}, intermediates={"a": FLAT}), SIZE),
    "penalties.activity_l2": (lambda a: jt.penalties.activity_l2(a, "a")({}, intermediates={"a": FLAT}), SIZE),
    "penalties.kl_sparsity": (
        lambda a: jt.penalties.kl_sparsity(a, 0.1, "a", through=nn.sigmoid)({}, intermediates={"a": FLAT}),
        SIZE,
    ),
    "penalties.variational_kl": (lambda a: jt.penalties.variational_kl(a)({"log_alpha": FLAT}), SIZE),
    "penalties.confidence": (lambda a: jt.penalties.confidence(a)({}, outputs=LOGITS), SIZE),
    "penalties.input_gradient": (lambda a: jt.penalties.input_gradient(a)({}, input_gradient=FLAT), SIZE),
    "penalties.l2_sp": (lambda a: jt.penalties.l2_sp(a, START)(PARAMS), SIZE),
    # dropout and noise
    "nn.dropout": (lambda a: jt.nn.dropout(KEY, X, a), SHARE),
    "nn.spatial_dropout": (lambda a: jt.nn.spatial_dropout(KEY, X, a), SHARE),
    "nn.drop_path": (lambda a: jt.nn.drop_path(KEY, X, a), SHARE),
    "nn.drop_connect": (lambda a: jt.nn.drop_connect(KEY, X, a), SHARE),
    "nn.drop_block": (lambda a: jt.nn.drop_block(KEY, X, a, 2), SHARE),
    "nn.gaussian_dropout": (lambda a: jt.nn.gaussian_dropout(KEY, X, a), [0.0, 0.3, 0.9]),
    "nn.alpha_dropout": (lambda a: jt.nn.alpha_dropout(KEY, X, a), SHARE),
    "nn.variational_dropout": (lambda a: jt.nn.variational_dropout(KEY, X[:, 0], a), SHARE),
    "nn.state_dropout": (lambda a: jt.nn.state_dropout(lambda h, x: (h + x, h), KEY, a)(FLAT, FLAT), SHARE),
    "nn.variational_dense": (
        lambda a: jt.nn.variational_dense(KEY, X[:, 0, 0], X[0, 0].T, jnp.full((4, 5), a)),
        [-2.0, 0.0, 1.0],
    ),
    "nn.variational_kl": (lambda a: jt.nn.variational_kl(a * FLAT), [-1.0, 0.5, 2.0]),
    "nn.noise": (lambda a: jt.nn.noise(KEY, X, a), SIZE),
    # normalization
    "nn.batch_norm": (
        lambda a: jt.nn.batch_norm(
            X, jt.nn.RunningStatistics(jnp.zeros(4), jnp.ones(4)), train=True, momentum=a, eps=a
        ),
        SHARE,
    ),
    "nn.layer_norm": (lambda a: jt.nn.layer_norm(X, eps=a), SIZE),
    "nn.rms_norm": (lambda a: jt.nn.rms_norm(X, eps=a), SIZE),
    "nn.group_norm": (lambda a: jt.nn.group_norm(X, 2, eps=a), SIZE),
    "nn.instance_norm": (lambda a: jt.nn.instance_norm(X, eps=a), SIZE),
    "nn.weight_norm": (lambda a: jt.nn.weight_norm(X[0], jnp.full(4, a)), SIZE),
    "nn.spectral_norm": (lambda a: jt.nn.spectral_norm(X[0], jnp.ones(4), bound=a), [0.1, 0.3, 2.0]),
    "models.with_spectral_norm": (
        lambda a: jt.models.with_spectral_norm(nn.Dense(6), a).apply(
            PARAMS["layer"], {"model": {}, "vector": {"kernel": jnp.ones(6)}}, X[0].reshape(-1, 5), key=KEY, train=True
        ),
        [0.1, 0.3, 2.0],
    ),
    "nn.initializers.he": (lambda a: jt.nn.initializers.he(a)(KEY, (5, 6)), SIZE),
    "nn.initializers.lecun": (lambda a: jt.nn.initializers.lecun(a)(KEY, (5, 6)), SIZE),
    "nn.initializers.glorot": (lambda a: jt.nn.initializers.glorot(a)(KEY, (5, 6)), SIZE),
    "nn.initializers.orthogonal": (lambda a: jt.nn.initializers.orthogonal(a)(KEY, (5, 6)), SIZE),
    # optimizers
    "optim.from_kind": (lambda a: through(jt.optim.from_kind(jt.optim.adam_kind(), a)), SIZE),
    "optim.gd_kind": (lambda a: of_kind(jt.optim.gd_kind(weight_decay=a)), SIZE),
    "optim.momentum_kind": (lambda a: of_kind(jt.optim.momentum_kind(a)), SHARE),
    "optim.nesterov_kind": (lambda a: of_kind(jt.optim.nesterov_kind(a)), SHARE),
    "optim.rmsprop_kind": (lambda a: of_kind(jt.optim.rmsprop_kind(a)), [0.0, 0.3, 0.9]),
    "optim.adam_kind": (lambda a: of_kind(jt.optim.adam_kind(a, a)), [0.0, 0.3, 0.9]),
    "optim.adamw_kind": (lambda a: of_kind(jt.optim.adamw_kind(weight_decay=a)), SIZE),
    "optim.clip_by_value": (lambda a: through(jt.optim.clip_by_value(a)), [0.0, 0.3, jnp.inf]),
    "optim.clip_by_global_norm": (lambda a: through(jt.optim.clip_by_global_norm(a)), [0.0, 0.3, jnp.inf]),
    "optim.clip_by_norm": (lambda a: through(jt.optim.clip_by_norm({"layer": a})), [0.0, 0.3, jnp.inf]),
    "optim.adaptive_clip": (lambda a: through(jt.optim.adaptive_clip(a)), [0.0, 0.3, jnp.inf]),
    "optim.scale_by_path": (lambda a: through(jt.optim.scale_by_path({"layer": a})), SIZE),
    "optim.lookahead": (lambda a: through(jt.optim.lookahead(optax.sgd(0.1), every=2, share=a)), SHARE),
    "optim.prox_l1": (lambda a: through(jt.optim.prox_l1(a)), SIZE),
    "optim.prox_elastic_net": (lambda a: through(jt.optim.prox_elastic_net(a, a)), SIZE),
    "optim.prox_group_lasso": (lambda a: through(jt.optim.prox_group_lasso(a)), SIZE),
    "optim.max_norm": (lambda a: through(jt.optim.max_norm(a)), [0.0, 0.3, jnp.inf]),
    "optim.gradient_noise": (lambda a: through(jt.optim.gradient_noise(a)), SIZE),
    "optim.sam": (lambda a: jt.optim.sam(a)(quadratic, PARAMS), SIZE),
    "optim.ema": (lambda a: averaged(jt.optim.ema(a)), SHARE),
    "optim.swa": (lambda a: averaged(jt.optim.swa(a)), [0.0, 2.0, 9.0]),
    "optim.ewa": (lambda a: jt.optim.ewa(FLAT, a), SHARE),
    "optim.ewa_update": (lambda a: jt.optim.ewa_update(jt.optim.ewa_start(FLAT), FLAT, a), SHARE),
    "optim.schedules.constant": (lambda a: scheduled(s.constant(a)), SIZE),
    "optim.schedules.linear": (lambda a: scheduled(s.linear(a, 2 * a, 5)), SIZE),
    "optim.schedules.polynomial": (lambda a: scheduled(s.polynomial(1.0, 0.1, a, 5)), [0.5, 1.0, 2.0]),
    "optim.schedules.exponential": (lambda a: scheduled(s.exponential(1.0, a, 5)), [0.3, 1.0, 2.0]),
    "optim.schedules.step_decay": (lambda a: scheduled(s.step_decay(1.0, a, 5)), [0.3, 1.0, 2.0]),
    "optim.schedules.inverse_time": (lambda a: scheduled(s.inverse_time(1.0, a)), SIZE),
    "optim.schedules.inverse_power": (lambda a: scheduled(s.inverse_power(1.0, a)), SIZE),
    "optim.schedules.inverse_sqrt": (lambda a: scheduled(s.inverse_sqrt(1.0, steps=a)), [1.0, 2.0, 20.0]),
    "optim.schedules.cosine": (lambda a: scheduled(s.cosine(1.0, a)), [1.0, 4.0, 20.0]),
    "optim.schedules.warm_restarts": (lambda a: scheduled(s.warm_restarts(1.0, 2.0, factor=a)), [1.0, 1.5, 3.0]),
    "optim.schedules.warm_up": (lambda a: scheduled(s.warm_up(s.constant(1.0), a)), [1.0, 4.0, 20.0]),
    "optim.schedules.warm_up_cosine": (lambda a: scheduled(s.warm_up_cosine(0.0, a, 2.0, 9.0)), [0.1, 0.3, 2.0]),
    "optim.schedules.one_cycle": (lambda a: scheduled(s.one_cycle(1.0, 9.0, rise=a)), [0.1, 0.3, 0.9]),
    "optim.schedules.piecewise": (lambda a: scheduled(s.piecewise([1.0, 0.1], [a])), SIZE),
    # losses
    "losses.label_smoothing": (lambda a: jt.losses.label_smoothing(a)(LOGITS, LABELS), SHARE),
    "losses.class_weighted": (lambda a: jt.losses.class_weighted([a, a, 1.0, 1.0])(LOGITS, LABELS), SIZE),
    "losses.focal": (lambda a: jt.losses.focal(a)(LOGITS, LABELS), SIZE),
    "losses.huber": (lambda a: jt.losses.huber(a)(LOGITS, jnp.zeros_like(LOGITS)), [0.1, 0.3, 2.0]),
    # data
    "data.augment.flip": (lambda a: jt.data.augment.flip(a)(KEY, BATCH)[:2], SHARE),
    "data.augment.shift": (lambda a: jt.data.augment.shift(a)(KEY, BATCH)[:2], [0.0, 1.0, 2.0]),
    "data.augment.rotate": (lambda a: jt.data.augment.rotate(a)(KEY, BATCH)[:2], [0.0, 10.0, 40.0]),
    "data.augment.zoom": (lambda a: jt.data.augment.zoom(a)(KEY, BATCH)[:2], [0.0, 0.2, 0.5]),
    "data.augment.shear": (lambda a: jt.data.augment.shear(a)(KEY, BATCH)[:2], [0.0, 0.2, 0.5]),
    "data.augment.brightness": (lambda a: jt.data.augment.brightness(a)(KEY, BATCH)[:2], SIZE),
    "data.augment.contrast": (lambda a: jt.data.augment.contrast(a)(KEY, BATCH)[:2], SHARE),
    "data.augment.noise": (lambda a: jt.data.augment.noise(a)(KEY, BATCH)[:2], SIZE),
    "data.augment.cutout": (lambda a: jt.data.augment.cutout(a)(KEY, BATCH)[:2], [0.0, 2.0, 3.0]),
    "data.augment.mixup": (lambda a: jt.data.augment.mixup(a, 4)(KEY, BATCH)[:2], [0.0, 1.0, 5.0]),
    "data.augment.cutmix": (lambda a: jt.data.augment.cutmix(a, 4)(KEY, BATCH)[:2], [0.0, 1.0, 5.0]),
    "data.augment.label_noise": (lambda a: jt.data.augment.label_noise(a, 4)(KEY, BATCH)[:2], SHARE),
    "data.augment.target_noise": (
        lambda a: jt.data.augment.target_noise(a)(KEY, BATCH._replace(y=LOGITS))[:2],
        SIZE,
    ),
    "data.min_max": (lambda a: normalized(jt.data.min_max(-a, 1.0)), SIZE),
    "data.whiten": (lambda a: normalized(jt.data.whiten(a)), [0.1, 0.3, 2.0]),
    "models.with_weight_noise": (
        lambda a: jt.models.with_weight_noise(nn.Dense(6), a).apply(
            PARAMS["layer"], {}, X[0].reshape(-1, 5), key=KEY, train=True
        ),
        SIZE,
    ),
    # what decides at evaluations
    "EarlyStopping": (lambda a: stopped(patience=a, min_delta=a, start=a), [1.0, 2.0, 5.0]),
    "ReduceOnPlateau": (lambda a: reduced(factor=a, patience=1.0), SHARE),
}

PACKAGES = {
    "penalties": jt.penalties,
    "nn": jt.nn,
    "nn.initializers": jt.nn.initializers,
    "optim": jt.optim,
    "optim.schedules": jt.optim.schedules,
    "losses": jt.losses,
    "data.augment": jt.data.augment,
}
WITHOUT = {
    "penalties": {"Penalty", "is_kernel", "selected", "group_norms", "largest_singular_value"},
    "nn": {"convolve", "max_pool", "dawson", "RunningStatistics"},
    "optim": {"accumulate", "freeze", "unit_norm", "non_negative", "proximal", "clipped_fraction", "plain_gradient"}
    | {"ewa_start", "ewa_value", "Kind", "KindState", "ClipState", "EwaState", "WeightAverage"},
    "nn.initializers": set(),
    "optim.schedules": set(),
    "data.augment": {"compose"},
    "losses": {"softmax_cross_entropy", "soft_cross_entropy", "squared_error", "absolute_error"}
    | {"sigmoid_cross_entropy", "hinge"},
}
"""What has no strength: types, helpers, and functions of their arguments alone."""


@pytest.mark.parametrize("name", PACKAGES)
def test_nothing_public_is_missing(name):
    public = {
        n
        for n, thing in vars(PACKAGES[name]).items()
        if not n.startswith("_") and callable(thing) and (inspect.getmodule(thing) or s).__name__.startswith("jaxtune.")
    }
    if "." in name:  # a module: what it has imported is not its own
        module = PACKAGES[name]
        public = {n for n in public if inspect.getmodule(getattr(module, n)) is module}
    table = {n.removeprefix(f"{name}.") for n in TABLE if n.rpartition(".")[0] == name}
    assert public == table | WITHOUT[name]
    assert not table & WITHOUT[name]


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6), a, b)


@pytest.mark.parametrize("name", TABLE)
def test_strengths_are_lanes(name):
    fn, strengths = TABLE[name]
    lanes = jax.jit(jax.vmap(fn))(jnp.array(strengths))
    assert any((leaf[0] != leaf[1]).any() or (leaf[1] != leaf[2]).any() for leaf in jax.tree.leaves(lanes))
    for i, strength in enumerate(strengths):
        lane = jax.tree.map(lambda leaf: leaf[i], lanes)  # noqa: B023 (called at once)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(lane) if not np.isinf(strength))
        close(lane, fn(jnp.float32(strength)))
        close(lane, fn(float(strength)))


@pytest.mark.parametrize("name", TABLE)
def test_gradients_in_a_strength_are_finite(name):
    fn, strengths = TABLE[name]

    def total(strength):
        leaves = [x for x in jax.tree.leaves(fn(strength)) if jnp.issubdtype(x.dtype, jnp.floating)]
        return sum(jnp.where(jnp.isfinite(x), x, 0.0).sum() for x in leaves)

    for strength in strengths:
        if np.isfinite(strength):
            assert np.isfinite(jax.jit(jax.grad(total))(jnp.float32(strength)))


LAYERS = {
    "Dropout": (lambda m, a, **k: m.Dropout(a, **k), SHARE),
    "SpatialDropout": (lambda m, a, **k: m.SpatialDropout(a, **k), SHARE),
    "DropPath": (lambda m, a, **k: m.DropPath(a, **k), SHARE),
    "DropBlock": (lambda m, a, **k: m.DropBlock(a, block=2, **k), SHARE),
    "GaussianDropout": (lambda m, a, **k: m.GaussianDropout(a, **k), [0.0, 0.3, 0.9]),
    "AlphaDropout": (lambda m, a, **k: m.AlphaDropout(a, **k), SHARE),
    "Noise": (lambda m, a, **k: m.Noise(a, **k), SIZE),
    "VariationalDropout": (lambda m, a, **k: m.VariationalDropout(a, **k), SHARE),
    "DropConnectDense": (None, SHARE),
    "GaussianVariationalDense": (None, [-60.0, -1.0, 1.0]),
}
NORMALIZATIONS = {
    "BatchNorm": lambda m, a, *features: m.BatchNorm(*features, momentum=a, eps=a),
    "LayerNorm": lambda m, a, *features: m.LayerNorm(*features, eps=a),
    "RMSNorm": lambda m, a, *features: m.RMSNorm(*features, eps=a),
    "GroupNorm": lambda m, a, *features: m.GroupNorm(*features, groups=2, eps=a),
    "InstanceNorm": lambda m, a, *features: m.InstanceNorm(*features, eps=a),
}
CELLS = {"StateDropout"}  # tests/nn/test_variational.py


@pytest.mark.parametrize("module", [jt.nn.linen, jt.nn.nnx], ids=["linen", "nnx"])
def test_no_layer_is_missing(module):
    kind = nn.Module if module is jt.nn.linen else nnx.Module
    layers = {n for n, c in vars(module).items() if inspect.isclass(c) and issubclass(c, kind)}
    assert layers == set(LAYERS) | set(NORMALIZATIONS) | CELLS


@pytest.mark.parametrize("name", LAYERS)
def test_linen_layers(name):
    make, strengths = LAYERS[name]
    rngs = {"params": KEY, "dropout": KEY, "noise": KEY}

    def output(strength, deterministic):
        if make is None:
            layer, x = getattr(jt.nn.linen, name)(3, strength), FLAT
        else:
            layer, x = make(jt.nn.linen, strength), X[:, 0] if name == "VariationalDropout" else X
        variables = layer.init(rngs, x, deterministic=True)
        return layer.apply(variables, x, deterministic=deterministic, rngs=rngs)

    check_layer(output, strengths)


@pytest.mark.parametrize("name", LAYERS)
def test_nnx_layers(name):
    make, strengths = LAYERS[name]

    def output(strength, deterministic):
        rngs = nnx.Rngs(0)
        if make is None:
            given = {"rate" if name == "DropConnectDense" else "log_alpha": strength}
            layer, x = getattr(jt.nn.nnx, name)(FLAT.shape[1], 3, **given, rngs=rngs), FLAT
        else:
            layer, x = make(jt.nn.nnx, strength, rngs=rngs), X[:, 0] if name == "VariationalDropout" else X
        layer.eval() if deterministic else layer.train()
        return layer(x)

    check_layer(output, strengths)


def check_layer(output, strengths):
    """Asserts that a layer is a lane, is the identity at strength 0 and in evaluation, and has finite gradients."""
    lanes = jax.jit(jax.vmap(lambda a: output(a, False)))(jnp.array(strengths))
    plain = output(jnp.float32(strengths[1]), True)
    close(lanes[0], plain)
    assert (np.asarray(lanes[1]) != np.asarray(plain)).any()
    close(lanes[1], output(jnp.float32(strengths[1]), False))
    close(lanes[1], output(strengths[1], False))
    for strength in strengths:
        assert np.isfinite(jax.grad(lambda a: output(a, False).sum())(strength))


def linen_normalization(name, a, train):
    layer, switch = NORMALIZATIONS[name](jt.nn.linen, a), {"use_running_average": not train}
    switch = switch if name == "BatchNorm" else {}
    variables = layer.init(KEY, X, **switch)
    return layer.apply(variables, X, **switch, mutable=["batch_stats"])


def nnx_normalization(name, a, train):
    layer = NORMALIZATIONS[name](jt.nn.nnx, a, 4)
    layer.train() if train else layer.eval()
    y = layer(X)
    return y, nnx.to_pure_dict(nnx.state(layer, nnx.BatchStat))


@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.parametrize("output", [linen_normalization, nnx_normalization], ids=["linen", "nnx"])
def test_normalizing_layers(output, name):
    for train in (True, False):
        lanes = jax.jit(jax.vmap(lambda a: output(name, a, train)))(jnp.array(SHARE))  # noqa: B023 (called at once)
        assert (lanes[0][0] != lanes[0][1]).any()
        for i, a in enumerate(SHARE):
            close(jax.tree.map(lambda leaf: leaf[i], lanes), output(name, a, train))  # noqa: B023 (called at once)
            assert np.isfinite(jax.grad(lambda a: jnp.square(output(name, a, train)[0]).sum())(a))  # noqa: B023
