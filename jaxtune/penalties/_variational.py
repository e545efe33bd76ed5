"""The price of precise weights, in variational dropout."""

from typing import Any

from jaxtune._types import PyTree, Scalar
from jaxtune.nn import variational_kl as divergence
from jaxtune.penalties._penalty import Penalty, Strength, Where, check_strength, selected_by_path, times


def is_log_alpha(path: str, leaf: Any) -> bool:
    """Returns whether a parameter is the log of the relative variance of weights."""
    del leaf
    return path.rsplit("/", 1)[-1] == "log_alpha"


def variational_kl(strength: Strength, *, where: Where = is_log_alpha, name: str = "variational_kl") -> Penalty:
    """Returns `strength * sum KL(alpha)`, the divergence of noisy weights from the log-uniform prior.

    With the mean loss of n examples in nats a strength of `1 / n` makes the sum the negative evidence lower bound, per
    example. For `jt.nn.linen.GaussianVariationalDense` and its twin in NNX.

    Args:
      strength: at least 0, or strengths by path prefix; may be traced.
      where: `where(path, leaf)` chooses the parameters that are the log of alpha.
      name: logged as `train_penalty_<name>`.

    References:
      Molchanov, Ashukha, Vetrov, "Variational dropout sparsifies deep neural networks", ICML 2017.
    """
    check_strength("strength", strength)

    def fn(params: PyTree) -> Scalar:
        return times(strength, {path: divergence(a).sum() for path, a in selected_by_path(params, where).items()})

    return Penalty(name, fn)
