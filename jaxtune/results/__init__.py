"""Results: the labelled cube, its statistics, tables and figures."""

from jaxtune.results import plots as plots
from jaxtune.results._result import Result as Result
from jaxtune.results._statistics import (
    Interval as Interval,
    bootstrap_interval as bootstrap_interval,
    fold_interval as fold_interval,
    fold_p as fold_p,
    holm as holm,
    paired_p as paired_p,
    sign_flip_p as sign_flip_p,
    t_interval as t_interval,
)
from jaxtune.results._tables import Best as Best
from jaxtune.results._variables import KeptVariables as KeptVariables, Variables as Variables
