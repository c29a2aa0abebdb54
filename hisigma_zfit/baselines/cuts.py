"""Where to cut on a classifier: the classes of events that promise the smallest error of the signal yield."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.baselines.weighted import LEAST_BACKGROUND, effective_number, quantiles

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["Candidates"]


_CUTS = 200  # quantiles of the signal at which cuts are tried


@dataclass(frozen=True)
class Candidates:
    """Cuts between which classes may lie, and what a class from one to another is worth.

    Attributes:
        cuts: Log odds, from minus to plus infinity, shape (n + 1,).
        worth: S^2 / (S + B) of the class from one cut to another, shape (n + 1, n + 1); minus infinity for a class with
            too little simulated background.
    """

    cuts: Array
    worth: Array

    @classmethod
    def of(
        cls,
        signal: Array,
        background: Array,
        expected: float,
        *,
        signal_weights: Array | None = None,
        background_weights: Array | None = None,
    ) -> Candidates:
        """Quantiles of the signal.

        Args:
            signal: Log odds of simulated signal inside of the signal region, shape (k,).
            background: The same of background, shape (l,).
            expected: Signal by background events there; zero for S^2 / B.
            signal_weights: Weights of `signal`, at least zero, shape (k,); one by default.
            background_weights: The same of `background`, shape (l,).
        """
        samples = [
            (scores, np.ones(scores.size) if weights is None else weights)
            for scores, weights in ((signal, signal_weights), (background, background_weights))
        ]
        cuts = np.unique(quantiles(*samples[0], np.linspace(0.0, 1.0, _CUTS + 1)))
        cuts[0], cuts[-1] = -np.inf, np.inf
        s, b = (_between(cuts, scores, weights) / weights.sum() for scores, weights in samples)
        scores, weights = samples[1]
        known = effective_number(*(_between(cuts, scores, weights**power) for power in (1, 2)))
        enough = known > LEAST_BACKGROUND - 0.5
        worth = s**2 / np.where(enough, expected * s + b, 1.0)
        return cls(cuts, np.where(enough, worth, -np.inf))

    def best_cut(self) -> float:
        """Lower edge of the class without an upper one that is worth most."""
        return float(self.cuts[self.worth[:, -1].argmax()])

    def best_classes(self, n: int) -> tuple[float, ...]:
        """Edges of the n classes that cover everything and maximise the sum of their worth, by dynamic programming."""
        best, steps = self.worth[:, -1], []
        for _ in range(n - 1):
            total = self.worth + best[None, :]  # a class from one cut to another, and the best classes above
            steps.append(total.argmax(axis=1))
            best = total.max(axis=1)
        at, edges = 0, [self.cuts[0]]
        for step in reversed(steps):
            at = int(step[at])
            edges.append(self.cuts[at])
        return (*map(float, edges), np.inf)


def _between(cuts: Array, scores: Array, weights: Array) -> Array:
    """Sum of weights from one cut to another, shape (n + 1, n + 1); zero where the second is below the first."""
    order = np.argsort(scores)
    cumulative = np.concatenate([[0.0], np.cumsum(weights[order])])
    below = cumulative[np.searchsorted(scores[order], cuts)]
    return np.maximum(below[None, :] - below[:, None], 0.0)
