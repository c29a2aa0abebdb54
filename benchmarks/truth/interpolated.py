"""What a masked window costs by itself: the measurement of `windows.py` with a density that is learned in a millisecond.

    python benchmarks/truth/interpolated.py --experiments 400

Two normal features whose means and widths drift with the mass.  The background's means are learned as polynomials of the
second degree and the logarithms of its widths as lines, by maximum likelihood from the sidebands, resampled ones too, and
the signal's likewise from simulation; the fit is `asimov.TruthSample.minimum` with the shape normalised beside the window.
Nothing of it is of the package: it says what is lost to the window by counting, and whether leaving it out is right,
where a flow that is trained anew takes seconds (`windows.py`).
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from scipy.special import ndtr, ndtri

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

LOW, HIGH, REGION, WINDOW = 90.0, 180.0, (115.0, 135.0), (142.0, 158.0)
SLOPE, PEAKS, WIDTH = 2.0, (125.0, 150.0), 1.8
N_SIGNAL, N_SECOND, N_SIMULATED, RESAMPLED = 80, 160, 4_000, 10
MEAN = np.array([[0.0, 0.3, 0.15], [0.5, -0.2, 0.1]])  # of the background, polynomials in t from -1 to 1
SPREAD = np.array([[0.0, 0.1], [0.1, -0.1]])  # logarithms of its widths
SIGNAL_MEAN, SIGNAL_SPREAD = np.array([1.0, 1.2]), np.log([0.8, 0.9])


def scaled(m: Array) -> Array:
    """Masses on [-1, 1]."""
    return (2.0 * m - LOW - HIGH) / (HIGH - LOW)


@dataclass(frozen=True)
class Drifting:
    """Normal features, the means polynomials in t and the logarithms of the widths too."""

    mean: Array
    spread: Array

    def parts(self, m: Array) -> tuple[Array, Array]:
        """Means and logarithms of the widths, each of shape (2, n)."""
        t = scaled(m)
        return tuple(np.stack([np.polyval(row[::-1], t) for row in own]) for own in (self.mean, self.spread))

    def sample(self, m: Array, rng: np.random.Generator) -> Array:
        """Features, shape (2, n)."""
        mean, log_width = self.parts(m)
        return mean + np.exp(log_width) * rng.standard_normal(mean.shape)

    def log_prob(self, x: Array, m: Array) -> Array:
        """Log density, shape (n,)."""
        mean, log_width = self.parts(m)
        return np.sum(-0.5 * ((x - mean) / np.exp(log_width)) ** 2 - log_width - 0.5 * np.log(2 * np.pi), axis=0)


def learned(x: Array, m: Array, degrees: tuple[int, int], weights: Array | None = None) -> Drifting:
    """Maximum likelihood of polynomials of these degrees, by Fisher's scoring."""
    t, w = scaled(m), np.ones(len(m)) if weights is None else weights
    means, spreads = [], []
    a, b = (np.vander(t, degree + 1, increasing=True) for degree in degrees)
    for row in x:
        spread = np.zeros(b.shape[1])
        for _ in range(15):
            precision = w * np.exp(-2.0 * (b @ spread))
            mean = np.linalg.solve((a.T * precision) @ a, (a.T * precision) @ row)
            excess = (row - a @ mean) ** 2 * np.exp(-2.0 * (b @ spread)) - 1.0
            step = np.linalg.solve((b.T * w) @ b, (b.T * w) @ excess) / 2.0
            spread = spread + step
            if np.abs(step).max() < 1e-8:
                break
        means.append(mean)
        spreads.append(spread)
    return Drifting(np.array(means), np.array(spreads))


def within(m: Array, window: tuple[float, float]) -> Array:
    """Which masses are in a window."""
    return (m >= window[0]) & (m < window[1])


def fit(m: Array, ratio: Array, peak: float, masked: list[tuple[float, float]]) -> tuple[float, float]:
    """Signal and its error: the fit of `asimov.py` to these events, `ratio` being one in the sidebands."""
    t, edges = (m - LOW) / (HIGH - LOW), [0.0]
    for window in masked:
        edges += [(edge - LOW) / (HIGH - LOW) for edge in window]
    pairs = np.array([*edges, 1.0]).reshape(-1, 2)
    grid, share = np.polynomial.legendre.leggauss(32)
    nodes = np.concatenate([a + 0.5 * (b - a) * (grid + 1.0) for a, b in pairs])
    weights = np.concatenate([0.5 * (b - a) * share for a, b in pairs])
    width = WIDTH / (HIGH - LOW)
    signal = np.exp(-0.5 * ((m - peak) / WIDTH) ** 2) / (width * np.sqrt(2 * np.pi)) * ratio
    theta = np.array([60.0, float(len(m)), SLOPE, 0.0])
    for _ in range(80):
        n_s, n_b, p1, p2 = theta
        shape = np.exp(-p1 * nodes + p2 * nodes**2) * weights
        norm = shape.sum()
        moments = [shape @ nodes**k / norm for k in range(1, 5)]
        square = np.array([[moments[1], -moments[2]], [-moments[2], moments[3]]])
        mean = np.array([-moments[0], moments[1]])
        f_b = np.exp(-p1 * t + p2 * t**2) / norm
        total = n_s * signal + n_b * f_b
        derivative = np.stack([-t - mean[0], t**2 - mean[1]])
        slopes = np.concatenate([[signal], [f_b], n_b * f_b * derivative]) / total
        gradient = np.array([1.0, 1.0, 0.0, 0.0]) - slopes.sum(axis=1)
        hessian = slopes @ slopes.T
        part = n_b * f_b / total
        hessian[2:, 2:] -= (derivative * part) @ derivative.T - (square - np.outer(mean, mean)) * part.sum()
        cross = derivative @ (f_b / total)
        hessian[1, 2:] -= cross
        hessian[2:, 1] -= cross
        step = np.linalg.solve(hessian, gradient)
        theta = theta - step * min(1.0, 30.0 / max(abs(step[0]), 1e-9))
        if abs(step[0]) < 1e-5:
            break
    return float(theta[0]), float(np.sqrt(np.linalg.inv(hessian)[0, 0]))


def masses(n: int, rng: np.random.Generator) -> Array:
    """Of the background."""
    return LOW - (HIGH - LOW) * np.log1p(np.expm1(-SLOPE) * rng.random(n)) / SLOPE


def peak_masses(n: int, mean: float, rng: np.random.Generator) -> Array:
    """Of a peak, inside the range."""
    ends = ndtr((np.array([LOW, HIGH]) - mean) / WIDTH)
    return mean + WIDTH * ndtri(ends[0] + rng.random(n) * (ends[1] - ends[0]))


def experiment(number: int, n_background: int) -> dict[str, list[float]]:
    """Value, its error and the true signal of each measurement."""
    rng = np.random.default_rng([number, 41])
    background, signal = Drifting(MEAN, SPREAD), Drifting(SIGNAL_MEAN[:, None], SIGNAL_SPREAD[:, None])
    drawn = [masses(rng.poisson(n_background), rng)]
    drawn += [peak_masses(rng.poisson(n), mean, rng) for n, mean in zip((N_SIGNAL, N_SECOND), PEAKS, strict=True)]
    x = [own.sample(m, rng) for own, m in zip((background, signal, signal), drawn, strict=True)]
    simulated = peak_masses(N_SIMULATED, PEAKS[0], rng)
    p_s = learned(signal.sample(simulated, rng), simulated, (0, 0))
    found = {}
    arms = {
        "plain": (drawn[:2], x[:2], REGION, PEAKS[0], [], N_SIGNAL),
        "masked": (drawn, x, REGION, PEAKS[0], [WINDOW], N_SIGNAL),
        "unmasked": (drawn, x, REGION, PEAKS[0], [], N_SIGNAL),
        "swapped": (drawn, x, WINDOW, PEAKS[1], [REGION], N_SECOND),
    }
    for arm, (m, features, region, peak, masked, true) in arms.items():
        every, events = np.concatenate(m), np.concatenate(features, axis=1)
        kept = ~np.any([within(every, window) for window in masked], axis=0) if masked else np.ones(every.size, bool)
        every, events = every[kept], events[:, kept]
        inside = within(every, region)
        t_x, t_m = events[:, ~inside], every[~inside]

        def value(p_b: Drifting) -> tuple[float, float]:
            ratio = np.ones(every.size)  # noqa: B023 - called at once
            own = events[:, inside], every[inside]  # noqa: B023
            ratio[inside] = np.exp(p_s.log_prob(*own) - p_b.log_prob(*own))  # noqa: B023
            # beside the region only the mass counts
            return fit(every, ratio, peak, masked)  # noqa: B023

        central, error = value(learned(t_x, t_m, (2, 1)))
        resampled = [
            value(learned(t_x, t_m, (2, 1), rng.poisson(1.0, t_m.size).astype(float)))[0] for _ in range(RESAMPLED)
        ]
        exact, unit = value(background)
        found[arm] = [central, error, float(np.std(resampled, ddof=1)), exact, unit, true]
    return found


def table(records: list[dict[str, list[float]]]) -> str:
    """Bias, width and coverage with the errors of their number."""
    n = len(records)
    lines = [
        f"{n} experiments; shifts in units of the mean error of the fit with the true densities",
        f"{'':10s}{'found - true':>18s}{'found - exact':>18s}{'spread / error':>18s}{'68.3 % covers':>18s}"
        f"{'95 % covers':>16s}{'error / exact':>16s}",
    ]
    for arm in records[0]:
        value, error, training, exact, unit, true = np.array([record[arm] for record in records]).T
        whole, size = np.hypot(error, training), unit.mean()
        shift, apart = (value - true) / size, (value - exact) / size
        pull = (value - true) / whole
        covered = [np.mean(np.abs(pull) < z) for z in (1.0, 1.96)]
        lines.append(
            f"{arm:10s}{shift.mean():+10.3f} +- {shift.std() / np.sqrt(n):.3f}"
            f"{apart.mean():+10.3f} +- {apart.std() / np.sqrt(n):.3f}"
            f"{pull.std():11.3f} +- {pull.std() / np.sqrt(2 * n):.3f}"
            + "".join(f"{100 * c:10.1f} +- {100 * np.sqrt(c * (1 - c) / n):.1f}" for c in covered)
            + f"{whole.mean() / size:14.3f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=400, help="how many (default 400)")
    parser.add_argument("--background", type=int, default=6_000, help="background events (default 6000)")
    parser.add_argument("--out", type=Path, default=Path("runs/interpolated.jsonl"), help="an experiment a line")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    done = len(options.out.read_text().splitlines()) if options.out.exists() else 0
    for number in range(done, options.experiments):
        with options.out.open("a") as file:
            file.write(f"{json.dumps(experiment(number, options.background))}\n")
    print(table([json.loads(line) for line in options.out.read_text().splitlines()]))


if __name__ == "__main__":
    main()
