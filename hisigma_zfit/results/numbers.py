"""Numbers as words, for tables in plain text and in HTML."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["number", "pair"]


def number(value: Any, digits: int = 4) -> str:
    """A number with `digits` significant digits, counts in full; words stay words, and nothing is a dash."""
    if isinstance(value, (bool, str)):
        return str(value)
    if isinstance(value, (int, np.integer)):
        return f"{value:,}".replace(",", " ")
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.{digits}g}"


def pair(value: float, error: float) -> str:
    """``value +- error`` with three digits of the error, never rounded to tens; zero has no sign."""
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return f"{number(value)} +- {number(error)}"
    decimals = max(2 - math.floor(math.log10(error)), 0)
    return f"{value:z.{decimals}f} +- {error:.{decimals}f}" if decimals < 7 else f"{value:.6g} +- {error:.3g}"
