"""Measure the trilinear coupling kappa_lambda with densities of HH learned at three couplings.

    python analyses/dihiggs/coupling.py --run runs/five/measurement0 --dataset 0 --out runs/coupling

Yield and shape of HH follow from box and triangle diagrams, n(kappa) p(x|kappa) = A kappa^2 + B kappa + C, which
densities at three couplings span: of the events at kappa = 1 weighted by their matrix elements to 0 and 3, or with
``--direct`` of samples made at 0, 1 and 5.  Weights of the same events are better: the noise of the trainings cancels
in the differences, which else pulls kappa by 1.5 of its errors.  The yields are scaled so that kappa = 1 gives the 200
injected events.  Drawn are the likelihood of all features and that of the mass alone, in which only the number of
events depends on kappa.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import zfit
from quick_fit import REGION, SPACE, pseudo_data
from samples import COLUMNS, FEATURES, N_DATASETS, N_SIGNAL, SAMPLES

import hisigma_zfit as hz
from hisigma_zfit.inference.fitting import Profiler
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


def main() -> None:
    """Train, fit and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/five/measurement0"), help="run folder with the model")
    parser.add_argument("--dataset", type=int, default=0, help="the data set of that run (default 0)")
    parser.add_argument("--members", type=int, default=2, help="seeds of each density (default 2)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the training (default 1)")
    parser.add_argument("--direct", action="store_true", help="use samples made at each coupling, not weights")
    parser.add_argument("--out", type=Path, default=Path("runs/coupling"), help="folder of result and figure")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    background, signal = (hz.read(SAMPLES / f"{name}.root", columns=COLUMNS) for name in ("background", "signal"))
    data = pseudo_data(background, signal, options.dataset)
    samples = simulated(options.direct)

    model = load_model(options.run)
    standard, continuum = (next(c.pdf for c in model.components if c.is_signal is kind) for kind in (True, False))
    data = data.select(continuum.flow.inside(data.array(FEATURES)), reason="outside the domain of the background")
    densities = []
    for number, (events, _) in samples.items():
        name = f"hh_{number:g}"
        # one seed for all: noise of the training that they share cancels in the differences
        flow = hz.train_flow(
            events, hz.feature_space(*FEATURES), given=SPACE, members=options.members, seed=options.seed, name=name
        )
        densities.append(hz.FlowProductPDF(standard.mass, flow, name=name))
    kappa = zfit.Parameter("kappa", 1.0, -15.0, 20.0, stepsize=0.5)
    signals = polynomial_signal(
        densities,
        parameter=kappa,
        points=list(samples),
        yields=[N_SIGNAL * section / samples[1.0][1] for _, section in samples.values()],
    )
    n_bkg = zfit.Parameter("n_bkg", float(len(data)), 0.0, stepsize=10.0)
    background = hz.FlowProductPDF(continuum.mass, continuum.flow, extended=n_bkg, name="continuum")
    joint = compose(list(signals), [background], poi=kappa, region=REGION)
    grid = np.linspace(-1.0, 6.0, 141)
    scans = {}
    for name, pdf in (("HI-SIGMA", joint), ("Mass only", joint.mass_only())):
        profiler = Profiler(hz.ExtendedNLL(pdf, data), "kappa")
        t = np.array([profiler.t(value) for value in grid])
        scans[name] = LikelihoodScan(poi="kappa", values=grid, combined=t, members=np.empty((0, grid.size)))
        # around the minimum near the standard coupling; another coupling of the same yield may be allowed as well
        lower, upper = profiler.interval(1.0)
        print(f"{name}: kappa_lambda = {profiler.best:.2f}, 68 % interval [{lower:.2f}, {upper:.2f}]")
    text = {name: json.loads(scan.to_json()) for name, scan in scans.items()}
    (options.out / "scans.json").write_text(json.dumps(text) + "\n")
    figure = study_figures.scans(scans, xlabel=r"$\kappa_\lambda$", truth=1.0)
    plotting.save(figure, options.out / "coupling")


if __name__ == "__main__":
    main()
