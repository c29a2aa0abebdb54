"""Compare HI-SIGMA with what else could be done, on the same data sets (arXiv:2506.06438, section 4.5 and figure 7).

python analyses/dihiggs/five_datasets.py --out runs/five
python analyses/dihiggs/strategies.py --runs runs/five
python analyses/dihiggs/strategies.py --runs runs/five --parts 10

The first command trains HI-SIGMA for each of the five disjoint data sets; the second adds the other strategies and
writes ``strategies.json`` and a table into the same folder.  With ``--parts 10`` every data set is cut into ten:
fifty disjoint ones of 4,000 + 20 events show the spread; models and classifiers are those of the whole.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import zfit
from samples import COLUMNS, FEATURES, MASS, N_BACKGROUND, N_DATASETS, N_SIGNAL, RANGE, SAMPLES, SIGNAL_REGION

import hisigma_zfit as hz
from hisigma_zfit.inference import baselines
from hisigma_zfit.inference.classifiers import train_classifier
from hisigma_zfit.inference.fitting import Profiler
from hisigma_zfit.measurement import load_model
from hisigma_zfit.report.tables import strategies as strategy_table
from hisigma_zfit.results_strategies import StrategyResult, StrategySummary

SPACE = zfit.Space(MASS, *RANGE)
REGION = hz.SignalRegion(*SIGNAL_REGION)


def split(events: hz.Dataset, mask: np.ndarray) -> tuple[hz.Dataset, hz.Dataset]:
    """Events in and outside of a mask."""
    return events.select(mask), events.select(~mask)


def prepare(signal: hz.Dataset, background: hz.Dataset, *, kind: str, seed: int) -> list[baselines.Strategy]:
    """Prepare all strategies: three simulated events in four train the classifiers, the others give shapes and cuts."""
    (train_s, test_s), (train_b, test_b) = (
        split(events, np.arange(len(events)) % 4 > 0) for events in (signal, background)
    )
    of_features = train_classifier(train_s, train_b, FEATURES, kind=kind, seed=seed)
    of_all = train_classifier(train_s, train_b, (MASS, *FEATURES), kind=kind, seed=seed + 1)
    # signal by background event in the signal region, as injected
    shares = [float(np.mean(REGION.contains(events[MASS]))) for events in (test_s, test_b)]
    expected = N_SIGNAL * shares[0] / (N_BACKGROUND * shares[1])
    return [
        baselines.mass_only(test_s, mass=SPACE),
        baselines.cut_and_fit(test_s, test_b, of_features, mass=SPACE, region=REGION),
        baselines.cut_and_fit(test_s, test_b, of_features, mass=SPACE, region=REGION, expected=expected),
        baselines.categories(test_s, test_b, of_features, mass=SPACE, region=REGION, expected=expected),
        baselines.score_templates(test_s, test_b, of_all, mass=SPACE),
        baselines.score_ratio(test_s, test_b, of_all, mass=SPACE),
    ]


def hisigma(model: zfit.pdf.SumPDF, data: hz.Dataset, dataset: int) -> StrategyResult:
    """HI-SIGMA with the trained model of a run, without the envelope: statistical errors, as in figure 7."""
    background = next(c.pdf.flow for c in model.components if not c.is_signal)
    inside = data.select(background.inside(data.array(FEATURES)), reason="outside the domain of the background")
    profiler = Profiler(hz.ExtendedNLL(model, inside), "n_sig")
    z = hz.discovery(profiler, "n_sig").z
    return StrategyResult("HI-SIGMA", dataset, profiler.best, profiler.error, z, len(inside))


def main() -> None:
    """Measure, summarise, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/five"), help="folder that five_datasets.py wrote")
    parser.add_argument("--parts", type=int, default=1, help="cut every data set into so many (default 1)")
    parser.add_argument("--classifier", choices=("trees", "net"), default="trees", help="kind of classifier")
    parser.add_argument("--seed", type=int, default=1, help="seed of the classifiers (default 1)")
    options = parser.parse_args()
    background, signal = (hz.read(SAMPLES / f"{name}.root", columns=COLUMNS) for name in ("background", "signal"))
    fold_b, fold_s = np.arange(len(background)) // N_BACKGROUND, np.arange(len(signal)) // N_SIGNAL
    training_signal = signal.select(fold_s >= N_DATASETS)
    results: list[StrategyResult] = []
    for k in range(N_DATASETS):
        model = load_model(options.runs / f"measurement{k}")  # before the training: a missing run is said at once
        in_data, rest = split(background, fold_b == k)
        injected = signal.select(fold_s == k)
        prepared = prepare(training_signal, rest, kind=options.classifier, seed=options.seed)
        if k == 0 and options.parts == 1:
            whole = in_data.concatenate(injected)
            for name, strategy in {"mass": prepared[0], "cut": prepared[2], "score": prepared[4]}.items():
                drawn = strategy.projections(whole)[-1].to_json()
                (options.runs / f"figure4_{name}.json").write_text(drawn + "\n")
        for part in range(options.parts):
            share = [np.arange(len(events)) % options.parts == part for events in (in_data, injected)]
            data = in_data.select(share[0]).concatenate(injected.select(share[1]))
            number = k * options.parts + part
            results += [strategy.fit(data, dataset=number) for strategy in prepared]
            results.append(hisigma(model, data, number))
        print(f"data set {k + 1} of {N_DATASETS} done", flush=True)
    truth = N_SIGNAL / options.parts
    names = list(dict.fromkeys(result.strategy for result in results))
    summaries = [StrategySummary.of([r for r in results if r.strategy == name], truth) for name in names]
    stem = options.runs / ("strategies" if options.parts == 1 else f"strategies{N_DATASETS * options.parts}")
    text = {
        "summaries": [json.loads(summary.to_json()) for summary in summaries],
        "results": [json.loads(result.to_json()) for result in results],
    }
    stem.with_suffix(".json").write_text(json.dumps(text, indent=1) + "\n")
    table = strategy_table(summaries)
    stem.with_suffix(".txt").write_text(table + "\n")
    print(table)


if __name__ == "__main__":
    main()
