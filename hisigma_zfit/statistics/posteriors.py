"""How good shares of processes are, on weighted simulated events: arrays in, numbers out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.results.ratio_learning import CalibrationCurve, PosteriorSummary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Integers, Mask

__all__ = ["area_under_curve", "balanced_cross_entropy", "calibration_curve", "posterior_quality"]

BINS = 20


def area_under_curve(x: Array, y: Array, w: Array, v: Array) -> float:
    """Probability that an x is above a y, equal ones counted half.

    Args:
        x: Scores of one kind, shape (n,).
        y: Of the other, shape (m,).
        w: Weights of x, shape (n,).
        v: Weights of y, shape (m,).

    Example:
        >>> area_under_curve(np.array([1.0, 3.0]), np.array([2.0, 0.0]), np.ones(2), np.ones(2))
        0.75
    """
    order = np.argsort(y)
    sorted_y, cumulative = y[order], np.append(0.0, np.cumsum(v[order]))
    below = cumulative[np.searchsorted(sorted_y, x, side="left")]
    not_above = cumulative[np.searchsorted(sorted_y, x, side="right")]
    return float(w @ (below + not_above) / (2.0 * w.sum() * cumulative[-1]))


def balanced_cross_entropy(scores: Sequence[Array], weights: Sequence[Array]) -> float:
    """Mean over processes of the weighted mean of -ln q_p, q_p = (g_p / N_p) / sum_q (g_q / N_q).

    Args:
        scores: By process the shares g of its events, each of shape (n_p, P).
        weights: By process, each of shape (n_p,), with sum N_p.
    """
    sizes = np.array([w.sum() for w in weights])
    losses = []
    for p, (g, w) in enumerate(zip(scores, weights, strict=True)):
        balanced = np.maximum(g, np.finfo(float).tiny) / sizes
        losses.append(float(w @ -np.log(balanced[:, p] / balanced.sum(axis=1)) / w.sum()))
    return float(np.mean(losses))


def calibration_curve(
    name: str,
    share: Array,
    own: Mask,
    weights: Array,
    event: Integers | None = None,
    *,
    bins: int = BINS,
    region: str = "",
) -> CalibrationCurve:
    """Compare shares with fractions.

    Args:
        name: Of the process.
        share: Of it, of the events of all processes, shape (n,).
        own: Which events are of the process, shape (n,).
        weights: Of the events, shape (n,).
        event: Identity of the hard event behind each, unique among all processes, shape (n,); rows of one fluctuate
            together.  By default every row on its own.
        bins: Of equal predicted content.
        region: Where the events are.
    """
    order = np.argsort(share, kind="stable")
    content = np.cumsum((weights * share)[order])
    at = np.empty(len(share), dtype=np.intp)
    at[order] = np.minimum((content * (bins / content[-1])).astype(np.intp), bins - 1)
    total = np.bincount(at, weights, bins)
    predicted, true = np.bincount(at, weights * share, bins), np.bincount(at, weights * own, bins)
    # what each hard event adds to the difference in a bin
    cell = np.arange(len(share)) if event is None else np.unique(event, return_inverse=True)[1]
    pairs, pair = np.unique(cell * bins + at, return_inverse=True)
    difference = np.bincount(pair, weights * (own - share))
    variance = np.bincount(pairs % bins, difference**2, bins)
    used = variance > 0.0
    chi2, ndf = float(np.sum((true - predicted)[used] ** 2 / variance[used])), int(used.sum())
    scale = 1.0 / np.maximum(total, np.finfo(float).tiny)
    return CalibrationCurve(
        process=name,
        region=region,
        predicted=predicted * scale,
        fraction=true * scale,
        error=np.sqrt(variance) * scale,
        chi2=chi2,
        ndf=ndf,
        sum_predicted=float(weights @ share),
        sum_true=float(weights @ own),
    )


def posterior_quality(
    names: Sequence[str],
    scores: Sequence[Array],
    weights: Sequence[Array],
    events: Sequence[Integers] | None = None,
    *,
    kind: str,
    folds: int,
    signal: int = 0,
    bins: int = BINS,
) -> PosteriorSummary:
    """All of it, of shares before or after a calibration.

    Args:
        names: Of the processes.
        scores: By process the cross-fitted shares of its events, each of shape (n_p, P).
        weights: By process, each of shape (n_p,), with sum N_p.
        events: By process the identities of the hard events, each of shape (n_p,).
        kind: Of the classifier.
        folds: Of the cross-fitting.
        signal: Which process the others are told from.
        bins: Of the calibration curves.
    """
    joined, all_weights = np.concatenate(scores), np.concatenate(weights)
    process = np.repeat(np.arange(len(names)), [len(w) for w in weights])
    identity = None
    if events is not None:
        # the same number may name events of two processes
        span = 1 + max(int(e.max(initial=0)) for e in events)
        identity = np.concatenate(events) + span * process
    log_g = [np.log(np.maximum(g, np.finfo(float).tiny)) for g in scores]

    def ratio(of: int, to: int) -> Array:
        return np.asarray(log_g[of][:, signal] - log_g[of][:, to])

    return PosteriorSummary(
        kind=kind,
        folds=folds,
        auc={
            name: area_under_curve(ratio(signal, p), ratio(p, p), weights[signal], weights[p])
            for p, name in enumerate(names)
            if p != signal
        },
        cross_entropy=balanced_cross_entropy(scores, weights),
        calibration=tuple(
            calibration_curve(name, joined[:, p], process == p, all_weights, identity, bins=bins)
            for p, name in enumerate(names)
        ),
    )
