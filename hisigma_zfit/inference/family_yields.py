"""The yield of a family's signal with all of its errors: of the events, of the background's training, of simulation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2

from hisigma_zfit.inference.family_likelihood import MOST
from hisigma_zfit.inference.family_profiles import YieldProfile, edges
from hisigma_zfit.inference.family_response import family_response

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.inference.family_likelihood import Landscape
    from hisigma_zfit.inference.family_profiles import Peak
    from hisigma_zfit.inference.search_scene import Scene
    from hisigma_zfit.results.measurement import SignalResponse

__all__ = ["LEVELS", "FamilyYield", "family_yield", "log_background_in"]

LEVELS = (1.0, float(chi2.ppf(0.95, 1)))  # of 2 dlnL: 68.27 and 95 %


@dataclass(frozen=True)
class FamilyYield:
    """What is fitted, and what it means.

    Attributes:
        fitted: Events that the likelihood gives to the signal.
        profiled: Where 2 dlnL is each of LEVELS.
        background_error: Of the fitted events, by the training of the background; NaN if nothing tells.
        response: Fitted events by true one.
    """

    fitted: float
    profiled: tuple[tuple[float, float], ...]
    background_error: float
    response: SignalResponse

    @property
    def value(self) -> float:
        """Events of the signal."""
        return self.fitted / self.response.value

    @property
    def intervals(self) -> tuple[tuple[float, float], ...]:
        """Of the events of the signal at each of LEVELS, with all errors in quadrature."""
        known = self.background_error if np.isfinite(self.background_error) else 0.0
        other, found = float(np.hypot(known, self.fitted * self.response.error / self.response.value)), []
        for (low, high), level in zip(self.profiled, LEVELS, strict=True):
            error = other * float(np.sqrt(level))
            below, above = np.hypot(self.fitted - low, error), np.hypot(high - self.fitted, error)
            found.append((max(self.fitted - float(below), 0.0), self.fitted + float(above)))
        return tuple((low / self.response.value, high / self.response.value) for low, high in found)


def family_yield(here: Scene, landscape: Landscape, found: list[Peak], rng: np.random.Generator) -> FamilyYield:
    """Take the yield from the likelihood, its response from simulation and the background's error from bootstraps.

    Args:
        here: Events and background.
        landscape: The likelihood of these events.
        found: Its maxima.
        rng: Of the response.
    """
    theta = np.exp(found[0].t)
    s, profile = landscape.ratios(theta).best()[1], YieldProfile(landscape, found)
    top = profile.maximum(s)[0]
    profiled = edges(
        lambda at: top - profile.maximum(at)[0], s, LEVELS, (0.0, MOST * len(here)), step=float(np.sqrt(s + 9.0))
    )
    shifts = [log_background - here.points.log_background for log_background in here.bootstraps]
    redrawn = [replace(landscape, log_background=landscape.log_background + shift) for shift in shifts]
    spread = [other.ratios(theta).best()[1] - s for other in redrawn]
    response = family_response(
        landscape.density,
        lambda x, m: log_background_in(here, x, m),
        theta,
        max(s, profiled[0][1] - s) / len(here),
        rng,
    )
    background_error = float(np.sqrt(np.mean(np.square(spread)))) if spread else float("nan")
    return FamilyYield(s, tuple(profiled), background_error, response)


def log_background_in(here: Scene, x: Array, m: Array) -> Array:
    """Log p_b(x, m) of events with features x of shape (n, d) and masses m of shape (n,)."""
    return here.background.log_prob_array(x, m) + here.place.mass.forward(m[:, None])[1]
