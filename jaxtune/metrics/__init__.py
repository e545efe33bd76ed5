"""Metrics that are accumulated on the device over the batches of a split."""

from jaxtune.metrics._accuracy import accuracy as accuracy
from jaxtune.metrics._classes import (
    confusion_matrix as confusion_matrix,
    f1 as f1,
    macro_f1 as macro_f1,
    precision as precision,
    recall as recall,
    top_k as top_k,
)
from jaxtune.metrics._fit import calibration_error as calibration_error, r2 as r2
from jaxtune.metrics._metric import Metric as Metric, Mode as Mode, mean as mean
