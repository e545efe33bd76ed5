"""What a penalty is, and which parameters it falls on."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxtune._tree import path_name
from jaxtune.penalties import Penalty, is_kernel
from jaxtune.penalties._penalty import selected


def test_a_penalty_is_a_function_with_a_name():
    penalty = Penalty("norm", lambda params: 2.0 * jnp.abs(params["w"]).max())
    assert penalty.name == "norm"
    assert float(penalty({"w": jnp.array([1.0, -3.0])})) == 6.0


@pytest.mark.parametrize(
    "path, shape, expected",
    [
        ("Dense_0/kernel", (3, 4), True),
        ("Conv_0/kernel", (3, 3, 1, 8), True),
        ("Embed_0/embedding", (10, 4), True),
        ("kernel", (3, 4), True),
        ("Dense_0/kernel", (4,), False),
        ("Dense_0/bias", (4,), False),
        ("Attention_0/query/bias", (2, 4), False),
        ("LayerNorm_0/scale", (4,), False),
        ("GroupNorm_0/scale", (2, 4), False),
        ("bias/kernel", (3, 4), True),
    ],
)
def test_is_kernel(path, shape, expected):
    assert is_kernel(path, np.zeros(shape)) is expected


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(nn.LayerNorm()(nn.Conv(3, (2, 2))(x)).reshape(1, -1))


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.conv, self.norm = nnx.Conv(1, 3, (2, 2), rngs=rngs), nnx.LayerNorm(3, rngs=rngs)
        self.dense = nnx.Linear(48, 2, rngs=rngs)


@pytest.mark.parametrize("library", ["linen", "nnx"])
def test_the_kernels_of_flax(library):
    if library == "linen":
        params = Linen().init(jax.random.key(0), jnp.ones((1, 4, 4, 1)))["params"]
    else:
        params = nnx.to_pure_dict(nnx.state(Nnx(nnx.Rngs(0)), nnx.Param))
    leaves = jax.tree_util.tree_leaves_with_path(params)
    kernels = sorted(path_name(p).lower().replace("_0", "") for p, leaf in leaves if is_kernel(path_name(p), leaf))
    assert kernels == ["conv/kernel", "dense/kernel"]
    assert len(leaves) == 6


def test_selected_keeps_the_order_and_the_values():
    params = {"a": np.ones(2), "b": [np.zeros(3), np.full((1, 2), 7.0)]}
    chosen = selected(params, lambda path, leaf: path.startswith("b/"))
    assert [c.shape for c in chosen] == [(3,), (1, 2)]
    np.testing.assert_array_equal(chosen[1], [[7.0, 7.0]])


def test_selecting_nothing_names_the_choices():
    def nowhere(path, leaf):
        return False

    with pytest.raises(ValueError, match="`where` is 'nowhere'.*Choose among: a/kernel, b/0"):
        selected({"a": {"kernel": np.ones((2, 2))}, "b": [np.ones(1)]}, nowhere)
