"""CPU of a cross-section's fit: best values, and the profiled 68.3 % interval, of rows of a Higgs-like sample.

Four processes (616 events of signal on 52,756 of background in the unbinned region), three shape nuisances with nine
monomials, three norm nuisances, 30 counting bins.  The rival minimises the same function in the same process: Minuit
with the exact gradient, and MINOS.  Run by hand:

    python benchmarks/crosssection/likelihood.py --rows 94000
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from iminuit import Minuit

from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.protocol import limits_of, names_of
from hisigma_zfit.likelihood.ratio import RatioLikelihood
from hisigma_zfit.ratio.coordinates import SquaredWidth, Standard
from hisigma_zfit.ratio.monomials import Monomials
from hisigma_zfit.ratio.structure import Constraint, NormEffect, Rates, RatioColumns, RatioStructure, ShapeParameter

PROCESSES = ("htautau", "ztautau", "ttbar", "diboson")
INSIDE = np.array([616.0, 47_088.0, 4_937.0, 731.0])
OUTSIDE = np.array([353.0, 857_593.0, 36_476.0, 2_722.0])
RATES = np.array([[0.017, 0.007, 0.0], [0.06, 0.028, 0.014], [0.02, 0.04, 0.0], [0.02, 0.02, 0.0]])
BINS = 30


def structure() -> RatioStructure:
    """The worked example's parameters."""
    rng = np.random.default_rng(1)
    monomials = Monomials(("tes", "jes", "soft_met"), squares=(0, 1, 2), pairs=((0, 1), (0, 2), (1, 2)))
    shares = rng.dirichlet(np.full(BINS, 2.0), 4)
    size = np.concatenate([INSIDE[:, None], OUTSIDE[:, None] * shares], axis=1)
    slope = np.zeros((*size.shape, monomials.size))
    slope[:, :, :3] = RATES[:, None]
    slope[:, 1:, :3] += 0.02 * rng.standard_normal((4, BINS, 3))
    backgrounds = PROCESSES[1:]
    return RatioStructure(
        processes=PROCESSES,
        pois={"htautau": ("mu",)},
        shapes=(
            ShapeParameter("tes", Standard(), Constraint()),
            ShapeParameter("jes", Standard(), Constraint()),
            ShapeParameter("soft_met", SquaredWidth(scale=2.0), Constraint(limits=(-5.0, float(np.log(9.0)))), -1.0),
        ),
        norms=(
            NormEffect("ttbar_size", {"ttbar": 0.02}),
            NormEffect("diboson_size", {"diboson": 0.25}),
            NormEffect("background", dict.fromkeys(backgrounds, 0.001)),
        ),
        monomials=monomials,
        rates=Rates(size, np.zeros_like(size), slope),
        cells=("U", *(f"bin {k}" for k in range(BINS))),
        unbinned=1,
        poi_limits={},
    )


def columns(rows: int, model: RatioStructure) -> RatioColumns:
    """Rows with weights, as an Asimov set has them."""
    rng = np.random.default_rng(2)
    centres = np.array([[1.6, 0.3], [0.0, 0.0], [-0.5, 1.6], [0.3, 0.8]])
    process = rng.choice(4, rows, p=INSIDE / INSIDE.sum())
    x = centres[process] + rng.standard_normal((rows, 2))
    logs = -0.5 * ((x[:, None] - centres) ** 2).sum(axis=2) + np.log(INSIDE)
    posterior = np.exp(logs - logs.max(axis=1, keepdims=True))
    posterior /= posterior.sum(axis=1, keepdims=True)
    z = x[:, None] - centres
    exponents = np.zeros((rows, 4, model.monomials.size))
    exponents[:, :, :3] = RATES
    exponents[:, :, 0] += 0.04 * z[:, :, 0]
    exponents[:, :, 1] += 0.03 * z[:, :, 1]
    exponents[:, :, 2] += 0.02 * (z[:, :, 0] ** 2 - 1.0)
    exponents[:, :, 3:] += 0.004 * rng.standard_normal((rows, 4, 6))
    weights = np.full(rows, INSIDE.sum() / rows)
    counts = model.rates.size[:, 1:].sum(axis=0)
    return RatioColumns(
        posterior.astype(np.float32), exponents.astype(np.float32), np.zeros(rows, np.int64), weights, counts
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=94_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--no-rival", action="store_true")
    options = parser.parse_args()

    model = structure()
    events = columns(options.rows, model)
    start = time.process_time()
    likelihood = RatioLikelihood(model, events)
    print(f"{options.rows} rows, {len(likelihood.parameters)} parameters; best of {options.repeat}, CPU s on one core")
    print(f"{'likelihood of columns':34s} {time.process_time() - start:8.3f}")
    theta = likelihood.theta()
    for name, call in (("value", likelihood.value), ("value, gradient, Hessian", likelihood.evaluate)):
        print(f"{name:34s} {quickest(lambda call=call: call(theta), options.repeat * 3):8.4f}")

    found = {}

    def both() -> None:
        profiler = Profiler(likelihood, "mu")
        found["ours"] = (profiler.best, *profiler.interval(1.0))

    print(f"{'fit':34s} {quickest(lambda: Profiler(likelihood, 'mu'), options.repeat):8.3f}")
    print(f"{'fit and profiled 68.3 % interval':34s} {quickest(both, options.repeat):8.3f}")
    if not options.no_rival:
        start = time.process_time()
        found["rival"] = minuit(likelihood)
        print(f"{'the same with Minuit and MINOS':34s} {time.process_time() - start:8.3f}")
    for name, (value, lower, upper) in found.items():
        print(f"{name:6s} mu = {value:.4f} [{lower:.4f}, {upper:.4f}]")


def minuit(likelihood: RatioLikelihood) -> tuple[float, float, float]:
    """The same by iminuit."""
    names = names_of(likelihood.parameters)
    fit = Minuit(
        lambda theta: likelihood.value(np.asarray(theta)),
        likelihood.theta(),
        grad=lambda theta: likelihood.evaluate(np.asarray(theta)).gradient,
        name=names,
    )
    fit.errordef = Minuit.LIKELIHOOD
    for name, lower, upper in zip(names, *limits_of(likelihood.parameters), strict=True):
        fit.limits[name] = (lower, upper)
    fit.migrad()
    fit.minos("mu")
    error = fit.merrors["mu"]
    best = fit.values["mu"]
    return best, best + error.lower, best + error.upper


def quickest(call: object, repeat: int) -> float:
    times = []
    for _ in range(repeat):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


if __name__ == "__main__":
    main()
