"""Coverage where the ratios are learned: in each experiment the simulation is drawn and everything learned again.

The world is analytic (tests/crosssection_world.py): two processes, an energy scale, a smearing, a norm, two features.
An experiment draws 3,000 signal and 6,000 background events of simulation for 150 and 1,500 expected ones, learns
posterior, exponents, moments and rates from them, finds the error of the simulation, and fits independent data at
nuisances that are drawn from their priors.  Intervals are counted with and without the error of the simulation, beside
those of the exact ratios of the same data.  Each experiment is one small file, so that an interrupted study goes on:

    python benchmarks/crosssection/retrained.py --experiments 40 --data 20 --out runs/retrained
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import numpy as np
from crosssection_world import TOY, World

from hisigma_zfit.crosssection.answers import with_simulation
from hisigma_zfit.crosssection.expectation import Expectation
from hisigma_zfit.crosssection.inputs import observe, read
from hisigma_zfit.crosssection.learning import Learner
from hisigma_zfit.crosssection.options import CrossSectionOptions
from hisigma_zfit.crosssection.trials import simulation_error
from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import FitError
from hisigma_zfit.files import write_text
from hisigma_zfit.fitting.profiler import Profiler

ONE_SIGMA = 0.6827
METHODS = ("learned", "learned, with simulation", "exact")


def experiment(number: int, n_data: int, rows: tuple[int, int], shape: str) -> dict[str, Any]:
    """Learn once, fit many."""
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), rows).write(seed=number + 1)
        nuisances, processes = (world.content()[name] for name in ("nuisances", "processes"))
        processes["background"]["shape"] = shape
        # beyond the range that fits of nuisances at two standard deviations see
        nuisances["scale"]["points"], nuisances["smearing"]["points"] = [-3, -2, -1, 1, 2, 3], [0.25, 0.5, 0.75, 1.0]
        changes: dict[str, Any] = {
            "nuisances": nuisances,
            "processes": processes,
            "regions": {"U": {"unbinned": "x > -90"}},
        }
        changes |= {"exponents": {"hidden": [12], "bound": [1.0, 0.3]}, "preset": "standard", "seed": number + 1}
        settings = CrossSectionOptions.load(world.config(**changes))
        inputs = read(settings)
    learner = Learner(inputs, settings, seed=settings.seed)
    scorer = learner.scorer()
    simulation = learner.simulation(scorer)
    model = learner.model(scorer, simulation)
    expectation = Expectation(inputs, simulation, model)
    expected = model.simulated(expectation.rows(expectation.medians()))
    sigma = simulation_error(model, expected, "mu", seed=settings.seed, effective={}).sigma
    record: dict[str, Any] = {"sigma": sigma, "truth": [], **{name: [] for name in METHODS}}
    for k in range(n_data):
        rng = np.random.default_rng((number, k, 5))
        mu, nuisances = float(rng.uniform(0.1, 3.0)), np.clip(rng.standard_normal(3), -2.0, 2.0)
        x, _ = TOY.events(np.array([mu, *nuisances]), rng)
        events = Dataset.from_arrays({"x": x[:, 0], "y": x[:, 1]})
        data = observe(events, inputs.analysis.recipe, seed=settings.seed, folds=2, digest=f"{number:06d}{k:06d}")
        record["truth"].append(mu)
        both = {"learned": model.likelihood(model.observed(data)[0]), "exact": TOY.likelihood(TOY.columns(x))}
        for name, likelihood in both.items():
            found = {name: [np.nan] * 3}
            if name == "learned":
                found["learned, with simulation"] = [np.nan] * 3
            try:
                profiler = Profiler(likelihood, "mu")
                found[name] = [profiler.best, *map(float, profiler.interval(1.0))]
                if name == "learned":
                    found["learned, with simulation"] = [profiler.best, *with_simulation(profiler, sigma, ONE_SIGMA)]
            except (FitError, ValueError):  # counted in the table
                pass
            for own, values in found.items():
                record[own].append(values)
    return record | {"cpu_s": round(time.process_time() - start, 1)}


def report(records: list[dict[str, Any]]) -> str:
    """Coverage, width and pulls; errors by resampled experiments, since the fits of one share what was learned."""
    lines = [
        f"{len(records)} experiments of {len(records[0]['truth'])} data sets, "
        f"error of the simulation {np.mean([own['sigma'] for own in records]):.3f} (mean), "
        f"{np.median([own['cpu_s'] for own in records]):.0f} CPU s each",
        f"{'':26s} {'coverage of 68.3 %':>20s} {'width':>7s} {'pull':>7s} {'rms':>6s} {'failed':>7s}",
    ]
    rng = np.random.default_rng(1)
    for name in METHODS:
        inside, widths, pulls, failed = [], [], [], 0
        for own in records:
            truth, (best, low, high) = np.array(own["truth"]), np.array(own[name], dtype=np.float64).T
            fitted = np.isfinite(best)
            failed += int(np.count_nonzero(~fitted))
            truth, best, low, high = truth[fitted], best[fitted], low[fitted], high[fitted]
            inside.append(np.mean((low <= truth) & (truth <= high)))
            widths.append(np.mean(high - low))
            pulls.append((best - truth) / np.where(best > truth, best - low, high - best))
        again = [np.mean(np.array(inside)[rng.integers(len(inside), size=len(inside))]) for _ in range(400)]
        every = np.concatenate(pulls)
        lines.append(
            f"{name:26s} {100 * np.mean(inside):13.1f} +- {100 * np.std(again):3.1f} {np.mean(widths):7.3f} "
            f"{every.mean():+7.2f} {every.std():6.2f} {failed:7d}"
        )
    return "\n".join(lines)


def main() -> None:
    """Make what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=40, help="with everything learned again (default 40)")
    parser.add_argument("--data", type=int, default=20, help="independent data sets of each (default 20)")
    parser.add_argument("--rows", type=int, nargs=2, default=(3000, 6000), help="simulated signal and background")
    parser.add_argument("--background", choices=("learned", "none"), default="learned", help="its shape")
    parser.add_argument("--out", type=Path, default=Path("runs/retrained"), help="folder of the study")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    records = []
    for number in range(options.experiments):
        path = options.out / f"{number:04d}.json"
        if not path.exists():
            write_text(path, json.dumps(experiment(number, options.data, tuple(options.rows), options.background)))
            print(path.name, flush=True)
        records.append(json.loads(path.read_text()))
    print(report(records))


if __name__ == "__main__":
    main()
