"""One lane: a whole training run as pure functions."""

from jaxtune.training._boundary import advance as advance
from jaxtune.training._early_stopping import EarlyStopping as EarlyStopping
from jaxtune.training._hyperparameters import Hyperparameters as Hyperparameters, RunFacts as RunFacts
from jaxtune.training._lane import Lane as Lane, make_lane as make_lane
from jaxtune.training._objective import Objective as Objective
from jaxtune.training._plateau import ReduceOnPlateau as ReduceOnPlateau
from jaxtune.training._recipe import Recipe as Recipe
from jaxtune.training._state import (
    NOT_FINITE as NOT_FINITE,
    STATUSES as STATUSES,
    Status as Status,
    TrainState as TrainState,
    kept as kept,
)
from jaxtune.training._train import History as History, train as train
