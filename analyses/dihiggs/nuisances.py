"""Several nuisances at once: jet energy, photon energy and resolution, b tagging, with pulls, impacts and error budget.

    python analyses/dihiggs/nuisances.py --full FOLDER --out runs/nuisances

What arXiv:2506.06438 left open in section 4.6.  FOLDER holds the full samples of simulation/generate.py, with momenta
of jets and photons.  The sizes, one standard deviation each, are plausible ones, not those of an experiment:

- ``jes``: transverse momenta of both b-jets times 1.02 + 0.6 GeV / pT (4 % at 30 GeV), their directions and with them
  the angular distances kept; signal and background.
- ``photon_scale``: photon momenta times 1.003 in the barrel and 1.006 at |eta| > 1.5; moves the features of the signal
  and the position of its peak.  The background's mass spectrum is fitted, so that it has none.
- ``photon_resolution``: width of the peak times 1.1; acts on the mass shape alone.
- ``btag``: weight exp(0.03 sum_j log2(pT_j / 60 GeV)) over both b-jets; signal and background.

Momenta that move carry events over the thresholds.  They are therefore raised by 10 % above those of the simulation,
to 33 and 22 GeV for leading and second jet and photon: the varied samples are complete then.  Yields are numbers of
selected events, in which changes of the efficiency drop out.  All densities of a component are trained from the same
seed, and their events keep the identity of the rows that they come from: those that a variation selects too are
trained with alike, so that the noise of the trainings cancels in the ratios.

Two fits: with the variations of the background, as in the paper, and with those of the signal alone, because a
background that is learned from the data holds their jets as they are.  Then the first model is fitted to data with one
nuisance moved by one standard deviation, which should come out.  On data sets 0 and 1 the best fit of ``jes`` moved by
+0.83 and -0.90, +0.93 and -0.93 (+- 0.14), the others within their errors; a single member is not enough for that.
Compiling takes minutes.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import zfit
from quick_fit import REGION, SPACE
from samples import COLUMNS, FEATURES, MASS, N_BACKGROUND, N_DATASETS, N_SIGNAL, WORDS

import hisigma_zfit as hz
from hisigma_zfit.inference.impacts import correlations, impacts
from hisigma_zfit.model.systematics import Nuisance, vary_shape
from hisigma_zfit.report import explanations, plotting

JETS, PHOTONS = ("b1", "b2"), ("g1", "g2")
BRANCHES = {f"{o}_{what}": f"{o}_{what}" for o in (*JETS, *PHOTONS) for what in ("pt", "eta", "phi")}
THRESHOLDS = {"b1": 33.0, "b2": 22.0, "g1": 33.0, "g2": 22.0}  # GeV
OF_FEATURES = {"signal": ("jes", "photon_scale", "btag"), "background": ("jes", "btag")}
GROUPS = {"jets": ("jes", "btag"), "photons": ("photon_scale", "photon_resolution")}
RESOLUTION = 1.1
LABELS = {
    "jes": "Jet energy scale",
    "photon_scale": "Photon energy scale",
    "photon_resolution": "Photon resolution",
    "btag": "b tagging",
    "p1": "$p_1$",
    "p2": "$p_2$",
}


def pair_pt(events: hz.Dataset, pt: dict[str, np.ndarray], first: str, second: str) -> np.ndarray:
    """Transverse momentum of two objects together, in GeV."""
    angle = events[f"{first}_phi"] - events[f"{second}_phi"]
    return np.sqrt(pt[first] ** 2 + pt[second] ** 2 + 2.0 * pt[first] * pt[second] * np.cos(angle))


def varied(events: hz.Dataset, *, jes: float = 0.0, photon_scale: float = 0.0, btag: float = 0.0) -> hz.Dataset:
    """Mass and features of the selected events with nuisances at these values, weighted by their tags."""
    factor = {b: 1.0 + jes * (0.02 + 0.6 / events[f"{b}_pt"]) for b in JETS}
    factor |= {g: 1.0 + photon_scale * np.where(np.abs(events[f"{g}_eta"]) < 1.5, 0.003, 0.006) for g in PHOTONS}
    pt = {name: events[f"{name}_pt"] * factor[name] for name in factor}
    mass = events[MASS] * np.sqrt(factor["g1"] * factor["g2"])
    selected = np.all([pt[name] > least for name, least in THRESHOLDS.items()], axis=0)
    tag = np.exp(0.03 * btag * sum(np.log2(pt[b] / 60.0) for b in JETS))
    columns = {
        MASS: mass,
        "pt_bb": pair_pt(events, pt, *JETS),
        "pt_gg_over_m": pair_pt(events, pt, *PHOTONS) / mass,
        "dr_bb": events["dr_bb"],
        "dr_gg": events["dr_gg"],
    }
    return hz.Dataset.from_arrays(columns, tag, identity=events.identity).select(selected, reason="thresholds")


def variations(events: hz.Dataset, names: tuple[str, ...]) -> dict[str, hz.Dataset]:
    """Nominal and varied events."""
    moved = {f"{name}_{side}": {name: nu} for name in names for side, nu in (("up", 1.0), ("down", -1.0))}
    return {"nominal": varied(events)} | {name: varied(events, **nuisances) for name, nuisances in moved.items()}


def pseudo_data(
    events: dict[str, hz.Dataset], dataset: int, *, seed: int = 1, **nuisances: float
) -> tuple[hz.Dataset, int]:
    """Selected events of one data set with nuisances at these values, tagged at random by their weights.

    Returns:
        The events, and how many of them are signal.
    """
    size = {"background": N_BACKGROUND, "signal": N_SIGNAL}
    parts = {}
    for kind, sample in events.items():
        data = varied(sample.select(np.arange(len(sample)) // size[kind] == dataset), **nuisances)
        chance = np.random.default_rng(seed).random(len(sample))[data.identity]  # an event's own, whatever is selected
        parts[kind] = data.select(chance * data.weights.max() < data.weights).within(SPACE)
    whole = parts["background"].concatenate(parts["signal"])
    return hz.Dataset.from_arrays(whole.columns), len(parts["signal"])


def train(kind: str, samples: dict[str, hz.Dataset], options: argparse.Namespace) -> dict[str, hz.ConditionalFlow]:
    """Densities of the nominal and the varied events, from one seed; they are kept and taken up again."""
    return {
        name: hz.train_flow(
            sample,
            hz.feature_space(*FEATURES),
            given=SPACE,
            members=options.members,
            seed=options.seed,
            preset=options.preset,
            name=f"{kind} {name}",
            checkpoint=options.out / "members" / f"{kind}-{name}",
        )
        for name, sample in samples.items()
    }


def peak_effects(peak: zfit.pdf.BasePDF, signal: dict[str, hz.Dataset], nuisances: dict[str, Nuisance]) -> dict:
    """Factors by which the peak's parameters follow their nuisances: the position's from fits of the shifted signal."""
    centre = {
        side: float(
            hz.fit_shape(zfit.pdf.DoubleCB, signal[f"photon_scale_{side}"], SPACE, prefix=side).params["mu"].value()
        )
        for side in ("up", "down")
    }
    kappa = np.sqrt(centre["up"] / centre["down"])
    print(f"peak at {float(peak.params['mu'].value()):.2f} GeV, photon_scale moves it by a factor {kappa:.5f}")
    return {"mu": {nuisances["photon_scale"]: kappa}, "sigma": {nuisances["photon_resolution"]: RESOLUTION}}


def build(
    peak: zfit.pdf.BasePDF,
    flows: dict[str, dict[str, hz.ConditionalFlow]],
    nuisances: dict[str, Nuisance],
    *,
    vary: tuple[str, ...],
) -> zfit.pdf.SumPDF:
    """The extended model with variations of some components."""
    falling = hz.ExpQuadratic(obs=SPACE, p1=zfit.Parameter("p1", 1.0), p2=zfit.Parameter("p2", 0.0))
    pdfs = [
        hz.FlowProductPDF(
            mass,
            flows[kind]["nominal"],
            variations=[
                hz.ShapeVariation(nuisances[name], flows[kind][f"{name}_up"], flows[kind][f"{name}_down"])
                for name in OF_FEATURES[kind]
                if kind in vary
            ],
        )
        for kind, mass in (("signal", peak), ("background", falling))
    ]
    return hz.signal_plus_background(*pdfs, poi="n_sig", region=REGION)


def explain(name: str, loss: hz.ExtendedNLL, out: Path) -> None:
    """Impacts with errors from the Hessian, and correlations: printed, drawn and kept."""
    start = time.process_time()
    budget = impacts(loss, "n_sig", groups=GROUPS, minos=False)  # the generic path takes minutes for all profiles
    matrix = correlations(loss)
    print(f"{hz.tables.impacts(budget)}\n(fit, impacts: {time.process_time() - start:.0f} CPU s)", flush=True)
    stem = name.replace(" ", "_")
    (out / f"{stem}.json").write_text(
        json.dumps({"impacts": json.loads(budget.to_json()), "correlations": json.loads(matrix.to_json())}) + "\n"
    )
    (out / f"{stem}.txt").write_text(hz.tables.impacts(budget) + "\n")
    plotting.save(explanations.impacts(budget, labels=LABELS), out / f"{stem}_impacts")
    plotting.save(explanations.correlations(matrix, labels=LABELS), out / f"{stem}_correlations")


@hz.plotting.presented(**WORDS)
def main() -> None:
    """Vary, train, fit, explain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", type=Path, required=True, help="folder of the full samples")
    parser.add_argument("--dataset", type=int, choices=range(N_DATASETS), default=0, help="data set 0 to 4 (default 0)")
    parser.add_argument("--preset", default="standard", help="training: quick, standard or paper")
    parser.add_argument("--members", type=int, default=2, help="seeds of each density (default 2)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the trainings (default 1)")
    parser.add_argument("--out", type=Path, default=Path("runs/nuisances"), help="folder of results and figures")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    files = {"background": "bbgg_background", "signal": "hh_signal"}
    events = {kind: hz.read(options.full / f"{name}.root", columns=COLUMNS | BRANCHES) for kind, name in files.items()}
    injected = np.arange(len(events["signal"])) < N_SIGNAL * N_DATASETS
    signal = variations(events["signal"].select(~injected).within(SPACE), OF_FEATURES["signal"])
    background = {
        name: sample.sidebands(SPACE, REGION)
        for name, sample in variations(events["background"], OF_FEATURES["background"]).items()
    }
    flows = {kind: train(kind, samples, options) for kind, samples in (("signal", signal), ("background", background))}

    nuisances = {name: hz.nuisance(name) for name in (*OF_FEATURES["signal"], "photon_resolution")}
    frozen = hz.fit_shape(zfit.pdf.DoubleCB, signal["nominal"], SPACE, prefix="peak_")
    peak = vary_shape(frozen, peak_effects(frozen, signal, nuisances))
    inside = flows["background"]["nominal"].inside

    def content(model: zfit.pdf.SumPDF, **values: float) -> tuple[np.ndarray, int]:
        data, n_signal = pseudo_data(events, options.dataset, **values)
        return data.select(inside(data.array(FEATURES))).array(model.obs), n_signal

    losses = {}
    for name, vary in (("signal and background", ("signal", "background")), ("signal only", ("signal",))):
        model = build(peak, flows, nuisances, vary=vary)
        values, n_signal = content(model)
        # a sampler's content can be replaced later, and the likelihood is compiled only once
        data = zfit.data.SamplerData.from_sampler(
            sample_func=lambda *_, values=values: values, n=len(values), obs=model.space
        )
        losses[name] = hz.ExtendedNLL(model, data)
        print(f"\n{name} varied, {n_signal} signal events in the data", flush=True)
        explain(name, losses[name], options.out)

    loss, rows = losses["signal and background"], {}
    start = loss.theta()
    print(f"\n{'data':<18}{'signal':>7}" + "".join(f"{name:>20}" for name in ("n_sig", *nuisances)))
    for moved in (None, *((name, nu) for name in OF_FEATURES["signal"] for nu in (1.0, -1.0))):
        values, n_signal = content(loss.model[0], **({} if moved is None else {moved[0]: moved[1]}))
        loss.data[0].update_data(values)
        zfit.param.set_values(loss.parameters, start)
        fit = {p.name: (v["value"], v["hesse"]["error"]) for p, v in hz.fit(loss).params.items()}
        key = "nominal" if moved is None else f"{moved[0]} {moved[1]:+g}"
        rows[key] = fit
        text = "".join(f"{fit[n][0]:10.2f} +- {fit[n][1]:<6.2f}" for n in ("n_sig", *nuisances))
        print(f"{key:<18}{n_signal:7d}{text}", flush=True)
    (options.out / "closure.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
