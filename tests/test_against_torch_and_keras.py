"""Components against PyTorch's and Keras's, where these are installed; the conventions of `docs/conventions.md` apply."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxtune as jt
from jaxtune import losses, nn, optim, penalties

RNG = np.random.default_rng(0)
X = RNG.normal(1.0, 2.0, size=(6, 5, 4, 8)).astype("float32")
LOGITS = RNG.normal(size=(6, 4)).astype("float32")
LABELS = np.array([0, 3, 1, 2, 2, 0])


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    return pytest.importorskip("keras")


def first(torch, x):
    """Returns an array as a tensor with channels first."""
    return torch.tensor(np.moveaxis(x, -1, 1).copy())


def last(tensor):
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


def test_normalization_is_torchs(torch):
    f = torch.nn.functional
    running = nn.RunningStatistics(jnp.zeros(8), jnp.ones(8))
    y, new = nn.batch_norm(X, running, train=True, momentum=0.9)
    mean, var = torch.zeros(8), torch.ones(8)
    theirs = f.batch_norm(first(torch, X), mean, var, training=True, momentum=0.1)
    np.testing.assert_allclose(y, last(theirs), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new.mean, mean.numpy(), rtol=1e-4, atol=1e-6)
    n = X.size / 8
    np.testing.assert_allclose(0.9 + (new.var - 0.9) * n / (n - 1), var.numpy(), rtol=1e-4)  # theirs is unbiased
    pairs = {
        "group": (nn.group_norm(X, 4, eps=1e-5), last(f.group_norm(first(torch, X), 4))),
        "instance": (nn.instance_norm(X, eps=1e-5), last(f.instance_norm(first(torch, X)))),
        "layer": (nn.layer_norm(X, eps=1e-5), f.layer_norm(torch.tensor(X), (8,)).numpy()),
        "rms": (nn.rms_norm(X, eps=1e-5), f.rms_norm(torch.tensor(X), (8,), eps=1e-5).numpy()),
    }
    for ours, theirs in pairs.values():
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_losses_are_torchs(torch):
    f = torch.nn.functional
    z, y = torch.tensor(LOGITS), torch.tensor(LABELS)
    weights = [1.0, 0.5, 2.0, 3.0]
    pairs = {
        "smoothing": (losses.label_smoothing(0.2), f.cross_entropy(z, y, label_smoothing=0.2, reduction="none")),
        "weights": (
            losses.class_weighted(weights),
            f.cross_entropy(z, y, weight=torch.tensor(weights), reduction="none"),
        ),
    }
    for loss, theirs in pairs.values():
        np.testing.assert_allclose(loss(jnp.asarray(LOGITS), LABELS), theirs.numpy(), rtol=1e-5)
    targets = RNG.normal(size=(6, 4)).astype("float32")
    theirs = f.huber_loss(z, torch.tensor(targets), delta=0.7, reduction="none").sum(1)
    np.testing.assert_allclose(losses.huber(0.7)(jnp.asarray(LOGITS), targets), theirs.numpy(), rtol=1e-5)


OPTIMIZERS = {
    "momentum": (optim.momentum_kind(0.9), lambda t, w: t.SGD(w, lr=0.05, momentum=0.9)),
    "Nesterov": (optim.nesterov_kind(0.9), lambda t, w: t.SGD(w, lr=0.05, momentum=0.9, nesterov=True)),
    "Adam": (optim.adam_kind(), lambda t, w: t.Adam(w, lr=0.05)),
    "AdamW": (optim.adamw_kind(weight_decay=0.1), lambda t, w: t.AdamW(w, lr=0.05, weight_decay=0.1)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_are_torchs(torch, name):
    kind, make = OPTIMIZERS[name]
    start = RNG.normal(size=(3, 2)).astype("float32")
    w = torch.tensor(start.copy(), requires_grad=True)
    theirs, ours = make(torch.optim, [w]), optim.from_kind(kind, 0.05)
    params = jnp.asarray(start)
    state = ours.init(params)
    for _ in range(30):
        theirs.zero_grad()
        (torch.sin(w) ** 2).sum().backward()
        theirs.step()
        gradient = jax.grad(lambda p: (jnp.sin(p) ** 2).sum())(params)
        updates, state = ours.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params, w.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_spectral_and_weight_norm_are_torchs(torch):
    kernel = RNG.normal(size=(7, 5)).astype("float32")
    v = jnp.ones(5)
    for _ in range(200):
        ours, v = nn.spectral_norm(jnp.asarray(kernel), v)
    layer = torch.nn.Linear(7, 5, bias=False)
    layer.weight.data = torch.tensor(kernel.T.copy())
    layer = torch.nn.utils.parametrizations.spectral_norm(layer, n_power_iterations=200)
    np.testing.assert_allclose(ours, layer.weight.detach().numpy().T, rtol=1e-3, atol=1e-4)
    plain = torch.nn.Linear(7, 5, bias=False)
    plain.weight.data = torch.tensor(kernel.T.copy())
    plain = torch.nn.utils.parametrizations.weight_norm(plain)
    plain.parametrizations.weight.original0.data *= 3
    lengths = 3 * np.linalg.norm(kernel, axis=0)
    np.testing.assert_allclose(
        nn.weight_norm(jnp.asarray(kernel), jnp.asarray(lengths)), plain.weight.detach().numpy().T, rtol=1e-4
    )


def test_penalties_are_kerass(keras):
    kernel = RNG.normal(size=(5, 4)).astype("float32")
    params = {"kernel": jnp.asarray(kernel)}
    pairs = {
        "l1": (penalties.l1(0.3), keras.regularizers.L1(0.3)),
        "l2": (penalties.l2(0.3), keras.regularizers.L2(0.3)),
        "both": (penalties.elastic_net(0.1, 0.2), keras.regularizers.L1L2(0.1, 0.2)),
    }
    for ours, theirs in pairs.values():
        np.testing.assert_allclose(ours(params), float(theirs(kernel)), rtol=1e-5)


def test_losses_and_constraints_are_kerass(keras):
    one_hot = np.eye(4, dtype="float32")[LABELS]
    theirs = keras.losses.categorical_crossentropy(one_hot, LOGITS, from_logits=True, label_smoothing=0.2)
    np.testing.assert_allclose(losses.label_smoothing(0.2)(jnp.asarray(LOGITS), LABELS), theirs, rtol=1e-5)
    kernel = 2 * RNG.normal(size=(5, 4)).astype("float32")
    params = {"kernel": jnp.asarray(kernel)}
    transformation = jt.optim.max_norm(1.5)
    updates, _ = transformation.update({"kernel": jnp.zeros((5, 4))}, transformation.init(params), params)
    np.testing.assert_allclose(
        optax.apply_updates(params, updates)["kernel"], keras.constraints.MaxNorm(1.5)(kernel), rtol=1e-4
    )
