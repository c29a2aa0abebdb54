"""Fit a signal that is known up to parameters, such as two masses, over a background that was learned in sidebands.

Prior-assisted search of arXiv:2506.00119.  What to use when: `find_signal` where nothing is known of the signal;
`fit_family` where there is simulation; `family_interval` where the yield is near zero: without a signal the parameters
mean nothing, and 2 dlnL gives too narrow intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import chi2

from hisigma_zfit.density.gaussianised import drawn_background
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.family_likelihood import NEVER, Landscape
from hisigma_zfit.inference.family_profiles import Peak, edges, peaks, polish
from hisigma_zfit.inference.family_yields import LEVELS, family_yield, log_background_in
from hisigma_zfit.inference.search_scene import scene
from hisigma_zfit.inference.signal_coordinates import Frame
from hisigma_zfit.learn.streams import Purpose, seed_for, stream
from hisigma_zfit.results.explanations import Contour
from hisigma_zfit.results.families import FamilyFit, FamilyParameter
from hisigma_zfit.results.show import Shown
from hisigma_zfit.statistics.intervals import ONE_SIGMA

if TYPE_CHECKING:
    import zfit

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset, SignalRegion
    from hisigma_zfit.density.base import ConditionalFlow
    from hisigma_zfit.inference.search_scene import Scene
    from hisigma_zfit.inference.signal_families import Family, FamilyDensity
    from hisigma_zfit.model.spectrum import Spectrum

__all__ = ["FittedFamily", "fit_family", "kappa"]

RAYS = 16  # of the contours in the result
_MASSES, _FEATURES, _RESPONSE = 2, 3, 8  # streams of a family, beside those of its density and of its toys


@dataclass(frozen=True)
class FittedFamily(Shown):
    """A fit and all that it needs to be looked at further.

    Attributes:
        result: The numbers.
        scene: Events and background.
        landscape: The likelihood.
        peaks: Maxima of the likelihood, the best first.
    """

    result: FamilyFit
    scene: Scene
    landscape: Landscape
    peaks: tuple[Peak, ...]

    def shown(self) -> dict[str, Any]:
        """What a notebook shows: the numbers."""
        return self.result.shown()

    @property
    def t(self) -> float:
        """Test statistic."""
        return self.result.t

    @property
    def signal_yield(self) -> float:
        """Events of the signal."""
        return self.result.signal_yield

    @property
    def response(self) -> float:
        """Fitted events by event of the signal."""
        own = self.result.response
        return 1.0 if own is None else own.value

    @property
    def density(self) -> FamilyDensity:
        """The signal's, at every theta."""
        return self.landscape.density

    @property
    def values(self) -> dict[str, float]:
        """Best parameters, by name."""
        return dict(zip(self.density.names, map(float, np.exp(self.peaks[0].t)), strict=True))

    def contour(self, x: str, y: str, *, cl: float = ONE_SIGMA, points: int = 32) -> Contour:
        """Line around the best values of two parameters, the yield and all others profiled (two degrees of freedom).

        Args:
            x: First parameter.
            y: Second parameter.
            cl: Confidence level for both together.
            points: Of the line, at equal angles.

        Raises:
            InputError: A parameter is unknown or both are the same, or `cl` is not between 0 and 1.
        """
        names = self.density.names
        if x not in names or y not in names or x == y:
            raise InputError.from_parts(
                expected=f"two of {', '.join(names)}", got=f"{x}, {y}", do="name two parameters"
            )
        if not 0.0 < cl < 1.0:
            raise InputError.from_parts(expected="0 < cl < 1", got=str(cl), do="give it as a fraction, such as 0.95")
        return trace(self.landscape, self.peaks[0], (names.index(x), names.index(y)), cl=cl, points=points)

    def __str__(self) -> str:
        return str(self.result)


def fit_family(
    data: Dataset,
    background: ConditionalFlow,
    shape: zfit.pdf.BasePDF | Spectrum,
    family: Family,
    *,
    region: SignalRegion,
    seed: int,
) -> FittedFamily:
    """Yield and parameters of a signal that is known up to them, in one window.

    Args:
        data: Events; those of the window count.  No event weights.
        background: p_b(x | m), trained on the sidebands with `train_flow`; its bootstraps give the error that comes
            from it.
        shape: Mass shape of the background, fitted to the sidebands, for example by `fit_spectrum`; only its slope in
            the window counts.
        family: The signal: `ScaledSignal` or `SignalFamily`.
        region: The window.
        seed: Same seed, same result.

    Returns:
        The best signal of the family; `t` tells how much better it is than none.

    Raises:
        InputError: As for `find_signal`; a scaled column that is no feature; simulation with weights, of too few events
            or outside of the background's domain.

    Example:
        >>> family = hz.ScaledSignal(hz.examples.simulation(), scale={"pt": "scale"}, at={"scale": 60.0})
        >>> shape = hz.ExpQuadratic(hz.examples.mass(), p1=2.0, p2=0.0)
        >>> options = {"region": hz.examples.REGION, "seed": 1}
        >>> fit = hz.fit_family(hz.examples.events(), hz.examples.flow("background"), shape, family, **options)
        >>> fit.values["scale"], fit.signal_yield  # of 60 and about 60
        (80., 31.)
        >>> fit.result.parameters["scale"].interval_95[0] < 60.0 < fit.result.interval_95[1]  # with wide intervals
        True
    """
    here = scene(data, background, shape, region=region, components=1, folds=2)
    frame = Frame(background.features, background.given, background.domain, (region.lower, region.upper))
    density = family.learn(frame, seed=seed)
    m, x = here.observables[:, 0], here.observables[:, 1:]
    log_jacobian = here.place.forward(x, m)[1]
    landscape = Landscape(density, density.prepare(x, m), here.points.log_background + log_jacobian)
    found = peaks(landscape)
    if not found:
        raise InputError.from_parts(
            expected="parameters at which the signal is inside of the background's domain",
            got="none in their ranges",
            do="give other limits",
        )
    best = np.exp(found[0].t)
    pair = () if len(best) < 2 else (ONE_SIGMA, 0.95)
    own = family_yield(here, landscape, found, stream(seed, Purpose.SIGNAL_FAMILY, _RESPONSE))
    of_yield = own.intervals
    result = FamilyFit(
        region=(region.lower, region.upper),
        n_events=len(here),
        t=found[0].value,
        signal_yield=own.value,
        interval_68=of_yield[0],
        interval_95=of_yield[1],
        background_yield=len(here) - own.value,
        background_error=own.background_error / own.response.value,
        parameters=_parameters(landscape, found[0]),
        contours=tuple(trace(landscape, found[0], (0, 1), cl=cl, points=RAYS) for cl in pair),
        second=_second(found, density.names),
        seed=seed,
        response=own.response,
    )
    return FittedFamily(result, here, landscape, tuple(found))


def _second(found: list[Peak], names: tuple[str, ...]) -> dict[str, float]:
    if len(found) < 2:
        return {}
    return {"t": found[1].value, **dict(zip(names, map(float, np.exp(found[1].t)), strict=True))}


def _parameters(landscape: Landscape, peak: Peak) -> dict[str, FamilyParameter]:
    limits, result = np.log(landscape.density.limits), {}
    for k, name in enumerate(landscape.density.names):
        fall = _Fall(landscape, peak, (k,))
        limit = (float(limits[k, 0]), float(limits[k, 1]))
        one, two = edges(fall.of_one, float(peak.t[k]), LEVELS, limit, step=float(peak.widths[k]))
        (a, b), (c, d) = np.exp(one), np.exp(two)
        result[name] = FamilyParameter(float(np.exp(peak.t[k])), (float(a), float(b)), (float(c), float(d)))
    return result


class _Fall:
    """2 lnL below its maximum with some components of log theta held, the yield and the other components profiled."""

    def __init__(self, landscape: Landscape, peak: Peak, held: tuple[int, ...]) -> None:
        self.landscape, self.peak, self.held = landscape, peak, list(held)
        self.free = [k for k in range(len(peak.t)) if k not in held]
        self.start = peak.t[self.free]  # of the next one, which is a neighbour

    def __call__(self, values: Array) -> float:
        t = self.peak.t.copy()
        t[self.held] = values

        def function(free: Array) -> float:
            at = t.copy()
            at[self.free] = free
            return self.landscape.value(at)

        value, point = polish(function, self.start, self.peak.widths[self.free])
        if value > NEVER:
            self.start = point
        return max(self.peak.value - value, 0.0)

    def of_one(self, value: float) -> float:
        """With a single component held."""
        return self(np.array([value]))


def trace(landscape: Landscape, peak: Peak, pair: tuple[int, int], *, cl: float, points: int) -> Contour:
    """The line on which 2 lnL is below its maximum by the quantile of two degrees of freedom, along rays."""
    level, names = float(chi2.ppf(cl, 2)), landscape.density.names
    limits = np.log(landscape.density.limits)[list(pair)]
    centre, widths = peak.t[list(pair)], peak.widths[list(pair)]
    line, bounded, fall = np.empty((points, 2)), np.zeros(points), _Fall(landscape, peak, pair)
    for k, angle in enumerate(2.0 * np.pi * np.arange(points) / points):
        ray = widths * np.array([np.cos(angle), np.sin(angle)])
        with np.errstate(divide="ignore", invalid="ignore"):
            ways = np.where(ray > 0.0, (limits[:, 1] - centre) / ray, (limits[:, 0] - centre) / ray)
        reach = float(np.min(ways[np.abs(ray) > 1e-12]))

        def along(distance: float, ray: Array = ray) -> float:
            return fall(centre + distance * ray)

        distance = edges(along, 0.0, (level,), (0.0, reach), step=float(np.sqrt(level)))[0][1]
        line[k], bounded[k] = np.exp(centre + distance * ray), distance >= reach
    best = np.exp(centre)
    return Contour(
        x=names[pair[0]],
        y=names[pair[1]],
        best=(float(best[0]), float(best[1])),
        cl=cl,
        level=level,
        points=line,
        bounded=bounded,
    )


def kappa(fit: FittedFamily, theta: Array, *, n: int = 200_000, seed: int) -> tuple[float, float]:
    """1 / E_b[p_s / p_b], by events that are drawn from the background: one where both densities are normalised.

    Args:
        fit: The fit; its background is drawn from.
        theta: Parameters, shape (T,).
        n: Events.
        seed: Same seed, same events.

    Returns:
        The number and its error from the drawing, which is large where the densities overlap little.
    """
    x, m, log_background = background_events(fit, fit.scene.background, n, seed)
    ratio = np.exp(fit.density.log_density(fit.density.prepare(x, m), theta) - log_background)
    mean, error = float(ratio.mean()), float(ratio.std() / np.sqrt(n))
    return 1.0 / mean, error / mean**2


def background_events(fit: FittedFamily, flow: ConditionalFlow, n: int, seed: int) -> tuple[Array, Array, Array]:
    """Features and masses of n events drawn from a density in the window, and log p_b(x, m) of the background."""
    rng, own = stream(seed, Purpose.SIGNAL_FAMILY, _MASSES), seed_for(seed, Purpose.SIGNAL_FAMILY, _FEATURES)
    x, m = drawn_background(flow, fit.scene.place.mass, n, rng, seed=own)
    return x, m, log_background_of(fit, x, m)


def log_background_of(fit: FittedFamily, x: Array, m: Array) -> Array:
    """Log p_b(x, m) of events, shape (n,)."""
    return log_background_in(fit.scene, x, m)
