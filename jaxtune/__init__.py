"""jaxtune trains a recipe for every setting of its hyperparameters and every seed, in one compiled program.

See `jaxtune.Experiment` and `jaxtune.run`, or the README.
"""

from jaxtune import (
    cli as cli,
    data as data,
    losses as losses,
    metrics as metrics,
    models as models,
    nn as nn,
    optim as optim,
    penalties as penalties,
    results as results,
    sweep as sweep,
    training as training,
)
from jaxtune.models import Model as Model
from jaxtune.results import Result as Result, plots as plots
from jaxtune.sweep import (
    Experiment as Experiment,
    Ray as Ray,
    arms as arms,
    choice as choice,
    grid as grid,
    load as load,
    log_uniform as log_uniform,
    plan as plan,
    run as run,
    sample as sample,
    static as static,
    traced as traced,
    uniform as uniform,
    use_all_cores as use_all_cores,
)
from jaxtune.training import (
    EarlyStopping as EarlyStopping,
    Objective as Objective,
    Recipe as Recipe,
    ReduceOnPlateau as ReduceOnPlateau,
    train as train,
)
