"""How well the search's scores tell signal from background, beside others', where somebody knows the truth."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hisigma_zfit.baselines.anomaly_scores import (
    TIMES,
    background_events,
    cross_fitted_scores,
    residual_fit,
    supervised_classifier,
    weak_classifier,
)
from hisigma_zfit.baselines.classifiers import with_folds
from hisigma_zfit.errors import InputError
from hisigma_zfit.statistics.significance_improvement import significance_improvement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.inference.search import FoundSignal
    from hisigma_zfit.results import SicCurve

__all__ = ["compare"]

_log = logging.getLogger(__name__)

SEEDS = 3  # of each classifier, whose scores are averaged


def compare(
    found: FoundSignal, events: Dataset, truth: Mask, names: Sequence[str], *, folds: int, seed: int
) -> dict[str, SicCurve]:
    """Significance improvement of the search's cross-fitted scores and of others; no event is scored by what saw it.

    Args:
        found: The search.
        events: Its events, in order.
        truth: Which of them are signal, shape (n,).
        names: Others: ``"classifier"`` (data against the learned background, arXiv:2109.00546), ``"flow"`` (a free flow
            as signal, arXiv:2312.11629), ``"supervised"``.
        folds: Of the others.
        seed: Of everything that is random.

    Returns:
        ``"search"`` by the features alone, ``"search, with mass"``, and the others.
    """
    features = found.result.features
    own = cross_fitted_scores(found)
    scores: dict[str, Array] = {"search": own.x_only, "search, with mass": own.joint}
    if "classifier" in names:
        drawn = background_events(found.scene, TIMES * len(events), seed=seed)
        scores["classifier"] = weak_classifier(events, drawn, features, folds=folds, seeds=SEEDS, seed=seed)(
            with_folds(events, folds)
        )
    if "flow" in names:
        scores["flow"] = residual_fit(found.scene, seed=seed).x_only
    curves = {name: curve for name, score in scores.items() if (curve := _curve(name, score[truth], score[~truth]))}
    if "supervised" in names:
        signal, others = (with_folds(events.select(mask), folds) for mask in (truth, ~truth))
        try:
            ideal = supervised_classifier(signal, others, features, folds=folds, seed=seed)
        except InputError as error:
            _log.warning("no supervised classifier: %s", error)
            return curves
        if curve := _curve("supervised", ideal(signal), ideal(others)):
            curves["supervised"] = curve
    return curves


def _curve(name: str, signal: Array, background: Array) -> SicCurve | None:
    """What too few events of known truth cannot give is left out: it must not cost the search."""
    try:
        return significance_improvement(signal, background)
    except InputError as error:
        _log.warning("no significance improvement of %s: %s", name, error)
        return None
