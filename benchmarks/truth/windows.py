"""A masked window beside the signal region: bias, coverage and closure where the truth is known, by retraining.

    python benchmarks/truth/windows.py --experiments 40 --out runs/windows

Data, sidebands and simulation are drawn anew each time and everything is trained anew, for four measurements of the
same events:

========  =====================================================================================================
plain     the background alone beside the signal, nothing masked
masked    the same events, and a second peak in a window that is masked
unmasked  the same events and the second peak, nothing masked: what the mask is for
swapped   the second peak is measured, and the window of the first one masked
========  =====================================================================================================

The same data are also fitted with the true densities, so that what the training does can be told from the noise of the
data.  Every experiment is one small file in the folder, so that an interrupted study goes on.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from worlds import WORLDS

import hisigma_zfit as hz
from hisigma_zfit.data.region import beside, in_any
from hisigma_zfit.files import write_bytes

if TYPE_CHECKING:
    from worlds import World

    from hisigma_zfit.arrays import Array

ARMS = ("plain", "masked", "unmasked", "swapped")
SECOND = (150.0, 1.8)  # mean and width of the second peak
WINDOW = (142.0, 158.0)  # and the window that holds it
N_SECOND = 160
CLOSURE_EVENTS = 4_000


def world_of(n_background: int, n_signal: int) -> World:
    """The world with a moving edge and four features, with so many events."""
    return replace(WORLDS["moving"], n_background=n_background, n_signal=n_signal, n_simulated=4_000)


def second_of(world: World) -> World:
    """The same world in which the second peak is the signal."""
    return replace(world, region=WINDOW, peak=SECOND, n_signal=N_SECOND)


def _events(world: World, m: Array, rng: np.random.Generator, *, signal: bool) -> dict[str, Array]:
    process = world.signal if signal else world.background
    x = process.sample(world.scaled(m), rng)
    return {"m": m, **dict(zip(world.features, x.T, strict=True))}


def _joined(*parts: dict[str, Array]) -> hz.Dataset:
    return hz.Dataset.from_arrays({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def run(number: int, n_background: int, n_signal: int, arms: tuple[str, ...], **training: Any) -> dict[str, Any]:
    """One experiment.

    Args:
        number: Seeds everything.
        n_background: Expected background events.
        n_signal: Expected signal events.
        arms: What is measured of it.
        **training: Options of the measurement.
    """
    world = world_of(n_background, n_signal)
    second = second_of(world)
    rng = np.random.default_rng([number, 31])
    background = _events(world, world.draw_background_mass(rng.poisson(n_background), rng), rng, signal=False)
    first, other = (
        _events(own, own.draw_signal_mass(rng.poisson(own.n_signal), rng), rng, signal=True) for own in (world, second)
    )
    simulation = {
        own.region: _joined(_events(own, own.draw_signal_mass(own.n_simulated, rng), rng, signal=True))
        for own in (world, second)
    }
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for arm in arms:
            data = _joined(background, first) if arm == "plain" else _joined(background, first, other)
            own = second if arm == "swapped" else world
            masked = {"masked": [WINDOW], "swapped": [world.region]}.get(arm, [])
            found[arm] = _measured(own, data, simulation[own.region], masked, arm, number, Path(folder), training)
    return {"number": number, "n_background": n_background, "n_signal": n_signal, "training": training, "arms": found}


def _measured(
    world: World,
    data: hz.Dataset,
    simulation: hz.Dataset,
    masked: list[tuple[float, float]],
    arm: str,
    number: int,
    folder: Path,
    training: dict[str, Any],
) -> dict[str, Any]:
    """Train and fit as `hz.measure` does, without its figures."""
    from hisigma_zfit.data.memory import mounted
    from hisigma_zfit.fitting.profiler import Profiler
    from hisigma_zfit.likelihood.nll import ExtendedNLL
    from hisigma_zfit.measurement.answers import bootstrap_fits, combine, with_training
    from hisigma_zfit.measurement.composition import compose, share_parameters
    from hisigma_zfit.measurement.densities import train
    from hisigma_zfit.measurement.in_memory import with_addresses
    from hisigma_zfit.measurement.inputs import read
    from hisigma_zfit.measurement.options import MeasureOptions
    from hisigma_zfit.statistics.intervals import ONE_SIGMA

    plain, events = with_addresses(
        {
            "data": data,
            "signal": simulation,
            "mass": "m",
            "range": world.mass_range,
            "signal_region": world.region,
            "masked": masked,
            "features": list(world.features),
            "seed": number + 1,
            "peak": "Gauss",
            **training,
        }
    )
    options = MeasureOptions.build(**plain)

    def checkpoints(name: str) -> Path:
        # the simulation is the same wherever the same peak is measured
        place = folder / (f"{world.region[0]:g}-{name}" if name.startswith("signal") else f"{arm}-{name}")
        place.mkdir(exist_ok=True)
        return place

    with mounted(events):
        inputs = read(options)
        densities = train(inputs, options, value=options.value, checkpoints=checkpoints)
    shared = share_parameters(options.poi, (), {}, [inputs])
    model = compose(inputs, densities, shared, options, seed=options.seed)
    flow = densities.background.flow
    kept = inputs.data.select(flow.inside(inputs.data.array(options.features), inputs.data["m"]))
    members = bootstrap_fits([model], [kept], options)
    models, sigma, bias = with_training([model], [kept], members, options, inputs={"": inputs}, seed=options.seed)
    nominal = Profiler(ExtendedNLL(models, [kept]), options.poi)
    combined = combine(nominal, models, [kept], members, inputs.training.events, options)
    interval, wide = combined.interval(cl=ONE_SIGMA), combined.interval(cl=0.95)
    exact = _exact(world, inputs.data, masked)
    return {
        "true": world.n_signal,
        "value": interval.value,
        "interval": [interval.lower, interval.upper],
        "interval_95": [wide.lower, wide.upper],
        "training_error": sigma,
        "training_bias": bias,
        "exact": exact,
        "sidebands": len(inputs.training.events),
        "divergence": {
            words: _divergence(world, flow, window, seed=number)
            for words, window in (("region", world_of(1, 1).region), ("window", WINDOW))
        },
    }


def _exact(world: World, data: hz.Dataset, masked: list[tuple[float, float]]) -> list[float]:
    """Signal and its error in a fit of the same data with the true densities."""
    from asimov import TruthSample

    low, high = world.mass_range
    fit = TruthSample.__new__(TruthSample)
    m = data["m"]
    inside = world.inside(m)
    fit.world, fit.m, fit.weights = world, m[inside], np.ones(inside.sum())
    fit._t_side = (m[~inside] - low) / (high - low)  # noqa: SLF001 - the data in the place of expected ones
    fit._w_side = np.ones(len(fit._t_side))  # noqa: SLF001
    windows = [hz.SignalRegion(*own) for own in masked]
    pieces = [[(edge - low) / (high - low) for edge in piece] for piece in beside(low, high, windows)]
    nodes, weights = np.polynomial.legendre.leggauss(64)
    fit._nodes = np.concatenate([a + 0.5 * (b - a) * (nodes + 1.0) for a, b in pieces])  # noqa: SLF001
    fit._node_weights = np.concatenate([0.5 * (b - a) * weights for a, b in pieces])  # noqa: SLF001
    x, t = data.array(list(world.features))[inside], world.scaled(fit.m)
    fit.peak = world.signal_mass_density(fit.m) * (high - low)
    fit.exact_background = world.background.log_prob(x, t)
    found = fit.fit(fit.exact_background, world.signal.log_prob(x, t))
    return [found.signal, found.error]


def _divergence(world: World, flow: hz.ConditionalFlow, window: tuple[float, float], *, seed: int) -> float:
    """Kullback-Leibler divergence of the learned background from the true one in a window, in nats an event."""
    rng = np.random.default_rng([seed, 32])
    m = world.draw_background_mass(20 * CLOSURE_EVENTS, rng)
    m = m[in_any(m, [hz.SignalRegion(*window)])][:CLOSURE_EVENTS]
    x = world.background.sample(world.scaled(m), rng)
    learned = flow.log_prob_array(x, m)
    inside = np.isfinite(learned)
    return float(np.mean((world.background.log_prob(x, world.scaled(m)) - learned)[inside]))


def table(records: list[dict[str, Any]]) -> str:
    """What the experiments say, with the errors of their number."""
    lines = [
        f"{len(records)} experiments; shifts in units of the mean error of the fit with the true densities",
        f"{'':10s}{'n':>4s}{'found - true':>18s}{'found - exact fit':>20s}{'spread / error':>17s}"
        f"{'68.3 % covers':>16s}{'95 % covers':>14s}{'error / exact':>16s}{'KL region':>12s}{'KL window':>12s}",
    ]
    for arm in ARMS:
        own = [record["arms"][arm] for record in records if arm in record["arms"]]
        if not own:
            continue
        n = len(own)
        value, true = np.array([each["value"] for each in own]), own[0]["true"]
        exact = np.array([each["exact"] for each in own])
        ends = np.array([each["interval"] for each in own])
        error, unit = 0.5 * (ends[:, 1] - ends[:, 0]), exact[:, 1].mean()
        wide = np.array([each["interval_95"] for each in own])
        covered = [np.mean((e[:, 0] <= true) & (true <= e[:, 1])) for e in (ends, wide)]
        doubt = [np.sqrt(max(c * (1.0 - c), 0.5 / n) / n) for c in covered]
        pull = (value - true) / error
        shift, learned = (value - true) / unit, (value - exact[:, 0]) / unit
        apart = [np.std(each, ddof=1) / np.sqrt(n) for each in (shift, learned)]
        kl = [np.array([each["divergence"][w] for each in own]) for w in ("region", "window")]
        lines.append(
            f"{arm:10s}{n:4d}{shift.mean():+11.2f} +- {apart[0]:.2f}{learned.mean():+13.2f} +- {apart[1]:.2f}"
            f"{pull.std(ddof=1):9.2f} +- {pull.std(ddof=1) / np.sqrt(2 * n - 2):.2f}"
            f"{100 * covered[0]:9.0f} +- {100 * doubt[0]:.0f}{100 * covered[1]:9.0f} +- {100 * doubt[1]:.0f}"
            f"{error.mean() / unit:13.2f}{kl[0].mean():15.4f}{kl[1].mean():12.4f}"
        )
    both = [r["arms"] for r in records if {"plain", "masked"} <= set(r["arms"])]
    if len(both) > 1:
        unit = np.mean([each["plain"]["exact"][1] for each in both])
        moved = np.array([each["masked"]["value"] - each["plain"]["value"] for each in both]) / unit
        lines.append(f"masked - plain: {moved.mean():+.2f} +- {moved.std(ddof=1) / np.sqrt(len(both)):.2f} error")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=40, help="how many (default 40)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--background", type=int, default=6_000, help="background events (default 6000)")
    parser.add_argument("--signal", type=int, default=80, help="signal events (default 80)")
    parser.add_argument("--members", type=int, default=5, help="seeds of each density (default 5)")
    parser.add_argument("--bootstraps", type=int, default=5, help="resampled densities (default 5)")
    parser.add_argument("--preset", default="standard", help="length of the trainings")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS, help="which measurements")
    parser.add_argument("--out", type=Path, default=Path("runs/windows"), help="folder of the study")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.WARNING)  # a Gaussian peak is far below the background in the sidebands
    training = {"members": options.members, "bootstraps": options.bootstraps, "preset": options.preset}
    for number in range(options.first, options.experiments):
        path = options.out / f"{number:04d}.json"
        if not path.exists():
            record = run(number, options.background, options.signal, tuple(options.arms), **training)
            write_bytes(path, json.dumps(record).encode())
            print(path.name, flush=True)
    world = world_of(options.background, options.signal)
    for order in range(3):
        costs = world.leverage(order), world.leverage(order, (WINDOW,))
        print(
            f"error of a polynomial of degree {order} at the peak: {costs[0]:.2f} without, {costs[1]:.2f} with the mask"
        )
    print(table([json.loads(path.read_bytes()) for path in sorted(options.out.glob("*.json"))]))


if __name__ == "__main__":
    main()
