"""Add the resonant VH background as a third component and find (n_HH, n_VH) together.

    python analyses/dihiggs/resonant.py --runs runs/five --out runs/resonant

ZH, Z -> bb, H -> gamma gamma has the same peak as the signal and cannot be learned from the sidebands; its density
comes from simulation like the signal's (arXiv:2506.06438, section 4, leaves it out).  It is added to the data in its
standard ratio to HH, 1.9 to one.  Densities of HH and the continuum are those of the runs.  The mass alone could not
tell the two apart.  For comparison the same yields are fitted to a histogram of the score of HH against the continuum,
and to one of that score and of VH against HH, both with exact templates.
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
from hisigma_zfit.inference.contours import contour
from hisigma_zfit.measurement import load_model
from hisigma_zfit.model.compose import compose
from hisigma_zfit.report import plotting, study_figures

LEVELS = (0.6827, 0.9545)


def component(pdf: hz.FlowProductPDF, extended: zfit.Parameter, name: str) -> hz.FlowProductPDF:
    """The same density with a yield and a name of its own."""
    return hz.FlowProductPDF(pdf.mass, pdf.flow, extended=extended, name=name)


@hz.plotting.presented(**WORDS)
def main() -> None:
    """Train VH, fit every data set in every way, and draw the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/five"), help="folder that five_datasets.py wrote")
    parser.add_argument("--datasets", type=int, choices=range(2, N_DATASETS + 1), default=N_DATASETS, help="how many")
    parser.add_argument("--members", type=int, default=2, help="seeds of the VH density (default 2)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the training (default 1)")
    parser.add_argument("--out", type=Path, default=Path("runs/resonant"), help="folder of results and figure")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    background, signal, vh = (
        hz.read(SAMPLES / f"{name}.root", columns=COLUMNS) for name in ("background", "signal", "vh")
    )
    table = json.loads((SAMPLES / "sample.json").read_text())
    n_vh = round(N_SIGNAL * table["vh"]["cross_section_fb"] / table["signal"]["cross_section_fb"])
    truth = {"n_HH": N_SIGNAL, "n_VH": n_vh}
    block_vh = np.arange(len(vh)) // n_vh
    training_vh = vh.select(block_vh >= N_DATASETS)
    training_hh = signal.select(np.arange(len(signal)) >= N_SIGNAL * N_DATASETS)
    flow = hz.train_flow(
        training_vh, hz.feature_space(*FEATURES), given=SPACE, members=options.members, seed=options.seed, name="vh"
    )
    peak = hz.fit_shape(zfit.pdf.DoubleCB, training_vh, SPACE, prefix="vh_")
    second = train_scores(training_vh, training_hh, FEATURES, seed=options.seed)
    found: dict[str, list[dict]] = {}
    for k in range(options.datasets):
        model = load_model(options.runs / f"measurement{k}")
        hh, continuum = (next(c.pdf for c in model.components if c.is_signal is kind) for kind in (True, False))
        data = pseudo_data(background, signal, k).concatenate(vh.select(block_vh == k))
        rest = background.select(np.arange(len(background)) // N_BACKGROUND != k)
        yields = {name: zfit.Parameter(name, 100.0, stepsize=10.0) for name in truth}
        n_bkg = zfit.Parameter("n_bkg", float(len(data)), 0.0, stepsize=10.0)
        joint = compose(
            [component(hh, yields["n_HH"], "HH")],
            [
                component(continuum, n_bkg, "continuum"),
                hz.FlowProductPDF(peak, flow, extended=yields["n_VH"], name="VH"),
            ],
            poi=yields["n_HH"],
            region=REGION,
        )
        inside = data.select(continuum.flow.inside(data.array(FEATURES)), reason="outside the domain of the background")
        components = [(yields["n_HH"], training_hh), (yields["n_VH"], training_vh), (n_bkg, rest)]
        first = train_scores(training_hh, rest, ALL, seed=options.seed)
        losses = {"HI-SIGMA": hz.ExtendedNLL(joint, inside), **likelihoods(first, second, data, components)}
        for name, loss in losses.items():
            profilers = {poi: Profiler(loss, poi) for poi in truth}
            intervals = {poi: each.interval(1.0) for poi, each in profilers.items()}
            found.setdefault(name, []).append(
                {
                    "contours": [contour(loss, *truth, cl=level) for level in LEVELS],
                    "values": {poi: each.best for poi, each in profilers.items()},
                    "errors": {poi: 0.5 * (upper - lower) for poi, (lower, upper) in intervals.items()},
                }
            )
        print(f"data set {k + 1} of {options.datasets} done", flush=True)
    report(found, truth)
    text = {
        name: [fit | {"contours": [json.loads(line.to_json()) for line in fit["contours"]]} for fit in fits]
        for name, fits in found.items()
    }
    (options.out / "contours.json").write_text(json.dumps(text) + "\n")
    figure = study_figures.compared_contours(
        {name: fits[0]["contours"] for name, fits in found.items()},
        labels={"n_HH": "$n_{HH}$", "n_VH": "$n_{VH}$"},
        truth=tuple(truth.values()),
    )
    plotting.save(figure, options.out / "contours")


def report(found: dict[str, list[dict]], truth: dict[str, float]) -> None:
    """Print means over the data sets with their errors, and ratios to HI-SIGMA by data set."""
    for name, fits in found.items():
        areas = np.array([fit["contours"][0].area for fit in fits])
        reference = np.array([fit["contours"][0].area for fit in found["HI-SIGMA"]])
        covered = sum(fit["contours"][0].contains(*truth.values()) for fit in fits)
        print(f"{name}: truth inside 68 % contour in {covered} of {len(fits)}")
        print(f"  area {mean_with_error(areas)}, by that of HI-SIGMA {mean_with_error(areas / reference, 3)}")
        for poi, true in truth.items():
            errors, values = (np.array([fit[key][poi] for fit in fits]) for key in ("errors", "values"))
            unit = np.array([fit["errors"][poi] for fit in found["HI-SIGMA"]])
            print(
                f"  {poi}: error {mean_with_error(errors)}, by that of HI-SIGMA {mean_with_error(errors / unit, 3)}, "
                f"bias {mean_with_error(values - true)} (injected {true})"
            )


if __name__ == "__main__":
    main()
