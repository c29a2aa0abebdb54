"""Closure of the shared nuisance: what is put in must come out (arXiv:2506.06438, section 4.4).

    python analyses/dihiggs/closure.py --runs runs/five --out runs/closure

The model with the nuisance that systematics.py learned for one data set is fitted to two kinds of pseudo-data:

- model: events drawn from it at nu = -1, 0 and +1, with Poisson numbers of signal and background, from one seed for all
  three;
- events: the five disjoint data sets of simulated events, with the transverse momentum of their b-jets scaled by
  1 + 0.1 nu.  No event of the signal region and no signal event was seen in the training.  The fits at the three values
  of nu are of the same events, so their deviations are common.

The constraint of the nuisance stays at zero: the data hold it thirty times better.  Prints fitted values, their
errors and pulls (fitted - true) / error, and keeps all fits in ``closure.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from quick_fit import pseudo_data
from samples import COLUMNS, FEATURES, N_DATASETS, N_SIGNAL, SAMPLES
from systematics import SHIFT

import hisigma_zfit as hz
from hisigma_zfit.measurement import load_model
from hisigma_zfit.toys.sampling import sample_sum

if TYPE_CHECKING:
    from hisigma_zfit.model.compose import SignalPlusBackground

TRUTHS = (-1.0, 0.0, 1.0)


def drawn(model: SignalPlusBackground, nu: float, *, seed: int) -> hz.Dataset:
    """Events of the model at the true values; it is left there."""
    parameters = {p.name: p for p in model.get_params(is_yield=None)}
    parameters["n_sig"].set_value(N_SIGNAL)
    parameters["jes"].set_value(nu)
    total = np.random.default_rng(seed).poisson(float(parameters["n_bkg"].value()) + N_SIGNAL)
    return hz.Dataset.from_arrays(dict(zip(model.obs, sample_sum(model, total, seed=seed).T, strict=True)))


def fitted(model: SignalPlusBackground, data: hz.Dataset) -> dict[str, float]:
    """Best fit and errors of the yield and the nuisance."""
    flow = next(c.pdf.flow for c in model.components if not c.is_signal)
    inside = data.select(flow.inside(data.array(FEATURES)), reason="outside the domain of the background")
    found = {p.name: v for p, v in hz.fit(hz.ExtendedNLL(model, inside)).params.items()}
    return {
        key: number
        for name in ("jes", "n_sig")
        for key, number in ((name, found[name]["value"]), (f"{name} error", found[name]["hesse"]["error"]))
    }


def row(kind: str, nu: float, fits: list[dict[str, float]]) -> str:
    """Means over the pseudo-data with their errors, mean errors, and mean and width of the pulls."""
    line = f"{kind:<7}{nu:+4.0f}{len(fits):5d}"
    for name, truth, width in (("jes", nu, 3), ("n_sig", N_SIGNAL, 1)):
        values, errors = (np.array([fit[key] for fit in fits]) for key in (name, f"{name} error"))
        pulls = (values - truth) / errors
        mean = f"{values.mean():.{width}f} +- {values.std(ddof=1) / np.sqrt(len(fits)):.{width}f}"
        line += f"{mean:>20}{errors.mean():9.{width}f}{pulls.mean():+8.2f}{pulls.std(ddof=1):7.2f}"
    return line


def main() -> None:
    """Draw, fit and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/five"), help="folder of systematics.py")
    parser.add_argument("--dataset", type=int, default=0, help="the data set whose model is tested (default 0)")
    parser.add_argument("--toys", type=int, default=10, help="sets drawn from the model at each nu (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the drawn sets (default 1)")
    parser.add_argument("--out", type=Path, default=Path("runs/closure"), help="folder of the results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    model = load_model(options.runs / f"jes{options.dataset}")
    start = {p: float(p.value()) for p in model.get_params(is_yield=None)}
    background, signal = (hz.read(SAMPLES / f"{name}.root", columns=COLUMNS) for name in ("background", "signal"))
    found: dict[str, list[dict[str, float]]] = {}
    lines = [
        f"{'data':<7}{'nu':>4}{'sets':>5}" + "".join(f"{name:>20}{'error':>9}{'pull':>8}{'width':>7}" for name in "νs")
    ]
    for kind, sets in (("model", options.toys), ("events", N_DATASETS)):
        for nu in TRUTHS:
            fits = []
            for k in range(sets):
                for parameter, value in start.items():
                    parameter.set_value(value)
                if kind == "model":
                    data = drawn(model, nu, seed=int(np.random.SeedSequence([options.seed, k]).generate_state(1)[0]))
                else:
                    data = pseudo_data(background, signal, k)
                    data = data.with_columns(pt_bb=data["pt_bb"] * (1.0 + SHIFT * nu))
                fits.append(fitted(model, data))
            found[f"{kind} {nu:+g}"] = fits
            lines.append(row(kind, nu, fits))
            print("\n".join(lines[-2:] if len(lines) == 2 else lines[-1:]), flush=True)
    (options.out / "closure.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.out / "closure.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
