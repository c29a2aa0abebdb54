"""Score of the HiggsML uncertainty challenge: narrow intervals that cover (its scoring program, FAIR-Universe)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Score", "challenge_score"]

ONE_SIGMA = 0.6827
SMALLEST_WIDTH = 1e-3  # is added to every width, so that an interval without one has a finite score


@dataclass(frozen=True)
class Score:
    """What a set of pseudo-experiments is worth.

    Attributes:
        experiments: Number of them.
        coverage: Share of the intervals that contain the truth; their edges belong to them.
        width: Mean full width.
        score: -ln[(width + 0.001) f(coverage)]; higher is better.
    """

    experiments: int
    coverage: float
    width: float
    score: float

    def __str__(self) -> str:
        return (
            f"{self.experiments} pseudo-experiments: coverage {self.coverage:.3f}, mean width {self.width:.3f}, "
            f"score {self.score:.3f}"
        )


def challenge_score(mu: npt.ArrayLike, lower: npt.ArrayLike, upper: npt.ArrayLike) -> Score:
    """Score 68.27 % intervals.

    The coverage may be two binomial errors away from 68.27 %; what is missing beyond counts with the fourth power of
    the distance in units of that error, what is too much with the third.

    Args:
        mu: True signal strengths, shape (n,).
        lower: Lower edges of the intervals, shape (n,).
        upper: Upper edges, shape (n,).

    Raises:
        InputError: There are no pseudo-experiments, the numbers of them differ, or a number is not finite.

    Example:
        >>> challenge_score([1.0, 1.0, 1.0], [0.5, 0.8, 1.1], [1.5, 1.4, 1.9]).width
        0.8
    """
    truth, low, high = (np.asarray(values, dtype=np.float64) for values in (mu, lower, upper))
    if not truth.ndim == low.ndim == high.ndim == 1 or not 0 < len(truth) == len(low) == len(high):
        raise InputError.from_parts(
            expected="as many intervals as signal strengths",
            got=f"shapes {truth.shape}, {low.shape} and {high.shape}",
            do="give one of each for every pseudo-experiment",
        )
    if not np.isfinite([truth, low, high]).all():
        raise InputError.from_parts(
            expected="finite intervals", got="others", do="leave out pseudo-experiments that failed, and tell how many"
        )
    n = len(truth)
    width = float(np.abs(high - low).mean())
    coverage = float(((low <= truth) & (truth <= high)).mean())
    score = -np.log((width + SMALLEST_WIDTH) * _penalty(coverage, n))
    return Score(n, coverage, width, float(score))


def _penalty(coverage: float, n: int) -> float:
    error = np.sqrt(ONE_SIGMA * (1.0 - ONE_SIGMA) / n)
    beyond = (abs(coverage - ONE_SIGMA) - 2.0 * error) / error
    if beyond <= 0.0:
        return 1.0
    return float(1.0 + beyond ** (4 if coverage < ONE_SIGMA else 3))
