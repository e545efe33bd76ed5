"""Data: sources, splits, and batches drawn on the device."""

from jaxtune.data import augment as augment, synthetic as synthetic
from jaxtune.data._arrays import Arrays as Arrays
from jaxtune.data._normalize import (
    Normalization as Normalization,
    min_max as min_max,
    standardize as standardize,
    whiten as whiten,
)
from jaxtune.data._splits import Splits as Splits, from_arrays as from_arrays
from jaxtune.data._stream import Stream as Stream
from jaxtune.data.batches._subset import (
    Subset as Subset,
    balanced as balanced,
    bootstrap as bootstrap,
    corrupt_labels as corrupt_labels,
    first as first,
    fold as fold,
)
from jaxtune.data.batches._table import Batch as Batch
from jaxtune.data.sources._files import from_csv as from_csv, from_folder as from_folder, from_npz as from_npz
from jaxtune.data.sources._load import load as load
from jaxtune.data.sources._prepare import prepare as prepare
