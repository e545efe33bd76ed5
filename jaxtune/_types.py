"""Names for the types that signatures speak of, in one place."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

Key: TypeAlias = PRNGKeyArray
"""A typed random key, as `jax.random.key` makes it."""

ScalarLike: TypeAlias = float | int | np.number | Array
"""A number, or a traced scalar in its place."""

Scalar: TypeAlias = Float[Array, ""]
Count: TypeAlias = Int[Array, ""] | np.int32
"""A whole number; the NumPy form stands in for the traced one where nothing should be put on a device."""

Flag: TypeAlias = Bool[Array, ""]

PyTree: TypeAlias = Any
"""Any nesting of containers with arrays as leaves."""

ExampleFn: TypeAlias = Callable[[Any, Any], Float[Array, " batch"]]
"""A loss or metric: `(outputs, y)` to one value per example."""

__all__ = ["Array", "ArrayLike", "Bool", "Float", "Int"]
