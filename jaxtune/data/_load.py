"""Named data sets."""

import difflib
from collections.abc import Sequence

from jaxtune._errors import InputError
from jaxtune.data._splits import Splits, from_arrays

_NAMES = ("digits",)


def load(name: str, *, seed: int = 0, fractions: Sequence[float] = (0.6, 0.2, 0.2)) -> Splits:
    """Returns a named data set, split.

    `"digits"` is 1,797 handwritten digits of 8x8 pixels, offline: x float32 of shape (n, 8, 8, 1) in [0, 1], y int32 in
    0 to 9 (Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI repository 1998, as distributed with
    scikit-learn).

    Args:
      name: `"digits"`.
      seed: fixes the split, which is stratified by class.
      fractions: shares of training, validation and test examples.

    Raises:
      ValueError: unknown name, or bad fractions.
    """
    if name not in _NAMES:
        near = difflib.get_close_matches(str(name), _NAMES, n=1)
        cure = f"Did you mean {near[0]!r}?" if near else f"Known names: {', '.join(_NAMES)}."
        raise InputError("name", name, "there is no such data set", cure)
    from jaxtune.data._sklearn import digits

    return from_arrays(*digits(), seed=seed, fractions=fractions)
