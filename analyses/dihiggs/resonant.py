"""Add the resonant VH background as a third component and find (n_HH, n_VH) together.

    python analyses/dihiggs/resonant.py --run runs/five/measurement0 --dataset 0 --out runs/resonant

ZH, Z -> bb, H -> gamma gamma has the same peak as the signal and cannot be learned from the sidebands; its density
comes from simulation like the signal's (arXiv:2506.06438, section 4, leaves it out).  It is added to the data in its
standard ratio to HH, 1.9 to one.  Densities of HH and the continuum are those of the run.  The mass alone could not
tell the two apart.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import zfit
from quick_fit import REGION, SPACE, pseudo_data
from samples import COLUMNS, FEATURES, N_SIGNAL, SAMPLES

import hisigma_zfit as hz
from hisigma_zfit.inference.contours import contour
from hisigma_zfit.measurement import load_model
from hisigma_zfit.model.compose import compose
from hisigma_zfit.report import explanations, plotting


def component(pdf: hz.FlowProductPDF, extended: zfit.Parameter, name: str) -> hz.FlowProductPDF:
    """The same density with a yield and a name of its own."""
    return hz.FlowProductPDF(pdf.mass, pdf.flow, extended=extended, name=name)


def main() -> None:
    """Train VH, fit and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/five/measurement0"), help="run folder with the model")
    parser.add_argument("--dataset", type=int, default=0, help="the data set of that run (default 0)")
    parser.add_argument("--members", type=int, default=2, help="seeds of the VH density (default 2)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the training (default 1)")
    parser.add_argument("--out", type=Path, default=Path("runs/resonant"), help="folder of result and figure")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    background, signal, vh = (
        hz.read(SAMPLES / f"{name}.root", columns=COLUMNS) for name in ("background", "signal", "vh")
    )
    table = json.loads((SAMPLES / "sample.json").read_text())
    n_vh = round(N_SIGNAL * table["vh"]["cross_section_fb"] / table["signal"]["cross_section_fb"])
    injected = np.arange(len(vh)) < n_vh
    data = pseudo_data(background, signal, options.dataset).concatenate(vh.select(injected))
    training = vh.select(~injected)
    flow = hz.train_flow(
        training, hz.feature_space(*FEATURES), given=SPACE, members=options.members, seed=options.seed, name="vh"
    )
    peak = hz.fit_shape(zfit.pdf.DoubleCB, training, SPACE, prefix="vh_")
    model = load_model(options.run)
    hh, continuum = (next(c.pdf for c in model.components if c.is_signal is kind) for kind in (True, False))
    flow_b = continuum.flow
    data = data.select(flow_b.inside(data.array(FEATURES)), reason="outside the domain of the background")
    yields = {name: zfit.Parameter(name, float(start), stepsize=10.0) for name, start in (("n_HH", 0), ("n_VH", 0))}
    n_bkg = zfit.Parameter("n_bkg", float(len(data)), 0.0, stepsize=10.0)
    joint = compose(
        [component(hh, yields["n_HH"], "HH")],
        [component(continuum, n_bkg, "continuum"), hz.FlowProductPDF(peak, flow, extended=yields["n_VH"], name="VH")],
        poi=yields["n_HH"],
        region=REGION,
    )
    loss = hz.ExtendedNLL(joint, data)
    result = hz.fit(loss)
    lines = [contour(loss, "n_HH", "n_VH", cl=cl) for cl in (0.6827, 0.9545)]
    answers = {name: hz.interval(result, name) for name in yields}
    print(result)
    for name, truth in (("n_HH", N_SIGNAL), ("n_VH", n_vh)):
        answer = answers[name]
        print(f"{name}: {answer.value:.1f} in [{answer.lower:.1f}, {answer.upper:.1f}], injected {truth}")
    (options.out / "contours.json").write_text(json.dumps([json.loads(line.to_json()) for line in lines]) + "\n")
    figure = explanations.contours(lines, labels={"n_HH": "$n_{HH}$", "n_VH": "$n_{VH}$"}, truth=(N_SIGNAL, n_vh))
    plotting.save(figure, options.out / "contours")


if __name__ == "__main__":
    main()
