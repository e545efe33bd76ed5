"""Models as pairs of pure functions, adapters that make them so, and a small zoo."""

from jaxtune.models._adapt import as_model as as_model
from jaxtune.models._cnn import CNN as CNN
from jaxtune.models._mlp import MLP as MLP
from jaxtune.models._model import Model as Model
from jaxtune.models._normalized import normalized as normalized
from jaxtune.models._patches import replaceable as replaceable, with_patches as with_patches
from jaxtune.models._reestimate import reestimate as reestimate
from jaxtune.models._reparametrized import (
    with_spectral_norm as with_spectral_norm,
    with_weight_norm as with_weight_norm,
)
from jaxtune.models._stochastic import monte_carlo as monte_carlo, with_weight_noise as with_weight_noise
