"""Norm penalties on weights, scaled as in Keras.

Conventions differ. `l2(s)` here is `s * sum(w^2)`: its gradient is `2 s w`, so it equals a coupled weight decay of `2 s`
in Optax or PyTorch, and `lambda / (2 m)` of the course with `s = lambda / (2 m)`.
"""

import jax.numpy as jnp

from jaxtune import _check
from jaxtune._types import PyTree, Scalar, ScalarLike
from jaxtune.penalties._penalty import Penalty, Where, is_kernel, selected


def l1(strength: ScalarLike, *, where: Where = is_kernel, name: str = "l1") -> Penalty:
    """Returns the lasso penalty `strength * sum |w|`.

    Args:
      strength: at least 0; may be traced.
      where: `where(path, leaf)` chooses the parameters; by default kernels, not biases or normalization parameters.
      name: logged as `train_penalty_<name>`.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxtune as jt
      >>> float(jt.penalties.l1(0.5)({"kernel": jnp.array([[1.0, -3.0]]), "bias": jnp.ones(2)}))
      2.0

    References:
      Tibshirani, "Regression shrinkage and selection via the lasso", JRSS B 1996.
    """
    return elastic_net(_check.number("strength", strength, low=0.0), 0.0, where=where, name=name)


def l2(strength: ScalarLike, *, where: Where = is_kernel, name: str = "l2") -> Penalty:
    """Returns the ridge penalty `strength * sum w^2`.

    Args:
      strength: at least 0; may be traced. Its gradient is `2 * strength * w`.
      where: `where(path, leaf)` chooses the parameters; by default kernels, not biases or normalization parameters.
      name: logged as `train_penalty_<name>`.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxtune as jt
      >>> float(jt.penalties.l2(0.5)({"kernel": jnp.array([[1.0, -3.0]]), "bias": jnp.ones(2)}))
      5.0

    References:
      Hoerl and Kennard, "Ridge regression: biased estimation for nonorthogonal problems", Technometrics 1970.
    """
    return elastic_net(0.0, _check.number("strength", strength, low=0.0), where=where, name=name)


def elastic_net(l1: ScalarLike, l2: ScalarLike, *, where: Where = is_kernel, name: str = "elastic_net") -> Penalty:
    """Returns the elastic net penalty `l1 * sum |w| + l2 * sum w^2`.

    scikit-learn's `ElasticNet(alpha, l1_ratio)`, of half the mean of squares, has, next to the whole mean of squares,
    `l1 = 2 * alpha * l1_ratio` and `l2 = alpha * (1 - l1_ratio)`.

    Args:
      l1: strength of the absolute values, at least 0; may be traced.
      l2: strength of the squares, at least 0; may be traced.
      where: `where(path, leaf)` chooses the parameters; by default kernels, not biases or normalization parameters.
      name: logged as `train_penalty_<name>`.

    References:
      Zou and Hastie, "Regularization and variable selection via the elastic net", JRSS B 2005.
    """
    strengths = {"l1": _check.number("l1", l1, low=0.0), "l2": _check.number("l2", l2, low=0.0)}

    def off(strength: ScalarLike) -> bool:
        return isinstance(strength, (int, float)) and strength == 0

    def fn(params: PyTree) -> Scalar:
        kernels = selected(params, where)
        # Not jnp.abs, whose gradient at 0 is 1: a weight of exactly 0 stays there.
        total = jnp.zeros(())
        if not off(strengths["l1"]):
            total = total + strengths["l1"] * jnp.stack([(w * jnp.sign(w)).sum() for w in kernels]).sum()
        if not off(strengths["l2"]):
            total = total + strengths["l2"] * jnp.stack([jnp.square(w).sum() for w in kernels]).sum()
        return total

    return Penalty(name, fn)
