"""Losses that return one value per example; jaxtune takes the mean.

Optax's losses of the form `loss(outputs, y)` serve as they are.
"""

from jaxtune.losses._softmax import softmax_cross_entropy as softmax_cross_entropy
from jaxtune.losses._squared import squared_error as squared_error
