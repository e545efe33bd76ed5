"""Metrics that are accumulated on the device over the batches of a split."""

from jaxtune.metrics._accuracy import accuracy as accuracy
from jaxtune.metrics._metric import Metric as Metric, Mode as Mode, mean as mean
