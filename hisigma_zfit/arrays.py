"""The arrays that everything here is made of: one name for each kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Float32", "Integers", "Mask"]

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.signedinteger[Any]]
