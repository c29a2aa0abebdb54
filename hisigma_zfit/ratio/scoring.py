"""Calibrated shares of any event: of simulated rows, of shifted ones and of data, all by the same functions of x."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from hisigma_zfit.ratio.calibration import Calibration
from hisigma_zfit.ratio.posterior import Posterior

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from hisigma_zfit.arrays import Array, Float32, Integers

__all__ = ["Scorer"]


@dataclass(frozen=True, eq=False)
class Scorer:
    """Posterior and calibration.

    In data these are not the shares at the true nuisances: they are fixed functions of x, as they must be.

    Attributes:
        posterior: Classifiers by fold.
        calibration: Of their shares.
    """

    posterior: Posterior
    calibration: Calibration

    def scores(self, x: Float32, fold: Integers, region: Integers | None = None) -> Array:
        """Calibrated shares; rows sum to one, shape (n, P).

        Without a region they are what regions are defined by.  `within` makes of these what the likelihood takes,
        without scoring again.

        Args:
            x: Features, shape (n, d).
            fold: Whose classifier scores each event, shape (n,); see `Posterior.scores`.
            region: Unbinned region of each event, shape (n,); negative for none.

        Raises:
            InputError: As for `Posterior.scores`.
        """
        return self.calibration.apply(self.posterior.scores(x, fold), region)

    def within(self, shares: Array, region: Integers) -> Array:
        """Shares that are calibrated in the unbinned region of each event, shape (n, P).

        Args:
            shares: From `scores` without a region, shape (n, P).
            region: Shape (n,); negative for none.
        """
        return self.calibration.within(shares, region)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything, as arrays of numbers and words; see `from_arrays`."""
        parts = {"posterior": self.posterior.arrays(), "calibration": self.calibration.arrays()}
        return {f"{part}.{name}": values for part, arrays in parts.items() for name, values in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The inverse of `arrays`."""
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {"posterior": {}, "calibration": {}}
        for key, values in arrays.items():
            part, _, name = key.partition(".")
            if part in parts:
                parts[part][name] = values
        return cls(Posterior.from_arrays(parts["posterior"]), Calibration.from_arrays(parts["calibration"]))
