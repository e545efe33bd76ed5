"""Which settings are tried: axes of values, named arms, and samples."""

from jaxtune.sweep.space._axis import static as static, traced as traced
from jaxtune.sweep.space._sample import (
    choice as choice,
    log_uniform as log_uniform,
    sample as sample,
    uniform as uniform,
)
from jaxtune.sweep.space._space import Space as Space, arms as arms, grid as grid
