"""The fits of `peers.py`: everybody is asked for the fit, its Hessian and a 60-point profile, in turns.

In each turn the first fit finds the caches as the one before has left them, and counts by itself; further ones, for
half a second, are what fits in a row take, as those of toys.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import example
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CPU = time.process_time
NUISANCES = (0, 1, 3, 10)
LOG_KAPPA = 0.05
IN_A_ROW = 0.5  # seconds of further fits in a turn, or one of them
Answer = tuple[float, float, Any]


def problem(nuisances: int, scale: float) -> tuple[Any, Any, Any]:
    """Model of `example.py` with nuisances of the signal's yield, its events, and the profile's points."""
    import zfit

    import hisigma_zfit as hz

    model = example.model()
    if nuisances:
        signal, background = (term.pdf for term in model.components)
        size: Any = model.poi
        for j in range(nuisances):
            size = hz.lognormal_yield(size, hz.nuisance(f"nu{j}_{nuisances}"), np.exp(kappa(j)))
        model = hz.signal_plus_background(
            signal, background, poi=size, yields=[model.components[1].extended], region=model.region
        )
    values = example.events(model, scale=scale)
    data = zfit.Data.from_numpy(obs=model.space, array=values)
    return model, data, scale * np.linspace(60.0, 340.0, 60)


def kappa(j: int) -> float:
    """Logarithm of the factor by one standard deviation."""
    return LOG_KAPPA / (1.0 + j)


def fits(folder: Path, *, scale: float, rounds: int) -> list[dict[str, Any]]:
    """Everybody but RooFit, for which the columns are written to the folder."""
    rows = []
    for nuisances in NUISANCES:
        methods, columns = _methods(nuisances, scale)
        own, t = _in_turns(methods, nuisances, rounds)
        rows += own
        np.savez(folder / f"fit-{nuisances:02d}.npz", t_ours=t, **columns)
    return rows


def _methods(nuisances: int, scale: float) -> tuple[dict[str, Callable[[], Answer]], dict[str, Any]]:
    from expert import Newton
    from fit_speed import Published, Unprepared
    from iminuit import Minuit

    from hisigma_zfit.fitting.profiler import Profiler
    from hisigma_zfit.likelihood.nll import ExtendedNLL

    model, data, points = problem(nuisances, scale)
    quick, unprepared = ExtendedNLL(model, data), Unprepared(model, data)
    columns = quick.columns()[0]
    width = example.UPPER - example.LOWER
    newton = Newton(
        (columns.mass - example.LOWER) / width,
        columns.ratio[0] / columns.ratio[1],
        width,
        np.array([kappa(j) for j in range(nuisances)]),
    )
    start = np.array([example.START[name] * (scale if name.startswith("n_") else 1.0) for name in newton.names[:4]])
    start = np.concatenate([start, np.zeros(nuisances)])

    # setting zfit's parameters takes longer than the fit, and nobody else does it
    example.start_all(model, scale=scale)
    theta = quick.theta()

    def ours(loss: Any) -> Answer:
        profiler = Profiler(loss, model.poi, start=theta)
        return profiler.best, profiler.error, profiler.scan(points)

    def minuit() -> Answer:
        def gradient(theta: Any) -> Any:
            return newton(np.asarray(theta))[1]

        fit = Minuit(lambda theta: newton(np.asarray(theta))[0], start, name=newton.names, grad=gradient)
        fit.errordef = Minuit.LIKELIHOOD
        fit.migrad()
        fit.hesse()
        best, error, lowest = fit.values["n_sig"], fit.errors["n_sig"], fit.fval
        return best, error, 2.0 * (fit.mnprofile("n_sig", grid=points)[1] - lowest)

    methods = {
        "this package": lambda: ours(quick),
        "this package, sums made anew": lambda: ours(unprepared),
        "numba Hessian and Newton profile (expert)": lambda: newton.run(start, points),
        "iminuit, numba gradient": minuit,
    }
    if not nuisances and scale == 1.0:
        methods["published procedure (iminuit)"] = Published(quick, signal_cached=False).run
    stored = {"t": newton.t, "r": width * newton.r, "start": start, "points": points, "logs": newton.logs}
    return methods, stored


def _in_turns(
    methods: dict[str, Callable[[], Answer]], nuisances: int, rounds: int
) -> tuple[list[dict[str, Any]], Any]:
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    in_a_row: dict[str, list[float]] = {name: [] for name in methods}
    answers = {}
    for _ in range(rounds + 1):
        for name, run in methods.items():
            begin = CPU()
            answers[name] = run()
            seconds[name].append(CPU() - begin)
            begin, further = CPU(), 0
            while not further or CPU() - begin < IN_A_ROW:
                run()
                further += 1
            in_a_row[name].append((CPU() - begin) / further)
    rows, reference = [], answers["this package"]
    for name, (first, *others) in seconds.items():
        best, error, t = answers[name]
        rows.append(
            {
                "title": name,
                "ours": name == "this package",
                "nuisances": nuisances,
                "cpu_s": float(np.median(others)),
                "in_a_row_s": float(np.median(in_a_row[name][1:])),
                "least_s": min(others),
                "most_s": max(others),
                "compile_s": max(first - float(np.median(others)), 0.0),
                "n_sig": float(best),
                "error": float(error),
                "largest_difference": float(np.abs(np.asarray(t) - reference[2]).max()),
            }
        )
    return rows, reference[2]
