"""RooFit's fits for `peers.py`, of the columns that `fit_rivals.fits` wrote, with the vectorising CPU backend.

The model is written as an analyst would: an extended RooAddPdf of the ratio of the signal, which is a column of the
data, and of the falling spectrum, whose norm RooFit finds; the profile is one migrad at each point, from its neighbour.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

CPU = time.process_time


def roofit(folder: Path, *, rounds: int) -> list[dict[str, Any]]:
    """The same rows as of everybody else."""
    rows = []
    for path in sorted(folder.glob("fit-*.npz")):
        stored = np.load(path)
        taken, answer = [], None
        for _ in range(rounds + 1):
            begin = CPU()
            answer = _run(stored)
            taken.append(CPU() - begin)
        first, others = taken[0], taken[1:]
        best, error, t = answer
        rows.append(
            {
                "title": "RooFit, vectorising CPU backend",
                "ours": False,
                "nuisances": len(stored["logs"]),
                "cpu_s": float(np.median(others)),
                "in_a_row_s": float(np.median(others)),  # nobody else runs in between
                "least_s": min(others),
                "most_s": max(others),
                "compile_s": max(first - float(np.median(others)), 0.0),
                "n_sig": best,
                "error": error,
                "largest_difference": float(np.abs(t - stored["t_ours"]).max()),
            }
        )
    return rows


def _run(stored: Any) -> tuple[float, float, Any]:
    import ROOT

    ROOT.RooMsgService.instance().setGlobalKillBelow(ROOT.RooFit.WARNING)
    masses, ratios, start, logs = (stored[name] for name in ("t", "r", "start", "logs"))
    scale = len(masses)
    t, r = ROOT.RooRealVar("t", "", 0.0, 1.0), ROOT.RooRealVar("r", "", 0.0, float(ratios.max()) * 1.01)
    n_sig = ROOT.RooRealVar("n_sig", "", start[0], -scale, scale)
    n_bkg = ROOT.RooRealVar("n_bkg", "", start[1], 0.0, 3.0 * scale)
    p1, p2 = (ROOT.RooRealVar(name, "", value, -30, 30) for name, value in zip(("p1", "p2"), start[2:4], strict=True))
    nuisances = [ROOT.RooRealVar(f"nu{j}", "", 0.0, -5, 5) for j in range(len(logs))]
    size: Any = n_sig
    if nuisances:
        terms = "+".join(f"{log!r}*nu{j}" for j, log in enumerate(logs.tolist()))
        size = ROOT.RooFormulaVar("size", f"n_sig*exp({terms})", ROOT.RooArgList(n_sig, *nuisances))
    signal = ROOT.RooWrapperPdf("signal", "", r, True)
    falling = ROOT.RooGenericPdf("falling", "exp(-p1*t+p2*t*t)", ROOT.RooArgList(t, p1, p2))
    model = ROOT.RooAddPdf("model", "", ROOT.RooArgList(signal, falling), ROOT.RooArgList(size, n_bkg))
    data = ROOT.RooDataSet.from_numpy({"t": masses, "r": ratios}, [t, r])
    zero, one = ROOT.RooRealVar("zero", "", 0.0), ROOT.RooRealVar("one", "", 1.0)
    constraints = ROOT.RooArgSet()
    kept = [ROOT.RooGaussian(f"constraint_{nu.GetName()}", "", nu, zero, one) for nu in nuisances]
    for constraint in kept:
        constraints.add(constraint)
    # the ratio is given: norms are those of the mass
    given = ROOT.RooFit.ConditionalObservables(ROOT.RooArgSet(r))
    options = [ROOT.RooFit.Extended(True), ROOT.RooFit.EvalBackend("cpu"), given]
    options += [ROOT.RooFit.ExternalConstraints(constraints)] if nuisances else []
    nll = model.createNLL(data, *options)
    minimizer = ROOT.RooMinimizer(nll)
    minimizer.setPrintLevel(-1)
    minimizer.minimize("Minuit2", "migrad")
    minimizer.hesse()
    best, error, lowest = n_sig.getVal(), n_sig.getError(), nll.getVal()
    free = [n_bkg, p1, p2, *nuisances]
    centre = [variable.getVal() for variable in free]
    n_sig.setConstant(True)
    points, found = stored["points"], np.empty(len(stored["points"]))
    for side in (np.flatnonzero(points >= best), np.flatnonzero(points < best)[::-1]):
        for variable, value in zip(free, centre, strict=True):
            variable.setVal(value)
        for i in side:
            n_sig.setVal(float(points[i]))
            minimizer.minimize("Minuit2", "migrad")
            found[i] = 2.0 * (nll.getVal() - lowest)
    return best, error, found
