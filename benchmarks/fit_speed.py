"""Fit, Hessian and 60-point profile of 40,200 events against the published procedure: `python benchmarks/fit_speed.py`.

The published procedure (arXiv:2506.06438, section 4.5) computes the flow densities of all events ahead of time and fits
with iminuit.  Here its likelihood is written with numpy and numba_stats: the mass shapes are evaluated in every call,
the double Crystal Ball by numba_stats, the exponential by numpy with a 48-node quadrature for its norm (a closed form
with error functions loses its digits near p2 = 0).  Minuit finds its gradients by finite differences, as it does unless
told otherwise; the profile is `mnprofile`, one migrad at each point, started from its neighbour.  "Signal cached" is
the same with the frozen signal shape computed ahead as well, which is kinder to it than the publication.

What is computed once for a data set is not timed on either side: here the columns, and the sums over events without
signal that profiles are quick with (`hisigma_zfit.likelihood.compression`); one row makes the latter anew every turn.

Everything runs in this process, in turns, and CPU seconds are quoted: other load on the machine touches all alike.
Needs: pip install 'hisigma_zfit[benchmarks]'.
"""

from __future__ import annotations

import os

# before numpy is imported: one thread for all, so that CPU seconds are comparable
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"})

import argparse
import time
from typing import TYPE_CHECKING, Any

import example
import iminuit
import numpy as np
import zfit
from numba_stats import crystalball_ex

from hisigma_zfit.fitting.minimizer import fit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.fitting.scans import profile
from hisigma_zfit.likelihood.nll import ExtendedNLL

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from hisigma_zfit.likelihood.evaluate import Evaluator

POINTS = np.linspace(60.0, 340.0, 60)
Answer = tuple[float, float, "npt.NDArray[np.float64]"]


class Published:
    """The published procedure on densities that were computed ahead of time."""

    def __init__(self, loss: ExtendedNLL, *, signal_cached: bool) -> None:
        columns = loss.columns()[0]
        peak = loss.model[0].components[0].pdf.mass
        self.m = columns.mass
        self.t = (columns.mass - example.LOWER) / (example.UPPER - example.LOWER)
        shape = np.asarray(peak.pdf(columns.mass[:, None]))
        self.p_s, self.p_b = columns.ratio[0] / shape, columns.ratio[1]
        self.shape = shape if signal_cached else None
        grid = np.linspace(example.LOWER, example.UPPER, 20_001)
        self.norm = np.trapezoid(self.crystal_ball(grid), grid)
        nodes, weights = np.polynomial.legendre.leggauss(48)
        self.nodes, self.weights = 0.5 + 0.5 * nodes, 0.5 * weights * (example.UPPER - example.LOWER)

    def crystal_ball(self, m: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Signal shape, not normalised."""
        p = example.PEAK
        return crystalball_ex.pdf(m, p["alphal"], p["nl"], p["sigmal"], p["alphar"], p["nr"], p["sigmar"], p["mu"])

    def __call__(self, n_sig: float, n_bkg: float, p1: float, p2: float) -> float:
        """-log L."""
        peak = self.crystal_ball(self.m) / self.norm if self.shape is None else self.shape
        falling = np.exp(-p1 * self.t + p2 * self.t**2)
        falling /= np.sum(self.weights * np.exp(-p1 * self.nodes + p2 * self.nodes**2))
        density = n_sig * peak * self.p_s + n_bkg * falling * self.p_b
        if np.any(density <= 0.0):
            return 1e10
        return n_sig + n_bkg - np.sum(np.log(density))

    def run(self) -> Answer:
        """Fit, HESSE and profile."""
        minuit = iminuit.Minuit(self, **example.START)
        minuit.errordef = iminuit.Minuit.LIKELIHOOD
        minuit.limits["n_bkg"] = (0.0, None)
        minuit.migrad()
        minuit.hesse()
        best, error, lowest = minuit.values["n_sig"], minuit.errors["n_sig"], minuit.fval
        _, values, _ = minuit.mnprofile("n_sig", grid=POINTS)
        return best, error, 2.0 * (values - lowest)


def ours(loss: ExtendedNLL) -> Answer:
    """The fit with its exact Hessian, and the profile."""
    profiler = Profiler(loss, loss.model[0].poi)
    return profiler.best, profiler.error, profiler.scan(POINTS)


def ours_with_result(loss: ExtendedNLL) -> Answer:
    """The same with a zfit FitResult, whose making takes longer than the fit."""
    result = fit(loss)
    poi = loss.model[0].poi
    found = result.params[poi]
    return found["value"], found["hesse"]["error"], profile(loss, poi, POINTS)


class Unprepared(ExtendedNLL):
    """A likelihood that sums the events without signal anew for every fit."""

    def evaluator(self, **options: Any) -> Evaluator:
        self._near = None
        return super().evaluator(**options)


def through_zfit(loss: zfit.loss.ExtendedUnbinnedNLL) -> Answer:
    """Minimise with Minuit through zfit, and its Hessian, with one minimisation at each point."""
    model = loss.model[0]
    minimizer = zfit.minimize.Minuit(gradient="zfit")
    result = minimizer.minimize(loss)
    result.hesse(method="hesse_np")
    found, t = dict(result.params[model.poi]), []
    others = [p for p in loss.get_params() if p is not model.poi]
    for value in POINTS:
        model.poi.set_value(value)
        t.append(2.0 * (minimizer.minimize(loss, params=others).fminopt - result.fminopt))
    return found["value"], found["hesse"]["error"], np.array(t)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns that medians are taken of (default 5)")
    parser.add_argument("--stock", action="store_true", help="also time zfit's own loss, which takes minutes")
    options = parser.parse_args()

    model, opaque = example.model(), example.model(example.Opaque)
    values = example.events(model)
    data = zfit.Data.from_numpy(obs=model.space, array=values)
    quick, unprepared, generic = (
        c(m, data) for c, m in ((ExtendedNLL, model), (Unprepared, model), (ExtendedNLL, opaque))
    )
    methods: dict[str, Callable[[], Answer]] = {
        "published (iminuit)": Published(quick, signal_cached=False).run,
        "published, signal cached": Published(quick, signal_cached=True).run,
        "this package, quick path": lambda: ours(quick),
        "quick path, sums made anew": lambda: ours(unprepared),
        "this package, generic path": lambda: ours(generic),
        "quick path with FitResult": lambda: ours_with_result(quick),
        "zfit Minuit on ExtendedNLL": lambda: through_zfit(quick),
    }
    if options.stock:
        stock = zfit.loss.ExtendedUnbinnedNLL(model, data)
        methods["zfit Minuit on zfit's loss"] = lambda: through_zfit(stock)

    answers = {}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for turn in range(options.rounds + 1):
        for name, run in methods.items():
            example.start(model)
            example.start(opaque)
            begin = time.process_time()
            answers[name] = run()
            if turn > 0:  # the first one compiles
                seconds[name].append(time.process_time() - begin)

    reference = np.array(seconds["published (iminuit)"])
    t_reference = answers["published (iminuit)"][2]
    print(f"{len(values)} events: fit, Hessian and {POINTS.size}-point profile; medians of {options.rounds} turns\n")
    print(f"{'':28s}{'CPU s':>9s}{'speed-up':>10s}{'(range)':>16s}{'n_sig':>9s}{'error':>8s}{'max |dt|':>10s}")
    for name, times in seconds.items():
        ratio = reference / np.array(times)
        best, error, t = answers[name]
        difference = np.abs(t - t_reference).max()
        print(
            f"{name:28s}{np.median(times):9.3f}{np.median(ratio):10.1f}"
            f"{f'({ratio.min():.1f} - {ratio.max():.1f})':>16s}{best:9.2f}{error:8.2f}{difference:10.1e}"
        )


if __name__ == "__main__":
    main()
