"""What the paper left for later: smearing, more or fewer features, another angle; see also preselection.py.

    python analyses/dihiggs/variants.py smearing --out runs/smearing
    python analyses/dihiggs/variants.py features --out runs/features
    python analyses/dihiggs/variants.py features --full FOLDER --out runs/features

- smearing: features as they are, against 0.2 standard deviations of Gaussian noise (arXiv:2506.06438, section 4.1), and
  against dR_gg measured from its kinematic edge 2 arctan(m / pT), which moves with the momentum.
- features: one after the other, up to the four of the paper, or up to eleven with a folder of the full samples.

Every variant is trained and fitted on the same data sets; the table compares mean errors with those of the first one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from quick_fit import pseudo_data, quick_fit
from samples import COLUMNS, FEATURES, N_BACKGROUND, N_DATASETS, N_SIGNAL, SAMPLES, WORDS

import hisigma_zfit as hz
from hisigma_zfit.report import plotting, study_figures
from hisigma_zfit.results.strategies import PairedSummary, StrategyResult, StrategySummary

SMEARING = 0.2
EDGE = {"opening_gg": "dR_gg - 2 * arctan2(Hgg_mass, Hgg_pt)"}
# Features from branches of the full samples, in the order in which they are added.  Four momenta without a common
# rotation and boost have ten invariants, the mass among them: only the boost and jet masses make room for more than
# nine features.  At small angles a pair's mass, momentum and distance give both momenta, so that a further momentum or
# the distances of all pairs would nearly be functions of the rest; the tilt of a pair, from polar to azimuthal, is not.
MORE = {
    "m_bb": "Hbb_mass",
    "deta_hh": "abs(arcsinh((b1_pt * sinh(b1_eta) + b2_pt * sinh(b2_eta)) / Hbb_pt)"
    " - arcsinh((g1_pt * sinh(g1_eta) + g2_pt * sinh(g2_eta)) / Hgg_pt))",
    "pt_hh": "sqrt((b1_pt * cos(b1_phi) + b2_pt * cos(b2_phi) + g1_pt * cos(g1_phi) + g2_pt * cos(g2_phi)) ** 2"
    " + (b1_pt * sin(b1_phi) + b2_pt * sin(b2_phi) + g1_pt * sin(g1_phi) + g2_pt * sin(g2_phi)) ** 2)",
    "tilt_gg": "arctan2(sqrt(abs(dR_gg ** 2 - (g1_eta - g2_eta) ** 2)), abs(g1_eta - g2_eta))",
    "tilt_bb": "arctan2(sqrt(abs(dR_bb ** 2 - (b1_eta - b2_eta) ** 2)), abs(b1_eta - b2_eta))",
    "eta_mean": "(b1_eta + b2_eta + g1_eta + g2_eta) / 4",
    "m_b1_over_pt": "b1_mass / b1_pt",
}
STEPS = (1, 2, 3, 4, 5, 7, 9, 11)

Events = dict[str, hz.Dataset]


def smeared(events: Events, seed: int) -> Events:
    """Features with noise in units of the background's standard deviation, the same for all samples."""
    rng = np.random.default_rng(seed)
    widths = {name: SMEARING * events["background"][name].std() for name in FEATURES}
    return {
        kind: sample.with_columns(
            **{name: sample[name] + w * rng.normal(size=len(sample)) for name, w in widths.items()}
        )
        for kind, sample in events.items()
    }


def variants(options: argparse.Namespace) -> dict[str, tuple[Events, tuple[str, ...]]]:
    """Events and features of every variant, by name."""
    folder = options.full or SAMPLES
    names = {"background": "bbgg_background", "signal": "hh_signal"} if options.full else {}
    columns = COLUMNS | EDGE | (MORE if options.full else {})
    events = {
        kind: hz.read(folder / f"{names.get(kind, kind)}.root", columns=columns) for kind in ("background", "signal")
    }
    if options.study == "smearing":
        other = (*FEATURES[:-1], "opening_gg")
        return {
            "no smearing": (events, FEATURES),
            "smeared by 0.2": (smeared(events, options.seed), FEATURES),
            "distance from edge": (events, other),
        }
    every = (*FEATURES, *(MORE if options.full else {}))
    return {f"{n} feature{'s' if n > 1 else ''}": (events, every[:n]) for n in STEPS if n <= len(every)}


def measure(
    name: str, events: Events, features: tuple[str, ...], dataset: int, options: argparse.Namespace
) -> StrategyResult:
    """Fit one data set."""
    background, signal = events["background"], events["signal"]
    in_data = np.arange(len(background)) // N_BACKGROUND == dataset
    parts = [
        pseudo_data(background, signal, dataset),
        signal.select(np.arange(len(signal)) >= N_SIGNAL * N_DATASETS),
        background.select(~in_data),
    ]
    return quick_fit(name, *parts, features, dataset=dataset, members=options.members, preset=options.preset)


@hz.plotting.presented(**WORDS)
def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=("smearing", "features"), help="what to vary")
    parser.add_argument("--full", type=Path, help="folder of the full samples, made by simulation/generate.py")
    parser.add_argument(
        "--datasets", type=int, choices=range(2, N_DATASETS + 1), default=2, help="data sets to fit (default 2)"
    )
    parser.add_argument("--members", type=int, default=2, help="seeds of each density (default 2)")
    parser.add_argument("--preset", default="standard", help="training: quick, standard or paper")
    parser.add_argument("--seed", type=int, default=1, help="seed of the smearing (default 1)")
    parser.add_argument("--out", type=Path, default=Path("runs/variants"), help="folder of results and figure")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found: list[StrategyResult] = []
    summaries: list[StrategySummary] = []
    for name, (events, features) in variants(options).items():
        results = [measure(name, events, features, k, options) for k in range(options.datasets)]
        found += results
        summaries.append(StrategySummary.of(results, N_SIGNAL))
        print(f"{name}: {', '.join(f'{r.value:.1f} +- {r.error:.1f}' for r in results)}", flush=True)
    first = summaries[0].strategy
    paired = [PairedSummary.of(found, summary.strategy, first) for summary in summaries]
    text = {
        key: [json.loads(each.to_json()) for each in what]
        for key, what in {"summaries": summaries, "paired": paired, "results": found}.items()
    }
    (options.out / f"{options.study}.json").write_text(json.dumps(text, indent=1) + "\n")
    table = hz.tables.strategies(summaries, reference=first, paired=paired)
    (options.out / f"{options.study}.txt").write_text(table + "\n")
    print(table)
    plotting.save(study_figures.strategies(summaries), options.out / options.study)


if __name__ == "__main__":
    main()
