"""Penalties on parameters, activations, outputs and gradients: the training loss becomes J + sum of penalties."""

from jaxtune.penalties._activations import (
    activity_l1 as activity_l1,
    activity_l2 as activity_l2,
    kl_sparsity as kl_sparsity,
)
from jaxtune.penalties._groups import (
    GroupsOf as GroupsOf,
    group_lasso as group_lasso,
    group_norms as group_norms,
    sparse_group_lasso as sparse_group_lasso,
)
from jaxtune.penalties._matrices import (
    largest_singular_value as largest_singular_value,
    orthogonality as orthogonality,
    spectral_norm as spectral_norm,
)
from jaxtune.penalties._outputs import confidence as confidence, input_gradient as input_gradient
from jaxtune.penalties._penalty import (
    Penalty as Penalty,
    Strength as Strength,
    Where as Where,
    is_kernel as is_kernel,
    selected as selected,
)
from jaxtune.penalties._start import l2_sp as l2_sp
from jaxtune.penalties._variational import variational_kl as variational_kl
from jaxtune.penalties._weights import elastic_net as elastic_net, l1 as l1, l2 as l2
