"""The price of precise weights, in variational dropout."""

from typing import Any

import jax.numpy as jnp

from jaxtune import _check
from jaxtune._types import PyTree, Scalar, ScalarLike
from jaxtune.nn import variational_kl as divergence
from jaxtune.penalties._penalty import Penalty, Where, selected


def is_log_alpha(path: str, leaf: Any) -> bool:
    """Returns whether a parameter is the log of the relative variance of weights."""
    del leaf
    return path.rsplit("/", 1)[-1] == "log_alpha"


def variational_kl(strength: ScalarLike, *, where: Where = is_log_alpha, name: str = "variational_kl") -> Penalty:
    """Returns `strength * sum KL(alpha)`, the divergence of noisy weights from the log-uniform prior.

    With the mean loss of n examples in nats a strength of `1 / n` makes the sum the negative evidence lower bound, per
    example. For `jt.nn.linen.GaussianVariationalDense` and its twin in NNX.

    Args:
      strength: at least 0; may be traced, and so may grow from trial to trial.
      where: `where(path, leaf)` chooses the parameters that are the log of alpha.
      name: logged as `train_penalty_<name>`.

    References:
      Molchanov, Ashukha, Vetrov, "Variational dropout sparsifies deep neural networks", ICML 2017.
    """
    _check.number("strength", strength, low=0.0)

    def fn(params: PyTree) -> Scalar:
        return strength * jnp.stack([divergence(a).sum() for a in selected(params, where)]).sum()

    return Penalty(name, fn)
