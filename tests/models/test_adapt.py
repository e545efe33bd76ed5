"""What a recipe may call its model."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import nnx

from jaxtune.models import MLP, Model, as_model

KEY = jax.random.key(0)
X = np.ones((3, 2), np.float32)


def test_a_model_passes_as_it_is():
    model = Model(
        lambda key, x: ({"w": jax.random.normal(key, x.shape[1:])}, {"calls": 0}),
        lambda params, state, x, *, key, train: (x @ params["w"], {"calls": state["calls"] + train}),
    )
    assert as_model(model) is model
    params, state = model.init(KEY, X)
    outputs, state = model.apply(params, state, X, key=KEY, train=True)
    np.testing.assert_allclose(outputs, X @ np.asarray(params["w"]), rtol=1e-6)
    assert state == {"calls": 1}


@pytest.mark.parametrize(
    "given",
    [MLP((4,), 2), nn.Dense(2), nn.Sequential([nn.Dense(3), nn.relu]), lambda rngs: nnx.Linear(2, 2, rngs=rngs)],
    ids=["zoo", "linen", "sequential", "nnx"],
)
def test_modules_and_builders_become_models(given):
    model = as_model(given)
    assert type(model) is Model
    outputs, state = model.apply(*model.init(KEY, X), X, key=KEY, train=True)
    assert outputs.shape[0] == 3 and state == {}


@pytest.mark.parametrize(
    "given",
    [None, "mlp", 3, {}, (len, len), nn.Dense, nnx.Linear, nnx.Linear(2, 2, rngs=nnx.Rngs(0))],
    ids=["none", "name", "number", "dict", "pair", "linen_class", "nnx_class", "nnx_module"],
)
def test_other_things_are_refused(given):
    with pytest.raises(
        TypeError, match=r"(?s)`model` is .*Pass a (Linen module, a )?builder.*(jt\.Model\(init, apply\)|rngs=rngs)"
    ):
        as_model(given)
