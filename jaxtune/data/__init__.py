"""Data: sources, splits, and batches drawn on the device."""

from jaxtune.data import augment as augment, synthetic as synthetic
from jaxtune.data._batches import Batch as Batch
from jaxtune.data._files import from_csv as from_csv, from_folder as from_folder, from_npz as from_npz
from jaxtune.data._load import load as load
from jaxtune.data._normalize import (
    Normalization as Normalization,
    min_max as min_max,
    standardize as standardize,
    whiten as whiten,
)
from jaxtune.data._prepare import prepare as prepare
from jaxtune.data._splits import Arrays as Arrays, Splits as Splits, from_arrays as from_arrays
from jaxtune.data._subset import Subset as Subset, bootstrap as bootstrap, first as first, fold as fold
