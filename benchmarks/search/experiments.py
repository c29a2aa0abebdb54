"""Experiments whose truth is known, everything drawn and trained again: are p-values uniform, do intervals cover?

    python benchmarks/search/experiments.py --truth p_b --data data.root --signal signal.root --out runs/experiments

The truth is a density of dijets that was learned before and a spectrum.  There are three kinds of tasks, which take
turns; each is one small file, so that an interrupted study goes on:

- `null`: draws events over the whole range of the mass, learns the background from their own sidebands as a toy of
  `hisigma search` does, and searches the window, and MORE windows that are drawn beside the same sidebands;
- `toy`: of the reference of the p-values, the same drawn from what one of the first nulls has learned;
- `window`: one more window of a null, as it is and with signal of several strengths, other events each.

Further windows cost no training.  Those of one training share its error: they count as one where it matters.

Signal enters the window only.  What is dear is made of some windows only: see `EVERY`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from experiment_tables import Study, draw, report
from scipy.stats import chi2

import hisigma_zfit as hz
from hisigma_zfit.density.gaussianised import drawn_background, log_normal, window_transform
from hisigma_zfit.density.loading import unpacked
from hisigma_zfit.files import write_text
from hisigma_zfit.inference.blobs import Points
from hisigma_zfit.inference.family_likelihood import Landscape
from hisigma_zfit.inference.family_profiles import YieldProfile, peaks
from hisigma_zfit.inference.lump_yields import fiducial_yield, learned_yield
from hisigma_zfit.inference.retrained import NullModel, Procedure, search_window
from hisigma_zfit.inference.search import CONTAINED, best_lumps, cross_fit, e_value
from hisigma_zfit.inference.search_scene import Scene, fold_of, scene
from hisigma_zfit.inference.signal_coordinates import Frame
from hisigma_zfit.learn.streams import Purpose, seed_for, stream
from hisigma_zfit.statistics.significance_improvement import significance_improvement
from hisigma_zfit.workers import finished

if TYPE_CHECKING:
    from hisigma_zfit.inference.blobs import Blobs
    from hisigma_zfit.model.spectrum import Spectrum

SHARES = (0.001, 0.0017, 0.003, 0.0053)
EVERY = {  # which windows measure what; all of them the yields at YIELDS
    "strengths": 2,  # all strengths, and the family at FAMILY
    "scores": 8,  # ln e at BETS and significance improvement
}
YIELDS, FAMILY, BETS = (0.0, 0.003), (0.001, 0.003), (0.0, 0.003, 0.0053)
SHUFFLES, DRAWS = 1, 10_000  # less than a search takes: e of one order, background of regions to 2 % instead of 1 %
REFERENCES = 8  # nulls that have toys
TRAININGS = 8  # nulls that have windows
FOLDS, BOOTSTRAPS = 5, 3
RESAMPLED = 1  # nulls whose density has bootstraps, for the background's error
MORE = 3  # windows beside the sidebands of each training
JUDGES = 100_000  # background events that judge scores
PURPOSE = Purpose.COMPARISON_SCORES
_TRUTH, _TOYS, _SIGNAL, _STARTS, _FOLD, _REGION, _JUDGES, _WINDOW, _MORE = range(30, 39)  # streams


@dataclass(frozen=True)
class World:
    """Everything that the experiments share, as plain numbers for other processes."""

    truth: NullModel
    signal: hz.Dataset
    simulation: hz.Dataset
    window: tuple[float, float]
    how: Procedure
    masses: tuple[float, float]
    shares: tuple[float, ...]
    seed: int
    out: Path

    @property
    def region(self) -> hz.SignalRegion:
        return hz.SignalRegion(*self.window)

    @property
    def expected(self) -> float:
        """Background events of the window."""
        return self.truth.spectrum.expected(*self.window)


def experiment(world: World, kind: str, number: int) -> dict[str, Any]:
    """One task."""
    start = time.process_time()
    record = {"null": _null, "toy": _toy, "window": _window}[kind](world, number)
    return record | {"number": number, "cpu_s": round(time.process_time() - start, 1)}


def _null(world: World, k: int) -> dict[str, Any]:
    data = world.truth.draw(seed_for(world.seed, PURPOSE, _TRUTH), PURPOSE, k)
    seed = seed_for(world.seed, PURPOSE, _TRUTH, 1)
    found = search_window(data, world.window, world.how, seed=seed, purpose=PURPOSE, numbers=(k,))
    flow, spectrum = unpacked(*found.null.background), found.null.spectrum
    if k < RESAMPLED:
        beside = data.select(~world.region.contains(data[world.how.given]))
        options = {"given": world.how.given, "members": world.how.members, "preset": world.how.preset}
        flow = hz.train_flow(
            beside, world.how.features, bootstraps=BOOTSTRAPS, seed=seed_for(seed, PURPOSE, k), **options
        )
    if k < max(REFERENCES, TRAININGS):
        flow.save(world.out / f"background-{k}")
    kept = {"coefficients": spectrum.coefficients.tolist(), "events": spectrum.events, "error": spectrum.error}
    record = {"t": found.t, "n_events": found.n_events, "spectrum": kept}
    return record | {"more": _more(world, found.null, truth_of(world, k), world.truth.spectrum, (seed, k))}


def _toy(world: World, number: int) -> dict[str, Any]:
    origin, k = number % REFERENCES, number // REFERENCES
    flow, spectrum = learned(world, origin)
    seed = seed_for(world.seed, PURPOSE, _TOYS, origin)
    data = NullModel(flow.pack(), spectrum).draw(seed, Purpose.NULL_TOY, k)
    found = search_window(data, world.window, world.how, seed=seed, purpose=Purpose.NULL_TOY, numbers=(k,))
    drawn = flow.bootstraps[k % len(flow.bootstraps)]
    return {"origin": origin, "t": found.t, "more": _more(world, found.null, drawn, spectrum, (seed, k))}


def _more(world: World, null: NullModel, truth: Any, spectrum: Spectrum, numbers: tuple[int, int]) -> list[float]:
    """Test statistics of more windows beside the same sidebands."""
    flow, found, (seed, k) = unpacked(*null.background), [], numbers
    for i in range(MORE):
        n = int(stream(seed, PURPOSE, _MORE, k, i).poisson(spectrum.expected(*world.window)))
        data = _events(world, truth, spectrum, n, (seed, _MORE, k, i, 1))
        here = scene(data, flow, null.spectrum, region=world.region, components=1, folds=2, strict=False)
        starts = stream(seed, PURPOSE, _MORE, k, i, 2)
        found.append(float(best_lumps(here.points, starts, centres=world.how.centres).statistic[0]))
    return found


def _window(world: World, number: int) -> dict[str, Any]:
    origin = number % TRAININGS
    strengths = _Strengths.of(world, number, origin)
    wanted = {
        name for name, every in EVERY.items() if (number + number // TRAININGS) % every == 0
    }  # of all trainings in turn
    record: dict[str, Any] = {"origin": origin}
    for share in (0.0, *world.shares):
        if "strengths" in wanted or share in YIELDS:
            record[f"{share:g}"] = strengths.search(share, wanted)
    return record | {"t": record["0"]["t"]}


@lru_cache(maxsize=2)
def _flow(out: Path, origin: int) -> Any:
    return hz.load_flow(out / f"background-{origin}")


def learned(world: World, origin: int) -> tuple[Any, Spectrum]:
    """What a null has learned: its density is on disk, its spectrum in its record."""
    raw = json.loads(_place(world.out, "null", origin).read_text())["spectrum"]
    raw["coefficients"] = np.array(raw["coefficients"])
    return _flow(world.out, origin), replace(world.truth.spectrum, **raw)


@dataclass(frozen=True)
class _Strengths:
    """Events of one window with the signal of all strengths, of which each takes its own."""

    world: World
    k: int
    whole: Scene
    strength: Any  # of every event: number of its strength, 0 for the background

    @classmethod
    def of(cls, world: World, k: int, origin: int) -> _Strengths:
        flow, spectrum = learned(world, origin)
        rng = stream(world.seed, PURPOSE, _SIGNAL, k)
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
        world, k = self.world, self.k
        number = 1 + world.shares.index(share) if share else 0
        rows = (self.strength == 0) | (self.strength == number)
        here, true = _part(self.whole, rows), self.strength[rows] > 0
        mean = share / (1.0 - share) * world.expected
        found = best_lumps(here.points, stream(world.seed, PURPOSE, _STARTS, k, number))
        best = found.blobs.take(np.array([0]))
        record: dict[str, Any] = {"n_signal": int(true.sum()), "mean": mean, "t": float(found.statistic[0])}
        record["likelihood_ratio"] = float(found.gain[0])
        record |= {"yield": float(best.total[0]) * len(here), "masses": _masses(here, best)}
        if share in YIELDS:
            record |= self._yields(here, true, share, mean)
        if "strengths" in wanted and share in FAMILY:
            record["family"] = self._family(here, mean)
        if "scores" in wanted and share in BETS:
            own = seed_for(world.seed, PURPOSE, _STARTS, k, number, 1)
            record["ln_e"] = e_value(here.points, shuffles=SHUFFLES, seed=own).ln_e
        if "scores" in wanted and share:
            record["sic"] = self._improvement(found.blobs)
        return record

    def _yields(self, here: Scene, true: Any, share: float, mean: float) -> dict[str, Any]:
        """Fiducial and learned yield, and what is true of the first."""
        seed = seed_for(self.world.seed, PURPOSE, _FOLD, self.k, round(1e6 * share))
        number = fold_of(here.identity, seed, FOLDS)
        parts, scores = cross_fit(here.points, number, (stream(seed, PURPOSE, _STARTS, f) for f in range(FOLDS)))
        radius = float(chi2.ppf(CONTAINED, here.points.y.shape[1]))
        rng = stream(seed, PURPOSE, _REGION)
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
        x, m = here.observables[:, 1:], here.observables[:, 0]
        density = _once(_family_density, self.world)
        log_background = here.points.log_background + here.place.forward(x, m)[1]
        known = density.coordinates.frame.contains(x)
        landscape = Landscape(density, density.prepare(x[known], m[known]), log_background[known])
        found = peaks(landscape)
        top, theta = found[0].value, np.exp(found[0].t)
        return {
            "t": top,
            "yield": landscape.ratios(theta).best()[1],
            "masses": theta.tolist(),
            "t_yield": top - YieldProfile(landscape, found).maximum(mean)[0],
            "t_masses": top - landscape.value(np.log(self.world.masses)),
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
        for events in (signal, _once(_drawn_judges, self.world)):
            x, m = events.array(here.place.features), events[here.place.given]
            known = here.background.inside(x, m)
            y, log_jacobian = here.place.forward(x[known], m[known])
            logs = here.place.log_background(here.background, x[known], m[known], log_jacobian=log_jacobian)
            placed.append(Points.of(y, logs))
        return placed[0], placed[1]


def _part(here: Scene, rows: Any) -> Scene:
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


_KNOWN: dict[Any, Any] = {}


def _once(function: Any, world: World) -> Any:
    """What a process needs to make only once."""
    if function not in _KNOWN:
        _KNOWN[function] = function(world)
    return _KNOWN[function]


def truth_of(world: World, origin: int) -> Any:
    """The density that a null is drawn from: each of the truth's bootstraps in turn, for sidebands and windows."""
    flows = _once(_truth, world).bootstraps
    return flows[origin % len(flows)]


def drawn_window(world: World, origin: int, n: int, *numbers: int) -> hz.Dataset:
    """Background events of the window of a null."""
    return _events(world, truth_of(world, origin), world.truth.spectrum, n, (world.seed, _WINDOW, *numbers))


def _events(world: World, flow: Any, spectrum: Spectrum, n: int, numbers: tuple[int, ...]) -> hz.Dataset:
    mass = window_transform(spectrum.density, world.window, name=flow.given)
    seed, *rest = numbers
    rng, own = stream(seed, PURPOSE, *rest), seed_for(seed, PURPOSE, *rest)
    x, m = drawn_background(flow, mass, n, rng, seed=own)
    return hz.Dataset.from_arrays({flow.given: m, **dict(zip(flow.features, x.T, strict=True))})


def _drawn_judges(world: World) -> hz.Dataset:
    return drawn_window(world, 0, JUDGES, 0, _JUDGES)


def _truth(world: World) -> Any:
    return unpacked(*world.truth.background)


def _family_density(world: World) -> Any:
    """The scaled simulation, from events that are never injected."""
    flow = _once(_truth, world)
    at = dict(zip(("m_y", "m_x"), world.masses, strict=True))
    family = hz.ScaledSignal(world.simulation, scale={"mj_light": "m_y", "mj_light + dmj": "m_x"}, at=at)
    return family.learn(Frame(flow.features, flow.given, flow.domain, world.window), seed=1)


def _place(out: Path, kind: str, number: int) -> Path:
    return out / f"{kind}-{number:04d}.json"


def world_of(options: argparse.Namespace) -> World:
    flow = hz.load_flow(options.truth)
    names = (*flow.features, flow.given)
    with np.load(options.data) as stored:
        m = stored[flow.given]
    window, limits = tuple(options.window), tuple(options.range)
    region = hz.SignalRegion(*window)
    signal = hz.read(options.signal, columns={name: name for name in names})
    signal = signal.select(region.contains(signal[flow.given]))
    half = stream(options.seed, PURPOSE, _SIGNAL).random(len(signal)) < 0.5
    return World(
        truth=NullModel(flow.pack(), hz.fit_spectrum(m, limits, window, degree=options.degree)),
        signal=signal.select(half),
        simulation=signal.select(~half),
        window=window,
        how=Procedure(
            features=flow.features,
            given=flow.given,
            limits={},
            mass_range=limits,
            degree=None,
            members=options.members,
            preset=options.preset,
            components=1,
            centres=400,
        ),
        masses=tuple(options.masses),
        shares=SHARES,
        seed=options.seed,
        out=options.out,
    )


def arguments(description: str) -> argparse.ArgumentParser:
    """What decides the world."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, required=True, help="folder of the density that is the truth")
    parser.add_argument("--data", type=Path, required=True, help="npz archive with the mass of its events")
    parser.add_argument("--signal", type=Path, required=True, help="ROOT file of signal events")
    parser.add_argument("--range", nargs=2, type=float, default=(2500.0, 4500.0), help="of the mass")
    parser.add_argument("--window", nargs=2, type=float, default=(3300.0, 3700.0), help="that is searched")
    parser.add_argument("--masses", nargs=2, type=float, default=(100.0, 500.0), help="m_y and m_x of the signal")
    parser.add_argument("--degree", type=int, default=3, help="of the true spectrum's polynomial")
    parser.add_argument("--members", type=int, default=2, help="nets of each training, as in a search (default 2)")
    parser.add_argument("--preset", default="standard", help="of each training, as in a search")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is random")
    parser.add_argument("--out", type=Path, default=Path("runs/experiments"), help="folder of the study")
    return parser


def main() -> None:
    """Make what is missing, then report."""
    parser = arguments(__doc__)
    parser.add_argument("--nulls", type=int, default=200, help="without signal (default 200)")
    parser.add_argument("--toys", type=int, default=200, help="of the reference, all together (default 200)")
    parser.add_argument("--windows", type=int, default=200, help="with several strengths (default 200)")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="only the table and the figure of what is there")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.report:
        wanted = {"null": options.nulls, "toy": options.toys, "window": options.windows}
        needed = max([1, *(min(wanted[kind], n) for kind, n in (("toy", REFERENCES), ("window", TRAININGS)))])
        first = [("null", k) for k in range(needed)]
        rest = [(kind, k) for k in range(max(wanted.values())) for kind in wanted if k < wanted[kind]]
        rest = [task for task in rest if task not in first]
        world = world_of(options)
        for tasks in (first, rest):  # toys and windows need what the first have learned
            missing = [task for task in tasks if not _place(options.out, *task).exists()]
            for task, record in finished(experiment, world, missing, processes=options.processes):
                write_text(_place(options.out, *task), json.dumps(record))
                print(*task, record["cpu_s"], round(record["t"], 1), flush=True)
    study = Study.load(options.out)
    print(report(study, tuple(options.masses)))
    if study.drawable:
        draw(study, options.out / "experiments.png")


if __name__ == "__main__":
    main()
