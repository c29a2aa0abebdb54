"""hepstats' tests (`Discovery`, `UpperLimit`, `ConfidenceInterval`) with numerics that hold up.

Import them from `hisigma_zfit.inference.calculators`, beside the calculators.  They take hepstats' own calculators too.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from hepstats.hypotests import core
from hepstats.hypotests.calculators import AsymptoticCalculator
from hepstats.hypotests.exceptions import POIRangeError
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq
from scipy.stats import norm

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["ConfidenceInterval", "Discovery", "UpperLimit"]


_log = logging.getLogger(__name__)


class Discovery(core.Discovery):
    """Test of the background-only hypothesis; as hepstats', but finite beyond 8 sigma."""

    def result(self, printlevel: int = 1) -> tuple[float, float]:
        """p-value of the null hypothesis and the significance.

        With asymptotic formulae the significance is sqrt(q0) itself; toys bound it by their number.
        """
        pvalues, _ = self.calculator.pvalue(self.poinull, onesideddiscovery=True)
        pvalue = float(pvalues[0])
        if isinstance(self.calculator, AsymptoticCalculator):
            z = float(np.sqrt(self.calculator.qobs(self.poinull, onesided=False, onesideddiscovery=True)[0]))
        else:
            z = float(norm.isf(pvalue))
        if printlevel > 0:
            _log.info("p-value %.4g, significance %.2f", pvalue, z)
        return pvalue, z


class UpperLimit(core.UpperLimit):
    """Upper limit, observed and expected; as hepstats', but with numbers under numpy 2."""

    def pvalues(self, CLs: bool = True) -> dict[str, Array]:
        """p-values at the scanned values, by kind; see hepstats."""
        with np.errstate(invalid="ignore", divide="ignore"):
            pvalues: dict[str, Array] = super().pvalues(CLs)
        # both p-values underflow together, far beyond any limit
        return {name: np.where(np.isnan(values), 0.0, values) for name, values in pvalues.items()}

    def upperlimit(self, alpha: float = 0.05, CLs: bool = True, printlevel: int = 1) -> dict[str, float | None]:
        """Upper limits at confidence level 1 - alpha.

        Args:
            alpha: 1 - confidence level.
            CLs: Divide by the p-value of the alternative.
            printlevel: Log the result if positive.

        Returns:
            "observed", "expected" and "expected_m2" ... "expected_p2"; a band outside of the scanned range is None.

        Raises:
            POIRangeError: The scanned range holds no observed or median expected limit.
        """
        values = self.poinull.values
        best = self.calculator.bestfit.params[self.poinull.parameter]["value"]
        pvalues = self.pvalues(CLs)
        limits: dict[str, float | None] = {}
        for name in ("observed", "expected", "expected_p1", "expected_m1", "expected_p2", "expected_m2"):
            key, selected = name, np.ones(values.size, dtype=bool)
            if name == "observed":
                key, selected = "cls" if CLs else "clsb", values >= best
            limits[name] = _crossing(values[selected], _smooth(pvalues[key][selected]), _smooth(alpha))
            if limits[name] is None and name in {"observed", "expected"}:
                raise POIRangeError(
                    f"the scanned p-values do not cross alpha = {alpha:g}; widen the range of POI values"
                )
        if printlevel > 0:
            _log.info("upper limits on %s: %s", self.poinull.name, limits)
        return limits


class ConfidenceInterval(core.ConfidenceInterval):
    """Two-sided interval; as hepstats', but accurate on coarse scans.

    With ``qtilde=True`` it is that of Feldman and Cousins for a parameter that cannot be negative.
    """

    def interval(self, alpha: float = 0.32, printlevel: int = 1) -> dict[str, float]:
        """Best value and both edges at confidence level 1 - alpha.

        Args:
            alpha: 1 - confidence level.
            printlevel: Log the result if positive.

        Raises:
            POIRangeError: An edge is outside of the scanned range.
        """
        values, pvalues = self.poinull.values, self.pvalues()
        observed = float(self.calculator.bestfit.params[self.poinull.parameter]["value"])
        centre = max(observed, 0.0) if self.qtilde else observed
        z = norm.isf(np.clip(pvalues, 1e-300, 1.0) / 2)  # nearly linear on either side of the best value, zero there
        target = float(norm.isf(alpha / 2))
        upper = _distance(values - centre, z, target)
        lower = _distance((centre - values)[::-1], z[::-1], target)
        if upper is None:
            raise POIRangeError(f"no upper bound on {self.poinull.name} in the scan; increase the maximum POI value")
        if lower is None and not self.qtilde:
            raise POIRangeError(f"no lower bound on {self.poinull.name} in the scan; decrease the minimum POI value")
        bands = {
            "observed": observed,
            "upper": centre + upper,
            "lower": 0.0 if lower is None else max(centre - lower, 0.0) if self.qtilde else centre - lower,
        }
        if printlevel > 0:
            _log.info("%s: %s at %.3g %% CL", self.poinull.name, bands, 100 * (1 - alpha))
        return bands


def _distance(distances: Array, z: Array, target: float) -> float | None:
    """Distance from the best value at which z, zero there, reaches a target; None if it is not in the scan."""
    outside = distances > 0.0
    return _crossing(np.array([0.0, *distances[outside]]), np.array([0.0, *-z[outside]]), -target)


def _smooth(p: Any) -> Any:
    """A scale on which p-values of a scan interpolate well."""
    return np.log(np.maximum(p, 1e-300))


def _crossing(x: Array, y: Array, level: float) -> float | None:
    """Where y falls through `level` for the last time, by monotone interpolation; None if it does not."""
    above = y > level
    at = np.flatnonzero(above[:-1] & ~above[1:])
    if not at.size:
        return None
    k = int(at[-1])
    return float(brentq(PchipInterpolator(x, y - level), x[k], x[k + 1]))
