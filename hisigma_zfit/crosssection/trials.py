"""Settings of the nuisances that nothing was learned at, at which a model is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy.stats import norm, qmc

if TYPE_CHECKING:
    from hisigma_zfit.crosssection.analysis import Analysis

__all__ = ["trial_points"]

_REACH = 0.95  # probability of the constraint that points spread over


def trial_points(analysis: Analysis, n: int, *, seed: int) -> list[dict[str, float]]:
    """Settings spread over the constraints of all nuisances with a function, n of them; none where there is none.

    Args:
        analysis: With the nuisances.
        n: How many.
        seed: Of their places.
    """
    own = [nuisance for nuisance in analysis.shapes if nuisance.kind == "shift"]
    if not own:
        return []
    places = qmc.Halton(len(own), rng=seed).random(n)
    found = []
    for row in places:
        thetas = norm.ppf(0.5 + _REACH * (row - 0.5))
        found.append(
            {
                nuisance.name: round(nuisance.point(nuisance.clothes.value(float(theta))), 3)
                for nuisance, theta in zip(own, thetas, strict=True)
            }
        )
    return found
