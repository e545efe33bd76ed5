"""Sweeps: spaces of hyperparameters, and their training as lanes of compiled programs."""

from jaxtune.sweep._experiment import Experiment as Experiment
from jaxtune.sweep._load import load as load
from jaxtune.sweep._plan import Plan as Plan, ProgramPlan as ProgramPlan, plan as plan
from jaxtune.sweep._ray import Ray as Ray
from jaxtune.sweep._run import run as run
from jaxtune.sweep.lanes import use_all_cores as use_all_cores
from jaxtune.sweep.programs import ChunkShape as ChunkShape
from jaxtune.sweep.space import (
    Space as Space,
    arms as arms,
    choice as choice,
    grid as grid,
    log_uniform as log_uniform,
    sample as sample,
    static as static,
    traced as traced,
    uniform as uniform,
)
