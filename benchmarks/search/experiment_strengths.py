"""One window of `experiments.py` with a signal of several strengths: what a search and a family find in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from experiment_world import PURPOSE, Stream, drawn_window, learned, once, truth_flow
from scipy.stats import chi2

import hisigma_zfit as hz
from hisigma_zfit.density.gaussianised import log_normal
from hisigma_zfit.inference.blobs import Points
from hisigma_zfit.inference.family_likelihood import Landscape
from hisigma_zfit.inference.family_profiles import YieldProfile, peaks
from hisigma_zfit.inference.family_yields import family_yield
from hisigma_zfit.inference.lump_yields import fiducial_yield, learned_yield
from hisigma_zfit.inference.search import CONTAINED, best_lumps, cross_fit, e_value
from hisigma_zfit.inference.search_scene import Scene, fold_of, scene
from hisigma_zfit.inference.signal_coordinates import Frame
from hisigma_zfit.inference.yield_response import Injections, injected_yield
from hisigma_zfit.learn.streams import seed_for, stream
from hisigma_zfit.statistics.significance_improvement import significance_improvement

if TYPE_CHECKING:
    from experiment_world import World

    from hisigma_zfit.inference.blobs import Blobs, Maximum

YIELDS, FAMILY, BETS = (0.0, 0.003), (0.001, 0.003), (0.0, 0.003, 0.0053)
SHUFFLES, DRAWS = 1, 10_000  # less than a search takes: e of one order, background of regions to 2 % instead of 1 %
FOLDS = 5
INJECTED = (0.0, 0.5, 1.0, 2.0)  # strengths of copies, of the signal
JUDGES = 100_000  # background events that judge scores


@dataclass(frozen=True)
class Strengths:
    """Events of one window with the signal of all strengths, of which each takes its own."""

    world: World
    k: int
    whole: Scene
    strength: Any  # of every event: number of its strength, 0 for the background

    @classmethod
    def of(cls, world: World, k: int, origin: int) -> Strengths:
        flow, spectrum = learned(world, origin)
        rng = stream(world.seed, PURPOSE, Stream.SIGNAL, k)
        background = drawn_window(world, origin, int(rng.poisson(world.expected)), k)
        numbers = [int(rng.poisson(share / (1.0 - share) * world.expected)) for share in world.shares]
        order = rng.permutation(len(world.signal))
        drawn = []
        for n, stop in zip(numbers, np.cumsum(numbers), strict=True):
            drawn.append(world.signal.select(np.isin(np.arange(len(order)), order[stop - n : stop])))
        both = background.concatenate(*drawn)
        labels = np.repeat(np.arange(1 + len(drawn)), [len(background), *map(len, drawn)])
        here = scene(both, flow, spectrum, region=world.region, components=1, folds=FOLDS, strict=False)
        return cls(world, k, here, labels[np.isin(both.identity, here.identity)])

    def search(self, share: float, wanted: set[str]) -> dict[str, Any]:
        """Search the window with one strength of signal."""
        world = self.world
        here, true = self._part(share)
        mean = world.signal_of(share)
        found = self._found(here, share)
        best = found.blobs.take(np.array([0]))
        record: dict[str, Any] = {"n_signal": int(true.sum()), "mean": mean, "t": float(found.statistic[0])}
        record["likelihood_ratio"] = float(found.gain[0])
        record |= {"yield": float(best.total[0]) * len(here), "masses": _masses(here, best)}
        if share in YIELDS:
            record |= self._yields(here, true, share, mean)
        if "strengths" in wanted and share in FAMILY:
            record["family"] = self._family(here, mean)
        if "scores" in wanted and share in BETS:
            record["ln_e"] = self.ln_e(share)
        if "scores" in wanted and share:
            record["sic"] = self._improvement(found.blobs)
        return record

    def ln_e(self, share: float) -> float:
        """What bets win in a window with one strength of signal."""
        own = seed_for(self.world.seed, PURPOSE, Stream.STARTS, self.k, self._number(share), 1)
        return float(e_value(self._part(share)[0].points, shuffles=SHUFFLES, seed=own).ln_e)

    def response(self, share: float, copies: int) -> dict[str, Any]:
        """What a search returns of copies of the lump found at one strength, by the code of `yield_response`."""
        world, here = self.world, self._part(share)[0]
        truths = tuple(strength * world.signal_of(share) for strength in INJECTED)
        recipe = Injections(
            background=here.background.pack(),
            mass=here.place.mass,
            blobs=self._found(here, share).blobs.take(np.array([0])),
            events=len(here),
            expected=world.signal_of(share),
            folds=FOLDS,
            truths=truths,
            seed=seed_for(world.seed, PURPOSE, Stream.RESPONSE, self.k),
        )
        found = [injected_yield(recipe, number) for number in range(copies * len(truths))]
        return {"truths": truths, "found": np.reshape(found, (copies, len(truths))).T.tolist()}

    def _number(self, share: float) -> int:
        return 1 + self.world.shares.index(share) if share else 0

    def _part(self, share: float) -> tuple[Scene, Any]:
        """The window with one strength, and which of its events are signal."""
        rows = (self.strength == 0) | (self.strength == self._number(share))
        return part_of(self.whole, rows), self.strength[rows] > 0

    def _found(self, here: Scene, share: float) -> Maximum:
        rng = stream(self.world.seed, PURPOSE, Stream.STARTS, self.k, self._number(share))
        return best_lumps(here.points, rng)

    def _yields(self, here: Scene, true: Any, share: float, mean: float) -> dict[str, Any]:
        """Fiducial and learned yield, and what is true of the first."""
        seed = seed_for(self.world.seed, PURPOSE, Stream.FOLD, self.k, round(1e6 * share))
        number = fold_of(here.identity, seed, FOLDS)
        parts, scores = cross_fit(here.points, number, (stream(seed, PURPOSE, Stream.STARTS, f) for f in range(FOLDS)))
        radius = float(chi2.ppf(CONTAINED, here.points.y.shape[1]))
        rng = stream(seed, PURPOSE, Stream.REGION)
        got = fiducial_yield(here, parts, number, radius_squared=radius, contained=CONTAINED, draws=DRAWS, rng=rng)
        pool, inside, accepted = self._pool, 0, 0.0
        for fold, lump in enumerate(got.regions):
            inside += int(np.sum(distance(here.points.y[(number == fold) & true], lump) <= radius))
            accepted += float(np.sum(distance(pool, lump) <= radius)) / len(self.world.signal) / FOLDS
        learned = learned_yield(scores)
        return {
            "fiducial": [got.value, got.error, got.background_error],
            "in_region": inside,
            "expected_in_region": mean * accepted,
            "learned": [learned.value, *learned.interval_68],
        }

    @cached_property
    def _pool(self) -> Any:
        """Coordinates of all signal events."""
        signal, place = self.world.signal, self.whole.place
        x, m = signal.array(place.features), signal[place.given]
        known = self.whole.background.inside(x, m)
        return place.forward(x[known], m[known])[0]

    def _family(self, here: Scene, mean: float) -> dict[str, Any]:
        """The scaled simulation: best masses and yield, and how much worse the true ones are."""
        landscape = self._landscape(here)[1]
        found = peaks(landscape)
        top, theta = found[0].value, np.exp(found[0].t)
        return {
            "t": top,
            "yield": landscape.ratios(theta).best()[1],
            "masses": theta.tolist(),
            "t_yield": top - YieldProfile(landscape, found).maximum(mean)[0],
            "t_masses": top - landscape.value(np.log(self.world.masses)),
        }

    def _landscape(self, here: Scene) -> tuple[Scene, Landscape]:
        """The likelihood of the scaled simulation, and the events that it can be asked for."""
        density = once(_family_density, self.world)
        here = part_of(here, density.coordinates.frame.contains(here.observables[:, 1:]))
        x, m = here.observables[:, 1:], here.observables[:, 0]
        log_background = here.points.log_background + here.place.forward(x, m)[1]
        return here, Landscape(density, density.prepare(x, m), log_background)

    def family_yields(self, share: float) -> dict[str, Any]:
        """The yield of the scaled simulation with all of its errors, by the code of `fit_family`."""
        here, landscape = self._landscape(self._part(share)[0])
        rng = stream(self.world.seed, PURPOSE, Stream.FAMILY, self.k, self._number(share))
        own = family_yield(here, landscape, peaks(landscape), rng)
        return {
            "mean": self.world.signal_of(share),
            "fitted": own.fitted,
            "profiled": own.profiled,
            "background_error": own.background_error,
            "response": [own.response.value, own.response.error],
        }

    def _improvement(self, blobs: Blobs) -> list[float]:
        """At a background efficiency of 1e-3, features alone, by events that are not in any data."""
        s, b = (x_only(blobs, points) for points in self._judges)
        at = significance_improvement(s, b).at_1e3
        return [at.sic, at.error]

    @cached_property
    def _judges(self) -> tuple[Points, Points]:
        here, signal = self.whole, self.world.signal
        placed = []
        for events in (signal, once(_drawn_judges, self.world)):
            x, m = events.array(here.place.features), events[here.place.given]
            known = here.background.inside(x, m)
            y, log_jacobian = here.place.forward(x[known], m[known])
            logs = here.place.log_background(here.background, x[known], m[known], log_jacobian=log_jacobian)
            placed.append(Points.of(y, logs))
        return placed[0], placed[1]


def part_of(here: Scene, rows: Any) -> Scene:
    return replace(
        here,
        points=here.points.select(rows),
        bootstraps=tuple(values[rows] for values in here.bootstraps),
        observables=here.observables[rows],
        identity=here.identity[rows],
    )


def distance(y: Any, lump: Any) -> Any:
    scaled = np.linalg.solve(np.linalg.cholesky(lump.covariance), (y - lump.mean).T)
    return (scaled**2).sum(axis=0)


def _masses(here: Scene, blobs: Blobs) -> list[float]:
    """Median mass of the lighter and of the heavier jet of the learned signal."""
    ratio = np.exp(np.minimum(blobs.log_ratio(here.points)[:, 0], 80.0)) * blobs.total[0]
    weight = ratio / (1.0 - blobs.total[0] + ratio)
    light = here.observables[:, 1]
    return [_median(values, weight) for values in (light, light + here.observables[:, 2])]


def _median(values: Any, weight: Any) -> float:
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, 0.5 * total[-1])])


def x_only(blobs: Blobs, points: Points) -> Any:
    given = Points.of(points.y[:, 1:], points.log_background - log_normal(points.y[:, 0]))
    return blobs.take(np.array([0])).without_mass.log_ratio(given)[:, 0]


def _drawn_judges(world: World) -> hz.Dataset:
    return drawn_window(world, 0, JUDGES, 0, Stream.JUDGES)


def _family_density(world: World) -> Any:
    """The scaled simulation, from events that are never injected."""
    flow = once(truth_flow, world)
    at = dict(zip(("m_y", "m_x"), world.masses, strict=True))
    family = hz.ScaledSignal(world.simulation, scale={"mj_light": "m_y", "mj_light + dmj": "m_x"}, at=at)
    return family.learn(Frame(flow.features, flow.given, flow.domain, world.window), seed=1)
