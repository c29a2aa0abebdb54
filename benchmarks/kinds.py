"""How far features with kinds move a yield: known densities, drawn and trained again.

    python benchmarks/kinds.py --worlds angle narrow integer spike all plain --experiments 10 --out runs/kinds

Each experiment draws background events, trains their density, and fits the expected data of 5,000 background and 200
signal events without a mass shape; the signal's density is exact.  Prints for each world what is left of the
divergence in nats, the mean of p_s / p_b over background, exactly 1, and the shift of the yield in units of its error:
mean, error of the mean and spread over trainings.  With --halves also that of the value that a measurement quotes, from
trainings on both halves of the events less what they find unseen.  Finished experiments are kept in the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")

import numpy as np
from scipy import stats

import hisigma_zfit as hz
from hisigma_zfit.density.training import train_halves
from hisigma_zfit.files import write_bytes
from hisigma_zfit.inference.unseen import Hypothesis, Taught, unseen_yield

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["WORLDS", "Truth", "World", "yields"]

MASSES = (100.0, 150.0)
N_BACKGROUND, N_SIGNAL = 5000, 200
N_TRUTH = (60_000, 15_000)
TURN = 2.0 * np.pi
NO_ANGLE = -9.0
KINDS = {
    "n": "integer:0:5",
    "pt": "spike:0",
    "phi": "periodic",
    "far": "periodic",
    "first": "periodic",
    "second": "periodic",
}


@dataclass(frozen=True)
class World:
    """An exponential x, and of what follows from it and the mass some features.

    n ~ Poisson up to 5, the rest at 5; pt is 0 with a probability that falls with n, else 30 + an exponential;
    y is normal and phi von Mises around a direction that turns with x; far is von Mises around pi, the wider the
    smaller x; first is uniform and second opposite to it, up to an angle of von Mises.

    Attributes:
        features: Which of them there are, x first.
        tied: Whether events whose pt is 0 have no phi, but -9.
    """

    features: tuple[str, ...]
    tied: bool = False
    kinds: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        own = {name: KINDS[name] for name in self.features if name in KINDS}
        object.__setattr__(self, "kinds", own | ({"phi": f"{KINDS['phi']}+spike:{NO_ANGLE:g}"} if self.tied else {}))

    def sample(self, m: Array, tilt: float, rng: np.random.Generator) -> Array:
        """Events at masses of shape (n,): background where the tilt is 0, signal where it is 1; shape (n, d)."""
        x = rng.exponential(1.0 + 0.3 * tilt, len(m))
        n = np.minimum(rng.poisson(_number(m, x, tilt)), 5)
        none = rng.random(len(m)) < _none(m, n, tilt)
        pt = np.where(none, 0.0, 30.0 + rng.exponential(_scale(x)))
        phi = _turned(_direction(x, tilt) + rng.vonmises(0.0, 2.0, len(m)))
        far = _turned(np.pi + rng.vonmises(0.0, _narrow(x, tilt)))
        first = rng.uniform(-np.pi, np.pi, len(m))
        second = _turned(first + np.pi + rng.vonmises(0.0, _close(x, tilt)))
        y = _direction(x, tilt) + 0.7 * rng.standard_normal(len(m))
        columns = {"x": x, "y": y, "n": n, "pt": pt, "phi": np.where(none & self.tied, NO_ANGLE, phi), "far": far}
        columns |= {"first": first, "second": second}
        return np.stack([columns[name] for name in self.features], axis=1)

    def log_prob(self, events: Array, m: Array, tilt: float) -> Array:
        """Exact log p(features | m), shape (n,)."""
        column = dict(zip(self.features, events.T, strict=True))
        x = column["x"]
        total = stats.expon.logpdf(x, scale=1.0 + 0.3 * tilt)
        if "y" in column:
            total += stats.norm.logpdf(column["y"], _direction(x, tilt), 0.7)
        number = np.arange(6.0)[:, None]
        mean = _number(m, x, tilt)
        chances = np.where(number < 5, stats.poisson.pmf(number, mean), stats.poisson.sf(4, mean))
        if "n" in column:
            at = column["n"].astype(int)
            total += np.log(chances[at, np.arange(len(m))])
        if "pt" in column:
            none = _none(m, column["n"], tilt) if "n" in column else np.sum(chances * _none(m, number, tilt), axis=0)
            away = column["pt"] > 0
            beside = np.log1p(-none) - np.log(_scale(x)) - (column["pt"] - 30.0) / _scale(x)
            total += np.where(away, beside, np.log(none))
        if "phi" in column:
            away = column["phi"] != NO_ANGLE
            total += np.where(away, stats.vonmises.logpdf(column["phi"] - _direction(x, tilt), 2.0), 0.0)
        if "far" in column:
            total += stats.vonmises.logpdf(column["far"] - np.pi, _narrow(x, tilt))
        if "second" in column:
            total += stats.vonmises.logpdf(column["second"] - column["first"] - np.pi, _close(x, tilt))
            total -= np.log(TURN)
        return total

    def dataset(self, n: int, tilt: float, rng: np.random.Generator) -> hz.Dataset:
        """Events of all masses alike."""
        m = rng.uniform(*MASSES, n)
        return hz.Dataset.from_arrays({"m": m, **dict(zip(self.features, self.sample(m, tilt, rng).T, strict=True))})


def _number(m: Array, x: Array, tilt: float) -> Array:
    return np.exp(-0.3 + 0.5 * tilt + 0.012 * (m - 125.0) + 0.5 * np.tanh(x - 1.0))


def _none(m: Array, n: Array, tilt: float) -> Array:
    return 1.0 / (1.0 + np.exp(-(0.3 - 0.7 * n + 0.02 * (m - 125.0) - tilt)))


def _scale(x: Array) -> Array:
    return 30.0 * (1.0 + 0.4 * np.tanh(x))


def _direction(x: Array, tilt: float) -> Array:
    return 2.5 + 1.5 * np.tanh(x - 1.0) + 0.5 * tilt


def _narrow(x: Array, tilt: float) -> Array:
    return (20.0 - 10.0 * tilt) * (1.0 + 0.5 * np.tanh(x))


def _close(x: Array, tilt: float) -> Array:
    return (10.0 - 5.0 * tilt) * (1.0 + 0.5 * np.tanh(x))


def _turned(angle: Array) -> Array:
    return (angle + np.pi) % TURN - np.pi


WORLDS = {
    "plain": World(("x", "y")),
    "angle": World(("x", "phi")),
    "narrow": World(("x", "far")),
    "pair": World(("x", "first", "second")),
    "integer": World(("x", "n")),
    "spike": World(("x", "pt")),
    "all": World(("x", "n", "pt", "phi"), tied=True),
}


def yields(ratio: Array, weights: Array) -> Array:
    """Signal and background that maximise the likelihood of weighted events, and the signal's error; shape (3,).

    Args:
        ratio: p_s / p_b of each event, shape (n,).
        weights: Expected events, shape (n,).
    """
    theta = np.array([float(N_SIGNAL), float(N_BACKGROUND)])
    for _ in range(100):
        shares = np.stack([ratio, np.ones_like(ratio)]) / (theta[0] * ratio + theta[1])
        curvature = (shares * weights) @ shares.T
        step = np.linalg.solve(curvature, shares @ weights - 1.0)
        # the total stays positive: half of the way to where the smallest event loses its density
        theta = theta + step * min(1.0, 0.5 * theta[1] / max(abs(step[1]), 1e-9), 400.0 / max(abs(step[0]), 1e-9))
        if abs(step[0]) < 1e-7 * N_SIGNAL:
            break
    return np.append(theta, np.sqrt(np.linalg.inv(curvature)[0, 0]))


class Truth:
    """A large sample of the expected data."""

    def __init__(self, world: World) -> None:
        rng = np.random.default_rng(2026)
        masses = [rng.uniform(*MASSES, n) for n in N_TRUTH]
        parts = [world.sample(m, tilt, rng) for m, tilt in zip(masses, (0.0, 1.0), strict=True)]
        self.m, self.x = np.concatenate(masses), np.concatenate(parts)
        self.weights = np.repeat([N_BACKGROUND / N_TRUTH[0], N_SIGNAL / N_TRUTH[1]], N_TRUTH)
        self.log_b, self.log_s = (world.log_prob(self.x, self.m, tilt) for tilt in (0.0, 1.0))
        # the fit of this very sample with the exact densities: what is compared with it has no noise of the sample
        self.signal, _, self.error = yields(np.exp(self.log_s - self.log_b), self.weights)

    def fitted(self, background: Any) -> float:
        """Signal found with a density of the background."""
        return self._fit(background.log_prob_array(self.x, self.m))

    def _fit(self, log_b: Array) -> float:
        known = np.isfinite(log_b)
        return float(yields(np.exp(self.log_s - log_b)[known], self.weights[known])[0])

    def judge(self, background: Any) -> dict[str, float]:
        """What a density of the background is worth."""
        log_b = background.log_prob_array(self.x, self.m)
        own = np.arange(len(log_b)) < N_TRUTH[0]
        own &= np.isfinite(log_b)
        return {
            "nats": float(np.mean((self.log_b - log_b)[own])),
            "ratio": float(np.mean(np.exp(self.log_s - log_b)[own])),
            "shift": float((self._fit(log_b) - self.signal) / self.error),
        }


@dataclass(frozen=True)
class Exact:
    """The signal's density as `unseen_yield` takes it."""

    world: World

    @property
    def features(self) -> tuple[str, ...]:
        return self.world.features

    def log_prob_array(self, x: Array, m: Array) -> Array:
        return self.world.log_prob(x, m, 1.0)


def experiment(name: str, number: int, *, events: int, members: int, halves: bool, truth: Truth) -> dict[str, float]:
    """Draw, train, fit.

    Args:
        name: Of the world.
        number: Seeds everything.
        events: Of the training.
        members: Of the density.
        halves: Whether also both halves are trained.
        truth: Of the world.
    """
    world, rng = WORLDS[name], np.random.default_rng([number, 7])
    data = world.dataset(events, 0.0, rng)
    options: dict[str, Any] = {"given": "m", "members": members, "seed": 2 * number + 1}
    if world.kinds:
        options["kinds"] = world.kinds
    start = time.process_time()
    found = truth.judge(hz.train_flow(data, world.features, **options))
    found["cpu_s"] = time.process_time() - start
    if not halves:
        return found
    flat = Hypothesis(np.ones_like, np.ones_like, N_SIGNAL, N_BACKGROUND, hz.SignalRegion(*MASSES))
    simulation = world.dataset(events, 1.0, rng)
    taught = Taught(data, options["seed"])
    fitted = []
    for half, flow in enumerate(train_halves(data, world.features, **options)):
        spurious = unseen_yield(flow, Exact(world), taught.unseen(half), simulation, flat, rng=rng) - N_SIGNAL
        fitted.append((truth.fitted(flow) - truth.signal, spurious))
    of_halves, unseen = np.mean(fitted, axis=0) / truth.error
    return found | {"halves": float(of_halves), "quoted": float(of_halves - unseen)}


def _told(name: str, records: list[dict[str, float]]) -> str:
    def of(key: str) -> str:
        values = np.array([record[key] for record in records if key in record])
        if len(values) < 2:
            return f"{'-':>22}"
        return f"{values.mean():+8.2f} +- {values.std(ddof=1) / len(values) ** 0.5:.2f} ({values.std(ddof=1):4.2f})"

    nats, ratio = ([record[key] for record in records] for key in ("nats", "ratio"))
    return (
        f"{name:9} {len(records):3} {np.mean(nats):8.4f} {np.mean(ratio):7.3f} {max(ratio):7.3f} "
        f"{of('shift')} {of('halves')} {of('quoted')}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", default=["angle", "narrow", "integer", "spike", "all", "plain"])
    parser.add_argument("--experiments", type=int, default=10, help="of each world (default 10)")
    parser.add_argument("--events", type=int, default=20_000, help="of each training (default 20000)")
    parser.add_argument("--members", type=int, default=1, help="of each density (default 1)")
    parser.add_argument("--halves", action="store_true", help="also the value from halves, thrice the work")
    parser.add_argument("--out", type=Path, default=Path("runs/kinds"), help="folder of the study")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"{'world':9} {'n':>3} {'nats':>8} {'ratio':>7} {'largest':>7} {'shift':>22} {'halves':>22} {'quoted':>22}")
    for name in options.worlds:
        records, truth = [], Truth(WORLDS[name])
        for number in range(options.experiments):
            path = options.out / f"{name}-{options.events}-{options.members}-{int(options.halves)}-{number:03}.json"
            if not path.exists():
                record = experiment(
                    name,
                    number,
                    events=options.events,
                    members=options.members,
                    halves=options.halves,
                    truth=truth,
                )
                write_bytes(path, json.dumps(record).encode())
            records.append(json.loads(path.read_text()))
        print(_told(name, records), flush=True)


if __name__ == "__main__":
    main()
