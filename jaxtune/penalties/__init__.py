"""Penalties on parameters: the training loss becomes J + sum of penalties."""

from jaxtune.penalties._penalty import Penalty as Penalty, is_kernel as is_kernel
from jaxtune.penalties._weights import elastic_net as elastic_net, l1 as l1, l2 as l2
