"""Optimizers whose coefficients are lanes, schedules, clipping and averages; all beside Optax, and as its transformations."""

from jaxtune.optim import schedules as schedules
from jaxtune.optim._average import (
    EwaState as EwaState,
    WeightAverage as WeightAverage,
    ema as ema,
    ewa as ewa,
    ewa_start as ewa_start,
    ewa_update as ewa_update,
    ewa_value as ewa_value,
    swa as swa,
)
from jaxtune.optim._clip import (
    ClipState as ClipState,
    adaptive_clip as adaptive_clip,
    clip_by_global_norm as clip_by_global_norm,
    clip_by_norm as clip_by_norm,
    clip_by_value as clip_by_value,
    clipped_fraction as clipped_fraction,
)
from jaxtune.optim._gradient import (
    GradientFn as GradientFn,
    gradient_noise as gradient_noise,
    plain_gradient as plain_gradient,
    sam as sam,
)
from jaxtune.optim._kind import (
    Kind as Kind,
    KindState as KindState,
    Schedule as Schedule,
    adam_kind as adam_kind,
    adamw_kind as adamw_kind,
    from_kind as from_kind,
    gd_kind as gd_kind,
    momentum_kind as momentum_kind,
    nesterov_kind as nesterov_kind,
    rmsprop_kind as rmsprop_kind,
)
from jaxtune.optim._lookahead import accumulate as accumulate, lookahead as lookahead
from jaxtune.optim._paths import freeze as freeze, scale_by_path as scale_by_path
from jaxtune.optim._proximal import (
    Projection as Projection,
    max_norm as max_norm,
    non_negative as non_negative,
    prox_elastic_net as prox_elastic_net,
    prox_group_lasso as prox_group_lasso,
    prox_l1 as prox_l1,
    proximal as proximal,
    unit_norm as unit_norm,
)
