"""Norm penalties on weights, scaled as in Keras.

Conventions differ. `l2(s)` here is `s * sum(w^2)`: its gradient is `2 s w`, so it equals a coupled weight decay of `2 s`
in Optax or PyTorch, and `lambda / (2 m)` of the course with `s = lambda / (2 m)`.
"""

import jax.numpy as jnp

from jaxtune._types import PyTree, Scalar
from jaxtune.penalties._penalty import (
    Penalty,
    Strength,
    Where,
    check_strength,
    is_kernel,
    is_off,
    selected_by_path,
    times,
)


def l1(strength: Strength, *, where: Where = is_kernel, name: str = "l1") -> Penalty:
    """Returns the lasso penalty `strength * sum |w|`.

    Args:
      strength: at least 0, or strengths by path prefix, such as `{"Dense_0": 1e-3, "Dense_1": 0.1}`; may be traced.
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
    check_strength("strength", strength)
    return elastic_net(strength, 0.0, where=where, name=name)


def l2(strength: Strength, *, where: Where = is_kernel, name: str = "l2") -> Penalty:
    """Returns the ridge penalty `strength * sum w^2`.

    Args:
      strength: at least 0, or strengths by path prefix, such as `{"Dense_0": 1e-3, "Dense_1": 0.1}`; may be traced. Its
        gradient is `2 * strength * w`.
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
    check_strength("strength", strength)
    return elastic_net(0.0, strength, where=where, name=name)


def elastic_net(l1: Strength, l2: Strength, *, where: Where = is_kernel, name: str = "elastic_net") -> Penalty:
    """Returns the elastic net penalty `l1 * sum |w| + l2 * sum w^2`.

    scikit-learn's `ElasticNet(alpha, l1_ratio)`, of half the mean of squares, has, next to the whole mean of squares,
    `l1 = 2 * alpha * l1_ratio` and `l2 = alpha * (1 - l1_ratio)`.

    Args:
      l1: strength of the absolute values, at least 0, or strengths by path prefix; may be traced.
      l2: strength of the squares, at least 0, or strengths by path prefix; may be traced.
      where: `where(path, leaf)` chooses the parameters; by default kernels, not biases or normalization parameters.
      name: logged as `train_penalty_<name>`.

    References:
      Zou and Hastie, "Regularization and variable selection via the elastic net", JRSS B 2005.
    """
    check_strength("l1", l1)
    check_strength("l2", l2)

    def fn(params: PyTree) -> Scalar:
        kernels = selected_by_path(params, where)
        # Not jnp.abs, whose gradient at 0 is 1: a weight of exactly 0 stays there.
        total = jnp.zeros(())
        if not is_off(l1):
            total = total + times(l1, {path: (w * jnp.sign(w)).sum() for path, w in kernels.items()}, "l1")
        if not is_off(l2):
            total = total + times(l2, {path: jnp.square(w).sum() for path, w in kernels.items()}, "l2")
        return total

    return Penalty(name, fn)
