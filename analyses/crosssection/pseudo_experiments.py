"""The challenge's pseudo-experiments: data at random nuisances for a grid of signal strengths, measured and scored.

The prior of every nuisance is drawn from for every set, and its auxiliary measurement stays at the prior's centre: so
the challenge does it.  A row of the simulation may stand in a set several times.

    python -m analyses.crosssection.pseudo_experiments RUNFOLDER --sets 10
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analyses.crosssection.challenge import Score, challenge_score
from analyses.crosssection.systematics import PRIMARY, Nuisances, draw_nuisances, normalisations, shifted
from hisigma_zfit.crosssection.inputs import Observed
from hisigma_zfit.crosssection.restoring import restored, stored_settings
from hisigma_zfit.data import read
from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.files import write_text
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.learn.resampling import fold_of
from hisigma_zfit.learn.streams import Purpose, stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hisigma_zfit.arrays import Array, Integers

__all__ = [
    "Experiment",
    "PseudoData",
    "Sample",
    "draw",
    "measurement",
    "pseudo_experiments",
    "read_samples",
    "score",
]

PROCESSES = ("htautau", "ztautau", "ttbar", "diboson")
STRENGTHS = tuple(np.linspace(0.1, 3.0, 10))
SETS = 100
ONE_SIGMA = 1.0  # of -2 ln L above its minimum


@dataclass(frozen=True)
class Sample:
    """Simulated events of a process, before all shifts and thresholds.

    Attributes:
        columns: `PRIMARY`, each of shape (n,).
        weights: Expected events, shape (n,).
        event: Number of the hard event, shape (n,).
    """

    columns: Mapping[str, Array]
    weights: Array
    event: Integers


@dataclass(frozen=True)
class PseudoData:
    """Events that stand for data.

    Attributes:
        columns: `PRIMARY` after shifts and thresholds, each of shape (m,).
        process: Index of the process in `PROCESSES`, shape (m,).
        row: Which row of its sample each event is, shape (m,).
        event: Its hard event, shape (m,): whoever has learned from it must not score it.
        mu: True signal strength.
        nuisances: The true ones.
    """

    columns: Mapping[str, Array]
    process: Integers
    row: Integers
    event: Integers
    mu: float
    nuisances: Nuisances


@dataclass(frozen=True)
class Experiment:
    """One of them, measured.

    Attributes:
        mu: True signal strength.
        nuisances: The true ones.
        lower: Lower edge of the interval of 68.27 %.
        upper: Upper edge.
    """

    mu: float
    nuisances: Nuisances
    lower: float
    upper: float


Measure = Callable[[PseudoData], tuple[float, float]]
"""From data to the 16 % and 84 % quantiles of mu."""


def read_samples(folder: Path) -> dict[str, Sample]:
    """Read the four files.

    Args:
        folder: As for `make_config`; without a column `event` every row is a hard event of its own.

    Raises:
        InputError: A file or a column is missing, or weights are negative.
    """
    samples = {}
    for process in PROCESSES:
        data = read(folder / f"fair_{process}.root", tree="events", weight="weights", nonnegative_weights=True)
        event = data["event"].astype(np.int64) if "event" in data.names else data.identity
        samples[process] = Sample({name: data[name] for name in PRIMARY}, np.asarray(data.weights), event)
    return samples


def draw(samples: Mapping[str, Sample], mu: float, nuisances: Nuisances, rng: np.random.Generator) -> PseudoData:
    """Draw one set: all rows are shifted, with a smearing of their own, and each gives Poisson(w c) copies.

    Args:
        samples: By process.
        mu: Signal strength.
        nuisances: The true ones.
        rng: Of the smearing and of the numbers of copies.
    """
    factors = normalisations(nuisances, mu)
    parts = []
    for number, process in enumerate(PROCESSES):
        sample = samples[process]
        columns, stay = shifted(sample.columns, nuisances, rng)
        # a row that is dropped draws too, so that the numbers of others do not depend on where the thresholds are
        copies = rng.poisson(sample.weights * factors[process]) * stay
        rows = np.repeat(np.arange(len(copies)), copies)
        parts.append((columns, np.full(len(rows), number), rows, sample.event[rows]))
    columns = {name: np.concatenate([of[name][rows] for of, _, rows, _ in parts]) for name in PRIMARY}
    numbers, row, event = (np.concatenate([part[k] for part in parts]) for k in (1, 2, 3))
    return PseudoData(columns, numbers, row, event, mu, nuisances)


def pseudo_experiments(
    samples: Mapping[str, Sample],
    measure: Measure,
    *,
    strengths: Sequence[float] = STRENGTHS,
    sets: int = SETS,
    seed: int = 1,
    out: Path | None = None,
) -> Iterator[Experiment]:
    """Draw and measure, one set after the other.

    Args:
        samples: By process.
        measure: The method.
        strengths: Signal strengths.
        sets: Number of sets at each of them.
        seed: Of everything; every set has streams of its own.
        out: Folder that keeps one file for each set: what is there is not measured again.

    Raises:
        InputError: There is nothing to do, or a kept file belongs to another seed or signal strength.
    """
    if not len(strengths) or sets < 1:
        raise InputError.from_parts(
            expected="signal strengths and sets", got=f"{len(strengths)} and {sets}", do="ask for one of each or more"
        )
    for at, mu in enumerate(strengths):
        for number in range(sets):
            path = None if out is None else out / f"set-{at:03d}-{number:04d}.json"
            rng = stream(seed, Purpose.RATIO_TOYS, at, number)
            nuisances = draw_nuisances(rng)
            truth = {"seed": seed, "mu": float(mu), "nuisances": asdict(nuisances)}
            if path is not None and path.exists():
                yield _kept(path, truth)
                continue
            lower, upper = measure(draw(samples, float(mu), nuisances, rng))
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_text(path, json.dumps({**truth, "interval": [float(lower), float(upper)]}))
            yield Experiment(float(mu), nuisances, float(lower), float(upper))


def score(experiments: Sequence[Experiment]) -> Score:
    """The challenge's score of all of them together.

    Raises:
        InputError: As `challenge_score`.
    """
    mu, lower, upper = ([getattr(one, name) for one in experiments] for name in ("mu", "lower", "upper"))
    return challenge_score(mu, lower, upper)


def _kept(path: Path, truth: dict[str, object]) -> Experiment:
    record = json.loads(path.read_text())
    if any(record[name] != value for name, value in truth.items()):
        raise InputError.from_parts(
            expected=f"the pseudo-experiment of seed {truth['seed']} at mu {truth['mu']:g} in {path}",
            got=f"that of seed {record['seed']} at mu {record['mu']:g}",
            do="take another folder",
        )
    lower, upper = record["interval"]
    return Experiment(record["mu"], Nuisances(**record["nuisances"]), lower, upper)


def measurement(run: str | Path, method: str = "unbinned") -> Measure:
    """What a finished run answers to pseudo-data.

    Each event is scored by models that have not seen its hard event, and all rows of a hard event by the same ones.

    Args:
        run: Folder of a finished cross-section of these processes.
        method: "unbinned", "unbinned-uncalibrated", "counting" or "binned-N".

    Returns:
        Quantiles of mu from data, nan where a fit fails.

    Raises:
        InputError: It is no such run, a file that it was made of has changed, or the method is unknown.
    """
    settings = stored_settings(run)
    inputs, model, _, methods = restored(run, (method,))
    own, folds = methods[method], settings.posterior.folds
    scoring = getattr(own, "model", model)

    def measure(data: PseudoData) -> tuple[float, float]:
        columns, rows = inputs.analysis.recipe.selected(data.columns)
        observed = Observed(
            columns,
            inputs.analysis.recipe.x(columns, whose="the pseudo-data"),
            None,
            fold_of(data.event[rows], seed=settings.seed, folds=folds),
            folds,
            len(data.event),
        )
        scored, _ = scoring.observed(observed)
        try:
            return Profiler(own.likelihood(scored), settings.pois[0], quick=True).interval(ONE_SIGMA)
        except FitError:
            return np.nan, np.nan

    return measure


def main(arguments: Sequence[str] | None = None) -> None:
    """Make pseudo-experiments of a run and print their score."""
    parser = argparse.ArgumentParser(
        prog="python -m analyses.crosssection.pseudo_experiments", description=main.__doc__
    )
    parser.add_argument("folder", metavar="RUNFOLDER", help="a finished cross-section")
    parser.add_argument(
        "--data", metavar="FOLDER", help="of the four files; by default that of the run's first process"
    )
    parser.add_argument("--method", default="unbinned", metavar="NAME", help="of the run (default unbinned)")
    parser.add_argument("--strengths", type=float, nargs="+", default=STRENGTHS, metavar="MU", help="true values of mu")
    parser.add_argument("--sets", type=int, default=SETS, metavar="N", help=f"sets at each of them (default {SETS})")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of everything (default 1)")
    parser.add_argument("--out", metavar="FOLDER", help="keeps the intervals, so that an interrupted study goes on")
    given = parser.parse_args(arguments)
    try:
        first = next(iter(stored_settings(given.folder).processes.values())).files[0]
        samples = read_samples(Path(given.data or Path(first).parent))
        measure = measurement(given.folder, given.method)
        out = None if given.out is None else Path(given.out)
        experiments = []
        for one in pseudo_experiments(
            samples, measure, strengths=given.strengths, sets=given.sets, seed=given.seed, out=out
        ):
            experiments.append(one)
            print(f"mu {one.mu:.3f}: {one.lower:.3f} to {one.upper:.3f}", flush=True)
        fitted = [one for one in experiments if np.isfinite([one.lower, one.upper]).all()]
        if len(fitted) < len(experiments):
            print(f"{len(experiments) - len(fitted)} of {len(experiments)} could not be fitted and are left out")
        print(score(fitted))
    except InputError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
