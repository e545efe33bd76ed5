"""Penalties on what layers return: sparse representations of an unmodified model.

A layer is called by its name in the model, such as `"Dense_0"`; what a model sows goes by the name it is sown under.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jax.scipy.special import xlogy

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._types import Array, PyTree, Scalar, ScalarLike
from jaxtune.penalties._penalty import Penalty, shares

Activation = Callable[[Array], Array]


def activity_l1(
    strength: ScalarLike, *layers: str, through: Activation = lambda a: a, name: str = "activity_l1"
) -> Penalty:
    """Returns `strength * sum |a| / batch` over the activations of some layers.

    That is Keras 2; Keras 3 does not divide by the batch.

    Args:
      strength: at least 0; may be traced.
      *layers: names of layers, or of what is sown.
      through: applied to what the layer returns, such as `nn.relu`, where the activation function is no layer.
      name: logged as `train_penalty_<name>`, in evaluation mode on the first training examples.

    References:
      Olshausen and Field, "Emergence of simple-cell receptive field properties by learning a sparse code", Nature 1996.
    """
    return _activity(strength, layers, through, lambda a: (a * jnp.sign(a)).sum(-1), name)


def activity_l2(
    strength: ScalarLike, *layers: str, through: Activation = lambda a: a, name: str = "activity_l2"
) -> Penalty:
    """Returns `strength * sum a^2 / batch` over the activations of some layers.

    That is Keras 2; Keras 3 does not divide by the batch.

    Args:
      strength: at least 0; may be traced.
      *layers: names of layers, or of what is sown.
      through: applied to what the layer returns.
      name: logged as `train_penalty_<name>`, in evaluation mode on the first training examples.
    """
    return _activity(strength, layers, through, lambda a: jnp.square(a).sum(-1), name)


def kl_sparsity(
    strength: ScalarLike,
    rate: ScalarLike,
    *layers: str,
    through: Activation = lambda a: a,
    name: str = "kl_sparsity",
) -> Penalty:
    """Returns `strength * sum_j KL(rate, q_j)`, with q_j how active unit j is on average over the batch.

    `KL(r, q) = r ln(r / q) + (1 - r) ln((1 - r) / (1 - q))`, in nats; it is zero where every unit is active at the rate.

    Args:
      strength: at least 0; may be traced.
      rate: target, between 0 and 1; may be traced.
      *layers: names of layers, or of what is sown, whose activations lie in [0, 1].
      through: applied to what the layer returns, such as `nn.sigmoid`.
      name: logged as `train_penalty_<name>`, in evaluation mode on the first training examples.

    References:
      Lee, Ekanadham, Ng, "Sparse deep belief net model for visual area V2", NeurIPS 2008.
    """
    _check.number("strength", strength, low=0.0)
    _check.number("rate", rate, low=0.0, high=1.0)

    def fn(params: PyTree, intermediates: Mapping[str, Array], weight: Array | None) -> Scalar:
        del params
        total = jnp.zeros(())
        for a in _chosen(intermediates, layers, through):
            share = shares(a, weight).astype(a.dtype)
            units = a.reshape(a.shape[0], -1, a.shape[-1]).mean(1)  # a channel is one unit
            q = jnp.clip((share[:, None] * units).sum(0), 1e-6, 1 - 1e-6)
            own = xlogy(rate, rate) + xlogy(1 - rate, 1 - rate)  # 0 at a rate of 0 or 1
            total = total + (own - rate * jnp.log(q) - (1 - rate) * jnp.log(1 - q)).sum()
        return strength * total

    return Penalty(name, fn, ("intermediates", "weight"))


def _activity(
    strength: ScalarLike, layers: tuple[str, ...], through: Activation, size: Callable[[Array], Array], name: str
) -> Penalty:
    _check.number("strength", strength, low=0.0)

    def fn(params: PyTree, intermediates: Mapping[str, Array], weight: Array | None) -> Scalar:
        del params
        total = jnp.zeros(())
        for a in _chosen(intermediates, layers, through):
            total = total + (shares(a, weight) * size(a.reshape(a.shape[0], -1))).sum()
        return strength * total

    return Penalty(name, fn, ("intermediates", "weight"))


def _chosen(intermediates: Mapping[str, Array], layers: tuple[str, ...], through: Activation) -> list[Array]:
    """Returns the activations of these layers.

    Raises:
      ValueError: there is no such layer, or none was named.
    """
    for layer in layers or ("",):
        if layer not in intermediates:
            reason = "the model has no such layer" if layer else "no layer was named"
            raise InputError("layers", layer, reason, f"Choose among: {', '.join(sorted(intermediates))}.")
    return [through(intermediates[layer]) for layer in layers]
