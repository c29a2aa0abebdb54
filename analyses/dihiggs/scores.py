"""Histograms of two classifier scores with exact templates, for comparisons in more than the signal yield.

The first score is that of HH against the continuum and sees the mass, the second tells two kinds of Higgs signal apart
by the features.  Both are cross-fitted: all simulated events give templates, none with a classifier that has seen it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from samples import FEATURES, MASS

from hisigma_zfit.baselines.classifiers import cross_fit, train_classifier, with_folds
from hisigma_zfit.baselines.template_fits import ScoreBins, TemplateLikelihood
from hisigma_zfit.baselines.weighted import weights_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import hisigma_zfit as hz
    from hisigma_zfit.baselines.classifiers import CrossFit

FOLDS = 3
ALL = (MASS, *FEATURES)
BINS = {"Binned score": (50, 1), "Two binned scores": (25, 8)}  # of the first and, in each of them, of the second


def train_scores(signal: hz.Dataset, background: hz.Dataset, names: Sequence[str], *, seed: int) -> CrossFit:
    """Cross-fitted classifier of one kind of events against another."""
    folded = (with_folds(events, FOLDS) for events in (signal, background))
    return cross_fit(*folded, FOLDS, lambda s, b, k: train_classifier(s, b, names, seed=seed + k))


def likelihoods(
    first: CrossFit, second: CrossFit, data: hz.Dataset, components: Sequence[tuple[Any, hz.Dataset]]
) -> dict[str, TemplateLikelihood]:
    """Likelihoods of one and of two scores.

    Args:
        first: Score of the signal against the continuum, of the mass and the features.
        second: Score among the signals.
        data: The data set.
        components: Yield and simulated events of each component, the continuum last.
    """

    def scores(events: hz.Dataset) -> np.ndarray:
        folded = with_folds(events, FOLDS)
        return np.stack([first(folded), second(folded)], axis=1)

    of_data, of_components = scores(data), [scores(events) for _, events in components]
    weights = [weights_of(events) for _, events in components]
    found = {}
    for name, (bins, inner) in BINS.items():
        layout = ScoreBins.of(
            np.concatenate(of_components[:-1]),
            of_components[-1],
            bins=bins,
            inner=inner,
            signal_weights=np.concatenate(weights[:-1]),
            background_weights=weights[-1],
        )
        templates = [layout.histogram(*part) for part in zip(of_components, weights, strict=True)]
        shares = np.stack([template / template.sum() for template in templates])
        squares = None if data.weights is None else layout.histogram(of_data, data.weights**2)
        found[name] = TemplateLikelihood(
            [size for size, _ in components], shares, layout.histogram(of_data, data.weights), squares
        )
    return found
