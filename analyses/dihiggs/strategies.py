"""Compare HI-SIGMA with what else could be done, on the same data sets (arXiv:2506.06438, section 4.5 and figure 7).

python analyses/dihiggs/five_datasets.py --out runs/five
python analyses/dihiggs/strategies.py --runs runs/five
python analyses/dihiggs/strategies.py --runs runs/five --parts 1 10

The first command trains HI-SIGMA for each of the five disjoint data sets; the second adds the other strategies and
writes ``strategies.json`` and tables into the same folder.  With ``--parts 1 10`` every data set is cut into ten as
well: fifty disjoint ones of 4,000 + 20 events show the spread; models and classifiers are those of the whole.

All simulated events outside of a data set train its classifiers and, by cross-fitting, give shapes, cuts and
templates.  The errors that are expected for true densities come from the background of the data set and a fifth of the
simulated signal, the injected events among it, that no classifier and no density has seen; they do not move with the
fitted yield.  The smallest is the practical optimum: the likelihood ratio of a classifier that knows the simulation.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import zfit
from samples import COLUMNS, FEATURES, MASS, N_BACKGROUND, N_DATASETS, N_SIGNAL, RANGE, SAMPLES, SIGNAL_REGION

import hisigma_zfit as hz
from hisigma_zfit.baselines import strategies as baselines
from hisigma_zfit.baselines.classifiers import cross_fit, train_classifier, train_ratio, with_folds
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.expected import Truth, expect_model
from hisigma_zfit.measurement import load_model
from hisigma_zfit.report.tables import expectations as expectation_table
from hisigma_zfit.report.tables import strategies as strategy_table
from hisigma_zfit.results.strategies import Expectation, PairedSummary, StrategyResult, StrategySummary

if TYPE_CHECKING:
    from hisigma_zfit.model.compose import SignalPlusBackground

SPACE = zfit.Space(MASS, *RANGE)
REGION = hz.SignalRegion(*SIGNAL_REGION)
FEW = 20  # bins of the score, to see what their number does
PUBLISHED = {"cut and fit": "1.4", "binned score": "1.1", "HI-SIGMA": "1"}  # by HI-SIGMA's error; figure 7


def split(events: hz.Dataset, mask: np.ndarray) -> tuple[hz.Dataset, hz.Dataset]:
    """Events in and outside of a mask."""
    return events.select(mask), events.select(~mask)


def prepare(
    signal: hz.Dataset, background: hz.Dataset, *, kind: str, folds: int, seed: int
) -> tuple[list[baselines.Strategy], baselines.Strategy]:
    """Prepare all strategies, and the ratio of all classifiers together, of which the expected error is wanted.

    Every simulated event gives shapes, cuts and templates with the score of a classifier that has not seen it.
    """
    signal, background = (with_folds(events, folds) for events in (signal, background))
    of_features = cross_fit(
        signal, background, folds, lambda s, b, k: train_classifier(s, b, FEATURES, kind=kind, seed=seed + k)
    )
    of_all = cross_fit(
        signal, background, folds, lambda s, b, k: train_ratio(s, b, FEATURES, mass=SPACE, seeds=[seed + k])
    )
    # signal by background event in the signal region, as injected
    shares = [float(np.mean(REGION.contains(events[MASS]))) for events in (signal, background)]
    expected = N_SIGNAL * shares[0] / (N_BACKGROUND * shares[1])
    fitted = [
        baselines.mass_only(signal, mass=SPACE),
        baselines.cut_and_fit(signal, background, of_features, mass=SPACE, region=REGION),
        baselines.cut_and_fit(signal, background, of_features, mass=SPACE, region=REGION, expected=expected),
        baselines.categories(signal, background, of_features, mass=SPACE, region=REGION, expected=expected),
        baselines.score_templates(signal, background, of_all, mass=SPACE),
        replace(
            baselines.score_templates(signal, background, of_all, mass=SPACE, bins=FEW), name=f"the same, {FEW} bins"
        ),
        baselines.score_ratio(signal, background, of_all, mass=SPACE),
    ]
    return fitted, baselines.ScoreFit("optimum", SPACE, of_all.mean(), None, np.ones(1))


def hisigma(model: SignalPlusBackground, data: hz.Dataset, dataset: int) -> StrategyResult:
    """HI-SIGMA with the trained model of a run, without the envelope: statistical errors, as in figure 7."""
    profiler = Profiler(hz.ExtendedNLL(model, data.select(inside(model, data), reason="outside the domain")), "n_sig")
    z = hz.discovery(profiler, "n_sig").z
    return StrategyResult("HI-SIGMA", dataset, profiler.best, profiler.error, z, len(data))


def inside(model: SignalPlusBackground, data: hz.Dataset) -> np.ndarray:
    """Which events lie in the domain of the background."""
    background = next(c.pdf.flow for c in model.components if not c.is_signal)
    return background.inside(data.array(FEATURES))


def expect_hisigma(model: SignalPlusBackground, signal: hz.Dataset, truth: Truth, dataset: int) -> Expectation:
    """The same for true densities; the signal is learned again without the held-out events.

    The background has seen sidebands only, where the mass alone counts.
    """
    flow = hz.train_flow(signal, hz.feature_space(*FEATURES), given=SPACE, members=2, seed=2, name="signal")
    model = model.with_flows({"signal": flow})
    return expect_model("HI-SIGMA", model, truth, masks=[inside(model, truth.events)], dataset=dataset)


def report(runs: Path, results: list[StrategyResult], expected: list[Expectation], parts: int) -> None:
    """Summarise, print and keep."""
    truth = N_SIGNAL / parts
    names = list(dict.fromkeys(result.strategy for result in results))
    summaries = [StrategySummary.of([r for r in results if r.strategy == name], truth) for name in names]
    paired = [PairedSummary.of(results, name, "HI-SIGMA") for name in names]
    text = {
        key: [json.loads(each.to_json()) for each in what]
        for key, what in {"summaries": summaries, "paired": paired, "results": results, "expected": expected}.items()
    }
    table = strategy_table(summaries, paired=paired, published=PUBLISHED)
    if expected:
        table += "\n\n" + expectation_table(expected, truth=truth, references=("HI-SIGMA", "optimum"))
    stem = runs / ("strategies" if parts == 1 else f"strategies_parts{parts}")
    stem.with_suffix(".json").write_text(json.dumps(text, indent=1) + "\n")
    stem.with_suffix(".txt").write_text(table + "\n")
    print(table + "\n", flush=True)


def main() -> None:
    """Measure every data set with every strategy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/five"), help="folder that five_datasets.py wrote")
    parser.add_argument("--datasets", type=int, choices=range(2, N_DATASETS + 1), default=N_DATASETS, help="how many")
    parser.add_argument("--parts", type=int, nargs="+", default=[1], help="cut every data set into so many (default 1)")
    parser.add_argument(
        "--classifier", choices=("trees", "net"), default="trees", help="kind of classifier for cuts and categories"
    )
    parser.add_argument("--folds", type=int, default=3, help="parts of the simulation for cross-fitting (default 3)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the classifiers (default 1)")
    options = parser.parse_args()
    background, signal = (hz.read(SAMPLES / f"{name}.root", columns=COLUMNS) for name in ("background", "signal"))
    block_b, block_s = np.arange(len(background)) // N_BACKGROUND, np.arange(len(signal)) // N_SIGNAL
    results: dict[int, list[StrategyResult]] = {parts: [] for parts in options.parts}
    expected: list[Expectation] = []
    for k in range(options.datasets):
        model = load_model(options.runs / f"measurement{k}")  # before the training: a missing run is said at once
        in_data, rest = split(background, block_b == k)
        held_out, training = split(signal, block_s % N_DATASETS == k)
        prepared, optimum = prepare(training, rest, kind=options.classifier, folds=options.folds, seed=options.seed)
        injected = signal.select(block_s == k)
        whole = with_folds(in_data.concatenate(injected), options.folds)
        for name, strategy in {"mass": prepared[0], "cut": prepared[2], "score": prepared[4]}.items():
            if k == 0:
                drawn = strategy.projections(whole)[-1].to_json()
                (options.runs / f"figure4_{name}.json").write_text(drawn + "\n")
        number_of_bins = prepared[4].ratio.size
        for parts, found in results.items():
            # signal comes after background: both are cut evenly
            position = np.concatenate([np.arange(len(events)) for events in (in_data, injected)])
            for part in range(parts):
                data = whole.select(position % parts == part)
                found += [strategy.fit(data, dataset=k * parts + part) for strategy in prepared]
                found.append(hisigma(model, data, k * parts + part))
        truth = Truth.of(
            *(with_folds(events, options.folds) for events in (held_out, in_data)),
            n_signal=N_SIGNAL,
            n_background=N_BACKGROUND,
        )
        expected += [strategy.expect(truth, dataset=k) for strategy in (*prepared, optimum)]
        expected.append(expect_hisigma(model, training, truth, k))
        print(f"data set {k + 1} of {options.datasets} done; {number_of_bins} bins of the score", flush=True)
        if k > 0:  # after every data set: an interrupted run has the results of those that are done
            for parts, found in results.items():
                report(options.runs, found, expected if parts == 1 else [], parts)


if __name__ == "__main__":
    main()
