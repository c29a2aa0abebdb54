"""What a preselection buys at smaller S/B (left open in arXiv:2506.06438, sections 4 and 6).

    python analyses/dihiggs/preselection.py --out runs/preselection

The cut keeps most of the signal and a small part of the background.  HI-SIGMA is trained with and without it, and fits
the same data sets: 200 and 40 signal events in 40,000, and 200 in all 200,000.  Yields are those before the cut.
Expected errors are those for true densities, from held-out signal and the background of two data sets.  Every density
is trained once for all data sets, because they share the sidebands of all background; what its training may be off by
is the spread of the yield over bootstraps of the background, in the largest data set.
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import zfit
from quick_fit import REGION, SPACE
from samples import COLUMNS, FEATURES, N_BACKGROUND, N_DATASETS, N_SIGNAL, SAMPLES, WORDS

import hisigma_zfit as hz
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.expected import Truth, expect_model
from hisigma_zfit.model.compose import SignalPlusBackground, signal_plus_background
from hisigma_zfit.report import plotting, study_figures
from hisigma_zfit.report.tables import strategies as strategy_table
from hisigma_zfit.results.strategies import PairedSummary, StrategyResult, StrategySummary

CUTS = {"all events": {}, "preselection": {"pt_bb": 60.0, "pt_gg_over_m": 0.4}}
INJECTED = (200, 40)  # in 40,000


def keep(events: hz.Dataset, cuts: dict[str, float]) -> np.ndarray:
    """Events above all cuts."""
    return np.logical_and.reduce([np.ones(len(events), dtype=bool), *(events[name] > c for name, c in cuts.items())])


def train(signal: hz.Dataset, background: hz.Dataset, options: argparse.Namespace) -> SignalPlusBackground:
    """The model of events that pass the cuts; the yield is that of signal events which pass."""
    space = hz.feature_space(*FEATURES)
    common = {"given": SPACE, "members": options.members}
    p_b = hz.train_flow(
        background.sidebands(SPACE, REGION), space, bootstraps=options.bootstraps, seed=options.seed, name="b", **common
    )
    p_s = hz.train_flow(signal, space, seed=options.seed + 1, name="s", **common)
    peak = hz.fit_shape(zfit.pdf.DoubleCB, signal, SPACE)
    falling = hz.ExpQuadratic(obs=SPACE, p1=zfit.Parameter("p1", 1.0), p2=zfit.Parameter("p2", 0.0))
    return signal_plus_background(
        hz.FlowProductPDF(peak, p_s), hz.FlowProductPDF(falling, p_b), poi="n_sig", region=REGION
    )


def fit(model: SignalPlusBackground, data: hz.Dataset) -> Profiler:
    """Fit the events inside the domain of the background."""
    return Profiler(hz.ExtendedNLL(model, data.select(inside(model, data), reason="outside the domain")), "n_sig")


def inside(model: SignalPlusBackground, data: hz.Dataset) -> np.ndarray:
    """Which events lie in the domain of the background."""
    flow = next(c.pdf.flow for c in model.components if not c.is_signal)
    return flow.inside(data.array(FEATURES))


def result(name: str, model: SignalPlusBackground, data: hz.Dataset, efficiency: float, number: int) -> StrategyResult:
    """The yield before the cut."""
    profiler = fit(model, data)
    z = hz.discovery(profiler, "n_sig").z
    return StrategyResult(name, number, profiler.best / efficiency, profiler.error / efficiency, z, len(data))


@hz.plotting.presented(**WORDS)
def main() -> None:
    """Train, fit, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=2, help="seeds of each density (default 2)")
    parser.add_argument("--bootstraps", type=int, default=4, help="bootstraps of the background (default 4)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the training (default 1)")
    parser.add_argument("--out", type=Path, default=Path("runs/preselection"), help="folder of results and figure")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    background, signal = (hz.read(SAMPLES / f"{name}.root", columns=COLUMNS) for name in ("background", "signal"))
    block_b, block_s = np.arange(len(background)) // N_BACKGROUND, np.arange(len(signal)) // N_SIGNAL
    place = np.arange(len(signal)) % N_SIGNAL
    held_out = signal.select((block_s >= N_DATASETS) & (block_s % N_DATASETS == 0))
    training = signal.select((block_s >= N_DATASETS) & (block_s % N_DATASETS > 0))
    large = background.select(block_b < N_DATASETS).concatenate(signal.select(block_s == 0))
    results: dict[int, list[StrategyResult]] = {n: [] for n in INJECTED}
    lines = []
    for name, cuts in CUTS.items():
        passed_s, passed_b = (keep(events, cuts) for events in (training, background))
        efficiency, left = float(passed_s.mean()), float(passed_b.mean())
        model = train(training.select(passed_s), background.select(passed_b), options)
        for k, n in itertools.product(range(N_DATASETS), INJECTED):
            data = background.select(block_b == k).concatenate(signal.select((block_s == k) & (place < n)))
            results[n].append(result(name, model, data.select(keep(data, cuts)), efficiency, k))
        chosen = large.select(keep(large, cuts))
        found = result(name, model, chosen, efficiency, 0)
        spread = np.std([fit(each, chosen).best / efficiency for each in model.bootstraps()], ddof=1)
        expected = []
        for n, total in (*((n, N_BACKGROUND) for n in INJECTED), (N_SIGNAL, N_DATASETS * N_BACKGROUND)):
            truth = Truth.of(held_out, background.select(block_b < 2), n_signal=n, n_background=total)
            mask = keep(truth.events, cuts) & inside(model, truth.events)
            expected.append(expect_model(name, model, truth, value=n * efficiency, masks=[mask]).error / n)
        of_expected = "{:.4f} for 200 in 40,000, {:.4f} for 40 in 40,000, {:.4f} for 200 in 200,000".format(*expected)
        lines += [
            f"{name}: {efficiency:.3f} of the signal, {left:.4f} of the background",
            f"  expected error / true: {of_expected}",
            f"  200 in 200,000: {found.value:.1f} +- {found.error:.1f}, Z {found.z:.2f}; the yields of "
            f"{options.bootstraps} bootstraps spread by {spread:.1f}",
        ]
    summaries, tables = [], []
    for n, fits in results.items():
        here = [StrategySummary.of([r for r in fits if r.strategy == name], n) for name in CUTS]
        paired = [PairedSummary.of(fits, name, "all events") for name in CUTS]
        tables.append(strategy_table(here, reference="all events", paired=paired))
        summaries += [replace(s, strategy=f"{s.strategy}, 1/{N_BACKGROUND // n}") for s in here]
    text = "\n\n".join([*tables, "\n".join(lines)])
    (options.out / "preselection.txt").write_text(text + "\n")
    plain = [json.loads(r.to_json()) | {"injected": n} for n, fits in results.items() for r in fits]
    (options.out / "preselection.json").write_text(json.dumps({"results": plain}, indent=1) + "\n")
    print(text)
    plotting.save(study_figures.strategies(summaries), options.out / "preselection")


if __name__ == "__main__":
    main()
