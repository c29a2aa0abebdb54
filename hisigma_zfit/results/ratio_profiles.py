"""Profiled likelihoods of a fit of learned ratios: of the parameters of interest, and of nuisances."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hisigma_zfit.results.base import Answer, JsonArray, Result

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["NuisanceProfile", "PoiScan"]


@dataclass(frozen=True)
class PoiScan(Answer):
    """-2 Delta ln L of one parameter of interest.

    Attributes:
        poi: Its name.
        values: Scan points, shape (n,).
        profiled: With all nuisances refitted at each point, its own minimum subtracted, shape (n,).
        statistical: With the nuisances fixed at their best fit, shape (n,).
        with_simulation: Profiled, with the error of the simulation as one more nuisance, shape (n,); None without.
        methods: Profiled in other ways of measuring, by their names, each of shape (n,).
    """

    schema: ClassVar[str] = "hisigma-zfit/poi-scan/1"
    poi: str
    values: JsonArray
    profiled: JsonArray
    statistical: JsonArray
    with_simulation: JsonArray | None = None
    methods: dict[str, JsonArray] = field(default_factory=dict)


@dataclass(frozen=True)
class NuisanceProfile(Result):
    """-2 Delta ln L of one nuisance, beside what its constraint alone says.

    Attributes:
        name: Its name.
        theta: Its values in the fit, shape (n,).
        profiled: With all other parameters refitted, its own minimum subtracted, shape (n,).
        constraint: The constraint's part, its own minimum subtracted, shape (n,); zero for a free nuisance.
        settings: What the shift function is given, shape (n,); equal to `theta` for a nuisance of rates.
        unit: Of the settings, for example "GeV".
    """

    schema: ClassVar[str] = "hisigma-zfit/nuisance-profile/1"
    name: str
    theta: JsonArray
    profiled: JsonArray
    constraint: JsonArray
    settings: JsonArray
    unit: str = ""

    @property
    def asymmetry(self) -> float:
        """Departure from a parabola: |up - down| / (up + down) of the distances at which the profile is one.

        Infinite where the profile does not reach one on both sides.
        """
        best = int(np.argmin(self.profiled))
        down = _crossing(self.theta[: best + 1][::-1], self.profiled[: best + 1][::-1])
        up = _crossing(self.theta[best:], self.profiled[best:])
        if down is None or up is None:
            return np.inf
        below, above = self.theta[best] - down, up - self.theta[best]
        return float(abs(above - below) / (above + below))

    @property
    def parabolic(self) -> bool:
        """The distances up and down agree within 20 % of their mean."""
        return self.asymmetry < 0.1


def _crossing(theta: Array, t: Array) -> float | None:
    """Where t first rises to one, by linear interpolation outwards; None where it stays below."""
    beyond = np.flatnonzero(t >= 1.0)
    if not beyond.size or beyond[0] == 0:
        return None
    k = int(beyond[0])
    share = (1.0 - t[k - 1]) / (t[k] - t[k - 1])
    return float(theta[k - 1] + share * (theta[k] - theta[k - 1]))
