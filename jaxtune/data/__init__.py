"""Data: sources, splits, and batches drawn on the device."""

from jaxtune.data._load import load as load
from jaxtune.data._splits import Arrays as Arrays, Splits as Splits, from_arrays as from_arrays
