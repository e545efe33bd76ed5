"""Sweeps: spaces of hyperparameters, and their training as lanes of compiled programs."""

from jaxtune.sweep._axis import static as static, traced as traced
from jaxtune.sweep._chunks import ChunkShape as ChunkShape
from jaxtune.sweep._devices import use_all_cores as use_all_cores
from jaxtune.sweep._experiment import Experiment as Experiment
from jaxtune.sweep._load import load as load
from jaxtune.sweep._plan import Plan as Plan, ProgramPlan as ProgramPlan, plan as plan
from jaxtune.sweep._run import run as run
from jaxtune.sweep._sample import choice as choice, log_uniform as log_uniform, sample as sample, uniform as uniform
from jaxtune.sweep._space import Space as Space, arms as arms, grid as grid
