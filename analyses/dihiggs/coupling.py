"""Measure the trilinear coupling kappa_lambda with densities of HH learned at three couplings.

    python analyses/dihiggs/coupling.py --runs runs/five --out runs/coupling

Yield and shape of HH follow from box and triangle diagrams, n(kappa) p(x|kappa) = A kappa^2 + B kappa + C, which
densities at three couplings span: of the events at kappa = 1 weighted by their matrix elements to 0 and 3, or with
``--direct`` of samples made at 0, 1 and 5.  Weights of the same events are better: the noise of the trainings cancels
in the differences, which else pulls kappa by 1.5 of its errors.  The yields are scaled so that kappa = 1 gives the 200
injected events.  Compared are the likelihood of all features, that of the mass alone, in which only the number of
events depends on kappa, and histograms of classifier scores whose exact templates depend on kappa in the same way: of
the score of HH against the continuum, and of that and of the score of kappa = 3 against 0.

The runs must have been trained with the same kind of density as is used here, because what both get wrong cancels:
densities of HH by another recipe than that of the background shifted kappa by 0.4, more than two of its errors.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import zfit
from quick_fit import REGION, SPACE, mean_with_error, pseudo_data
from samples import COLUMNS, FEATURES, N_BACKGROUND, N_DATASETS, N_SIGNAL, SAMPLES, WORDS
from scores import ALL, likelihoods, train_scores

import hisigma_zfit as hz
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.measurement import load_model
from hisigma_zfit.model.compose import compose
from hisigma_zfit.model.kappa import polynomial_signal
from hisigma_zfit.report import plotting, study_figures
from hisigma_zfit.results import LikelihoodScan

DIRECT = {"hh_kl0": 0.0, "signal": 1.0, "hh_kl5": 5.0}
REWEIGHTED = (0.0, 1.0, 3.0)


def simulated(direct: bool) -> dict[float, tuple[hz.Dataset, float]]:
    """Events for the training at each coupling, without those that are injected, and the cross-section in fb."""
    table = json.loads((SAMPLES / "sample.json").read_text())
    if direct:
        samples = {
            kappa: (hz.read(SAMPLES / f"{name}.root", columns=COLUMNS), table[name]["cross_section_fb"])
            for name, kappa in DIRECT.items()
        }
        events, section = samples[1.0]
        return samples | {1.0: (events.select(np.arange(len(events)) >= N_SIGNAL * N_DATASETS), section)}
    samples = {}
    for kappa in REWEIGHTED:
        weight = f"{kappa**2} * w_A + {kappa} * w_B + w_C"
        events = hz.read(SAMPLES / "signal.root", columns=COLUMNS, weight=weight)
        section = table["signal"]["cross_section_fb"] * float(np.mean(events.weights))
        samples[kappa] = (events.select(np.arange(len(events)) >= N_SIGNAL * N_DATASETS), section)
    return samples


@hz.plotting.presented(**WORDS)
def main() -> None:
    """Train, fit every data set in every way, and draw the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/five"), help="folder that five_datasets.py wrote")
    parser.add_argument("--datasets", type=int, choices=range(2, N_DATASETS + 1), default=N_DATASETS, help="how many")
    parser.add_argument("--members", type=int, default=2, help="seeds of each density (default 2)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the training (default 1)")
    parser.add_argument("--direct", action="store_true", help="use samples made at each coupling, not weights")
    parser.add_argument("--out", type=Path, default=Path("runs/coupling"), help="folder of result and figure")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    background, signal = (hz.read(SAMPLES / f"{name}.root", columns=COLUMNS) for name in ("background", "signal"))
    samples = simulated(options.direct)
    flows = {}
    for number, (events, _) in samples.items():
        # one seed for all: noise of the training that they share cancels in the differences
        flows[f"hh_{number:g}"] = hz.train_flow(
            events,
            hz.feature_space(*FEATURES),
            given=SPACE,
            members=options.members,
            seed=options.seed,
            name=f"hh_{number:g}",
        )
    low, *_, high = (events for events, _ in samples.values())
    second = train_scores(high, low, FEATURES, seed=options.seed)
    grid = np.linspace(-1.0, 6.0, 141)
    scans: dict[str, LikelihoodScan] = {}
    found: dict[str, list[tuple[float, float, float]]] = {}
    for k in range(options.datasets):
        model = load_model(options.runs / f"measurement{k}")
        standard, continuum = (next(c.pdf for c in model.components if c.is_signal is kind) for kind in (True, False))
        data = pseudo_data(background, signal, k)
        rest = background.select(np.arange(len(background)) // N_BACKGROUND != k)
        kappa = zfit.Parameter("kappa", 1.0, -15.0, 20.0, stepsize=0.5)
        signals = polynomial_signal(
            [hz.FlowProductPDF(standard.mass, flow, name=name) for name, flow in flows.items()],
            parameter=kappa,
            points=list(samples),
            yields=[N_SIGNAL * section / samples[1.0][1] for _, section in samples.values()],
        )
        n_bkg = zfit.Parameter("n_bkg", float(len(data)), 0.0, stepsize=10.0)
        falling = hz.FlowProductPDF(continuum.mass, continuum.flow, extended=n_bkg, name="continuum")
        joint = compose(list(signals), [falling], poi=kappa, region=REGION)
        inside = data.select(continuum.flow.inside(data.array(FEATURES)), reason="outside the domain of the background")
        components = [*zip((pdf.get_yield() for pdf in signals), (e for e, _ in samples.values()), strict=True)]
        first = train_scores(samples[1.0][0], rest, ALL, seed=options.seed)
        losses = {
            "HI-SIGMA": hz.ExtendedNLL(joint, inside),
            "Mass only": hz.ExtendedNLL(joint.mass_only(), inside),
            **likelihoods(first, second, data, [*components, (n_bkg, rest)]),
        }
        for name, loss in losses.items():
            profiler = Profiler(loss, "kappa")
            # around the minimum near the standard coupling; another coupling of the same yield may be allowed as well
            found.setdefault(name, []).append((profiler.best, *profiler.interval(1.0)))
            if k == 0:
                t = np.array([profiler.t(value) for value in grid])
                scans[name] = LikelihoodScan(poi="kappa", values=grid, combined=t, members=np.empty((0, grid.size)))
        print(f"data set {k + 1} of {options.datasets} done", flush=True)
    report(found)
    text = {
        "scans": {name: json.loads(scan.to_json()) for name, scan in scans.items()},
        "intervals": {
            name: [dict(zip(("value", "lower", "upper"), fit, strict=True)) for fit in fits]
            for name, fits in found.items()
        },
    }
    (options.out / "scans.json").write_text(json.dumps(text) + "\n")
    figure = study_figures.scans(scans, xlabel=r"$\kappa_\lambda$", truth=1.0)
    plotting.save(figure, options.out / "coupling")


def report(found: dict[str, list[tuple[float, float, float]]]) -> None:
    """Print intervals, their mean lengths, and the ratios of lengths to HI-SIGMA by data set."""
    lengths = {name: np.array([upper - lower for _, lower, upper in fits]) for name, fits in found.items()}
    for name, fits in found.items():
        values = np.array([value for value, _, _ in fits])
        covered = sum(lower < 1.0 < upper for _, lower, upper in fits)
        print(
            f"{name}: 68 % interval of length {mean_with_error(lengths[name], 3)}, by that of HI-SIGMA "
            f"{mean_with_error(lengths[name] / lengths['HI-SIGMA'], 3)}, bias {mean_with_error(values - 1.0, 3)}, "
            f"truth inside in {covered} of {len(fits)}"
        )
        print("  " + ", ".join(f"{value:.2f} [{lower:.2f}, {upper:.2f}]" for value, lower, upper in fits))


if __name__ == "__main__":
    main()
