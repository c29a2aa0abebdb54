"""Many signals over one background that is learned once: what a search finds, and how well it tells signal apart.

    python benchmarks/search/strengths.py dijets --background background.root --signal signal.root --out runs/dijets
    python benchmarks/search/strengths.py lhco --folder lhco --out runs/lhco-strengths

`dijets`: all background events are data, their density is learned in the sidebands, and events that it draws judge,
which takes it for right.  In every fourth set the real ones judge too, each by the lump that was learned without its
fold, of four fifths of the data.
`lhco`: the density is learned from background events of the window that are not data, as in lhco.py, and these judge,
each by the member that has not seen it.
Signal events that are not in the data judge too.  The sets of a strength have other signal events each and the same
background, so that their spread is that of the signal alone.  Each set is one small file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from lhco import DATA, FEATURES, MASS, MEMBERS, WINDOW, read

import hisigma_zfit as hz
from hisigma_zfit.baselines.anomaly_scores import background_events, place_events
from hisigma_zfit.density.gaussianised import log_normal
from hisigma_zfit.files import write_text
from hisigma_zfit.inference.blobs import Blobs, Points
from hisigma_zfit.inference.search import best_lumps, cross_fit
from hisigma_zfit.inference.search_scene import scene
from hisigma_zfit.learn.resampling import fold_of
from hisigma_zfit.learn.streams import Purpose, seed_for, stream
from hisigma_zfit.statistics.significance_improvement import significance_improvement

RANGE = (2500.0, 4500.0)
GOALS = {
    "dijets": {0.001: 4.0, 0.0017: 8.0, 0.003: 10.5, 0.0053: 11.7, 0.0093: 12.3},
    "lhco": {150: 7.5, 250: 9.2, 350: 9.8, 500: 10.4},
}
FOLDS, DRAWN = 5, 200_000
EVERY = 4  # sets are judged by folds too, which takes longer than the search
PURPOSE = Purpose.COMPARISON_SCORES
_SIGNAL, _STARTS, _FOLDS, _SPLIT, _RUN = range(60, 65)  # streams


@dataclass(frozen=True)
class Stage:
    """One background and a store of signal events, as the search sees them.

    Attributes:
        background: Events of the data.
        signal: The store, with the density of the data.
        light: Masses of the lighter and the heavier jet of both, shape (n, 2).
        judges: Background events that judge, with a density that has not seen them.
        scored: The store with the densities that judge.
        folds: Whether the background of the data judges too, by folds.
    """

    background: Points
    signal: Points
    jets: Any
    judges: Points
    scored: Points
    folds: bool

    def one(self, rows: Any, numbers: tuple[int, ...], seed: int) -> dict[str, Any]:
        """Search with some of the store's events."""
        points = _joined(self.background, self.signal.select(rows))
        found = best_lumps(points, stream(seed, PURPOSE, _STARTS, *numbers))
        best = found.blobs.take(np.array([0]))
        jets = np.concatenate([self.jets[: len(self.background)], self.jets[len(self.background) :][rows]])
        unseen = np.setdiff1d(np.arange(len(self.signal)), rows)
        record: dict[str, Any] = {"n_signal": len(rows), "n_background": len(self.background)}
        record |= {"t": float(found.statistic[0]), "yield": float(best.total[0]) * len(points)}
        ratio = np.exp(np.minimum(best.log_ratio(points)[:, 0], 80.0)) * best.total[0]
        record["masses"] = [_median(column, ratio / (1.0 - best.total[0] + ratio)) for column in jets.T]
        record["sic"] = _sic(_x_only(best, self.scored.select(unseen)), _x_only(best, self.judges))
        if self.folds and numbers[0] % EVERY == 0:
            rng = stream(seed, PURPOSE, _FOLDS, *numbers)
            number, other = rng.integers(FOLDS, size=len(points)), rng.integers(FOLDS, size=len(unseen))
            parts, _ = cross_fit(points, number, (stream(seed, PURPOSE, _STARTS, *numbers, f) for f in range(FOLDS)))
            s, b = np.empty(len(unseen)), np.empty(len(self.background))
            for fold, blobs in enumerate(parts):
                own, theirs = number[: len(b)] == fold, other == fold
                b[own] = _x_only(blobs, self.background.select(own))
                s[theirs] = _x_only(blobs, self.signal.select(unseen[theirs]))
            record["sic_by_folds"] = _sic(s, b)
        return record


def _sic(s: Any, b: Any) -> list[float]:
    at = significance_improvement(s, b).at_1e3
    return [at.sic, at.error]


def _x_only(blobs: Blobs, points: Points) -> Any:
    given = Points.of(points.y[:, 1:], points.log_background - log_normal(points.y[:, 0]))
    return blobs.without_mass.log_ratio(given)[:, 0]


def _joined(*parts: Points) -> Points:
    y, log_background, monomials = zip(*((p.y, p.log_background, p.monomials) for p in parts), strict=True)
    return Points(np.concatenate(y), np.concatenate(log_background), np.concatenate(monomials))


def _median(values: Any, weight: Any) -> float:
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, 0.5 * total[-1])])


def _jets(*samples: Any) -> Any:
    x = np.concatenate(samples)
    return np.column_stack([x[:, 0], x[:, 0] + x[:, 1]])


def dijets(options: argparse.Namespace) -> Stage:
    """All events of the file are data."""
    names = (*FEATURES, MASS)
    background, signal = (
        hz.read(file, columns={name: name for name in names}) for file in (options.background, options.signal)
    )
    region, m = hz.SignalRegion(*WINDOW), background[MASS]
    background = background.select((m >= RANGE[0]) & (m < RANGE[1]))
    folder = options.out / "p_b"
    if not folder.exists():
        beside = background.select(~region.contains(background[MASS]))
        hz.train_flow(beside, FEATURES, given=MASS, members=2, seed=options.seed).save(folder)
    density = hz.load_flow(folder)
    spectrum = hz.fit_spectrum(background[MASS], RANGE, WINDOW)
    here = scene(background, density, spectrum, region=region, components=1, folds=2)
    placed, known = place_events(here, signal := signal.select(region.contains(signal[MASS])))
    drawn, _ = place_events(here, background_events(here, DRAWN, seed=options.seed))
    jets = _jets(here.observables[:, 1:], signal.array(FEATURES)[known])
    return Stage(here.points, placed, jets, drawn, placed, folds=True)


def lhco(options: argparse.Namespace) -> Stage:
    """The background of the window itself, split into data and what teaches and judges."""
    qcd = read(options.folder / "lhco_sr_qcd.root").concatenate(read(options.folder / "lhco_sr_qcd_extra.root"))
    signal, region = read(options.folder / "lhco_sr_signal.root"), hz.SignalRegion(*WINDOW)
    order = stream(options.seed, PURPOSE, _SPLIT).permutation(len(qcd))
    plain, others = (qcd.select(np.isin(np.arange(len(qcd)), rows)) for rows in (order[:DATA], order[DATA:]))
    seed, folder = seed_for(options.seed, PURPOSE, _RUN), options.out / "p_b"
    if not folder.exists():
        hz.train_flow(others, FEATURES, given=MASS, members=MEMBERS, seed=seed).save(folder)
    density = hz.load_flow(folder)
    import zfit

    shape = hz.fit_shape(hz.ExpQuadratic, others, zfit.Space(MASS, *WINDOW))
    here = scene(plain, density, shape, region=region, components=1, folds=2)
    signal = signal.select(region.contains(signal[MASS]))
    signal = signal.select(density.inside(signal.array(FEATURES), signal[MASS]))
    placed, _ = place_events(here, signal)
    unseen = fold_of(others.identity, seed=seed)  # a member leaves out the fold of its number
    judges = [_by(here, member, others.select(unseen == k))[0] for k, member in enumerate(density.members)]
    # the store in the same way, which keeps its order
    scored, number = Points(placed.y, placed.log_background.copy(), placed.monomials), np.arange(len(placed)) % MEMBERS
    for k, member in enumerate(density.members):
        own, known = _by(here, member, signal.select(number == k))
        rows = np.flatnonzero(number == k)
        scored.log_background[rows] = np.inf  # no cut selects it
        scored.log_background[rows[known]] = own.log_background
    jets = _jets(here.observables[:, 1:], signal.array(FEATURES))
    return Stage(here.points, placed, jets, _joined(*judges), scored, folds=False)


def _by(here: Any, member: Any, events: hz.Dataset) -> tuple[Points, Any]:
    from dataclasses import replace

    return place_events(replace(here, background=member), events)


def main() -> None:
    """Make what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", choices=("dijets", "lhco"))
    parser.add_argument("--background", type=Path, help="file of background events of dijets")
    parser.add_argument("--signal", type=Path, help="file of signal events of dijets")
    parser.add_argument("--folder", type=Path, help="folder of the LHC Olympics' events")
    parser.add_argument("--sets", type=int, default=20, help="of each strength (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is random")
    parser.add_argument("--out", type=Path, default=Path("runs/strengths"), help="folder of the study")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    stage = None
    for number in range(options.sets):
        for strength in GOALS[options.world]:
            path = options.out / f"{strength:g}-{number:02d}.json"
            if path.exists():
                continue
            stage = stage or {"dijets": dijets, "lhco": lhco}[options.world](options)
            numbers = (number, round(1e6 * strength))
            rng = stream(options.seed, PURPOSE, _SIGNAL, *numbers)
            share = strength / (1.0 - strength) if options.world == "dijets" else 0.0
            n = rng.poisson(share * len(stage.background)) if share else int(strength)
            rows = rng.permutation(len(stage.signal))[:n]
            record = {"strength": strength, "number": number, **stage.one(rows, numbers, options.seed)}
            write_text(path, json.dumps(record))
            print(path.name, round(record["t"], 1), [round(v, 2) for v in record["sic"]], flush=True)
    print(table([json.loads(path.read_text()) for path in sorted(options.out.glob("*.json"))], GOALS[options.world]))


def table(records: list[dict[str, Any]], goals: dict[Any, float]) -> str:
    """Medians over the sets with their errors, 1.25 rms / sqrt(n), and 16 and 84 % of the test statistic."""
    lines = [
        "strength  sets       S   T median (16, 84 %)     SIC at 1e-3  found        by folds     jets' masses   goal"
    ]
    for strength, goal in goals.items():
        own = [record for record in records if record["strength"] == strength]
        if not own:
            continue
        t, s = np.array([record["t"] for record in own]), np.mean([record["n_signal"] for record in own])
        sic = np.array([record["sic"][0] for record in own])
        folds = [record["sic_by_folds"][0] for record in own if "sic_by_folds" in record]
        light, heavy = np.median([record["masses"] for record in own], axis=0)
        low, middle, high = np.quantile(t, [0.16, 0.5, 0.84])
        lines.append(
            f"{strength:8g}  {len(own):4d}  {s:6.1f}  {middle:6.1f} ({low:5.1f}, {high:5.1f})  {_middle(sic):>16s}"
            f"  {np.mean(sic > 3.0):5.2f}  {_middle(folds):>16s}  {light:7.4g} {heavy:7.4g}  {goal:5.1f}"
        )
    return "\n".join(lines)


def _middle(values: Any) -> str:
    values = np.asarray(values)
    if len(values) < 2:
        return ""
    return f"{np.median(values):.2f} +- {1.25 * values.std(ddof=1) / len(values) ** 0.5:.2f}"


if __name__ == "__main__":
    main()
