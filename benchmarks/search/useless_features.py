"""What useless features cost a search: its statistic with lumps in all features, and with lumps in chosen ones.

    python benchmarks/search/useless_features.py [SETS [WORLD ...]]    for example 10 4+0 4+4r

The background is a normal that is known exactly, plain or with correlations between useful and useless features (r);
the signal a lump of 60 to 150 events among 40,000: mass of width 0.5, useful features of width 0.45 at 1.5, 1.5, -1,
-1, 1, ...; useless features follow the background given the rest.  There are SETS data sets with each signal, twice as
many without one; smaller signals are among the larger ones.  "all" is a lump in every feature, "chosen" what
`find_signal` does, and the oracle starts from the true lump.  A lump counts as found when it holds a quarter of the
signal's events.  Numpy only; the seeds are fixed.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.inference import lump_starts
from hisigma_zfit.inference.blobs import Blobs, Maximum, Points, completed, maximise
from hisigma_zfit.learn.streams import Purpose, stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisigma_zfit.arrays import Array, Mask

BACKGROUND, MOST_SIGNAL = 40_000, 200
PLACE = np.array([0.0, 1.5, 1.5, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0])
WIDTH = np.array([0.5] + [0.45] * 8)
CENTRES, KEEP = 400, 10


@dataclass(frozen=True)
class World:
    """Useful and useless features, and the correlation of the latter with others."""

    useful: int
    useless: int
    correlation: float = 0.0

    @property
    def name(self) -> str:
        """Such as 4+4r: r for related."""
        return f"{self.useful}+{self.useless}" + ("r" if self.correlation else "")

    @property
    def covariance(self) -> Array:
        """Of the background; useless features follow a useful one each, every fourth the mass (with less)."""
        covariance = np.eye(1 + self.useful + self.useless)
        for j in range(self.useless):
            other, size = (0, 0.4 * self.correlation) if j % 4 == 3 else (1 + j % self.useful, self.correlation)
            covariance[1 + self.useful + j, other] = covariance[other, 1 + self.useful + j] = size
        return covariance

    def events(self, n_signal: int, number: int) -> tuple[Points, Mask]:
        """Data set of a number, with the events of the smaller signals among those of the larger ones."""
        rng = stream(number, Purpose.SEARCH_FEATURES, self.useful, self.useless)
        known, overall = 1 + self.useful, self.covariance
        y = rng.standard_normal((BACKGROUND, len(overall))) @ np.linalg.cholesky(overall).T
        normal = rng.standard_normal((MOST_SIGNAL, len(overall)))
        lump = PLACE[:known] + WIDTH[:known] * normal[:, :known]
        slopes = overall[known:, :known] @ np.linalg.inv(overall[:known, :known])
        rest = np.linalg.cholesky(overall[known:, known:] - slopes @ overall[:known, known:])
        signal = np.column_stack([lump, lump @ slopes.T + normal[:, known:] @ rest.T])
        y = np.concatenate([y, signal[:n_signal]])
        precision, log_det = np.linalg.inv(overall), np.linalg.slogdet(overall)[1]
        log_density = -0.5 * (np.einsum("ni,ij,nj->n", y, precision, y) + log_det + len(overall) * np.log(2.0 * np.pi))
        return Points.of(y, log_density), np.arange(len(y)) >= BACKGROUND

    def truth(self, points: Points, n_signal: int) -> Blobs:
        """The true lump."""
        size, known = points.y.shape[1], 1 + self.useful
        mean, covariance = np.zeros(size), np.eye(size)
        mean[:known], covariance[range(known), range(known)] = PLACE[:known], WIDTH[:known] ** 2
        active = (np.arange(size) < known)[None, None]
        means, covariances = completed(points, mean[None, None], covariance[None, None], active)
        return Blobs(np.array([[n_signal / len(points)]]), means, covariances, active)


def in_all(points: Points, rng: np.random.Generator) -> Maximum:
    """Lumps in every feature, as with four of them."""
    own = lump_starts.ACTIVE, lump_starts.GENERATIONS
    lump_starts.ACTIVE, lump_starts.GENERATIONS = (points.y.shape[1] - 1,), 0
    begin = lump_starts.starts(points, number=CENTRES, keep=KEEP, rng=rng)
    lump_starts.ACTIVE, lump_starts.GENERATIONS = own
    return maximise(points, begin)


def in_chosen(points: Points, rng: np.random.Generator) -> Maximum:
    """What `find_signal` does."""
    return maximise(points, lump_starts.promising(points, number=CENTRES, keep=KEEP, rng=rng))


def line(world: World, n_signal: int, recipe: str, sets: int) -> str:
    """One row of the table."""
    search: Callable[[Points, np.random.Generator], Maximum] | None = {"all": in_all, "chosen": in_chosen}.get(recipe)
    rows = []
    for number in range(sets):
        points, is_signal = world.events(n_signal, number)
        begun = time.process_time()
        if search is None:
            found = maximise(points, world.truth(points, n_signal))
        else:
            found = search(points, stream(number, Purpose.SEARCH_FEATURES))
        spent, k = time.process_time() - begun, found.best()
        best = found.blobs.take(np.array([k]))
        odds = best.total[0] * np.exp(np.minimum(best.log_ratio(points)[:, 0], 600.0))
        probability = odds / (1.0 - best.total[0] + odds)
        held = float(probability[is_signal].mean()) if n_signal else 0.0
        rows.append((found.statistic[k], held > 0.25, best.total[0] * len(points), best.mask[0, 0, 1:].sum(), spent))
    t, caught, events, active, cpu = np.array(rows, dtype=float).T
    low, middle, high = np.quantile(t, [0.05, 0.5, 0.95])
    return (
        f"| {world.name:4s} | {n_signal:3d} | {recipe:6s} | {t.mean():5.1f} +- {t.std(ddof=1) / np.sqrt(sets):4.1f} | "
        f"{low:5.1f} {middle:5.1f} {high:5.1f} | {caught.mean():4.2f} | {np.median(events):5.0f} | "
        f"{active.mean():4.1f} | {cpu.mean():4.2f} |"
    )


def main(sets: int, names: list[str]) -> None:
    """Print the table."""
    print("| features | S | lump in | mean T | 5, 50, 95 % | found | yield | active | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|")
    worlds = [World(4, 0), World(4, 1), World(4, 4), World(4, 4, 0.5), World(8, 0)]
    for world in [world for world in worlds if not names or world.name in names]:
        signals = (0, 60, 100, 150) if world in (World(4, 0), World(4, 4)) else (0, 100)
        for n_signal in signals:
            for recipe in ("all", "chosen", "oracle") if n_signal else ("all", "chosen"):
                print(line(world, n_signal, recipe, sets if n_signal else 2 * sets), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, sys.argv[2:])
