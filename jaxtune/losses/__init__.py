"""Losses that return one value per example; jaxtune takes the mean.

Optax's losses of the form `loss(outputs, y)` serve as they are.
"""

from jaxtune.losses._binary import hinge as hinge, sigmoid_cross_entropy as sigmoid_cross_entropy
from jaxtune.losses._robust import absolute_error as absolute_error, huber as huber
from jaxtune.losses._softmax import (
    soft_cross_entropy as soft_cross_entropy,
    softmax_cross_entropy as softmax_cross_entropy,
)
from jaxtune.losses._squared import squared_error as squared_error
from jaxtune.losses._targets import (
    class_weighted as class_weighted,
    focal as focal,
    label_smoothing as label_smoothing,
)
