"""Figures of a search: the signal's share, its features, the mass of what looks like it, and what the toys find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import gumbel_r

from hisigma_zfit.report import plotting
from hisigma_zfit.report.axes import dress_likelihood
from hisigma_zfit.report.explanations import contours
from hisigma_zfit.report.improvement_figures import improvement_curves
from hisigma_zfit.report.labels import axis_label
from hisigma_zfit.report.scan_figures import window_scan
from hisigma_zfit.report.style import LABEL, finish, frame, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from hisigma_zfit.results import LearnedFeature, Projection, Search, ShareProfile, TrainingHistory

__all__ = ["learned_feature", "null_distribution", "profile_of_share", "search_figures", "yield_response"]

_BLUE, _RED, _GREY, _ORANGE = "#5790fc", "#e42536", "#717581", "#f89c20"


def search_figures(
    search: Search,
    profile: ShareProfile | None = None,
    learned: Sequence[LearnedFeature] = (),
    enriched: Projection | None = None,
    histories: Sequence[TrainingHistory] = (),
    *,
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> dict[str, Figure]:
    """Draw everything that a search has results for.

    Args:
        search: The result.
        profile: Test statistic against the signal's share.
        learned: Observables of the learned signal.
        enriched: Mass of the events that look like it.
        histories: Losses of the training.
        labels: The user's own names of observables.
        label: Text above the frames; its first word is set in bold.
        right_label: Text above the frames at the right.

    Returns:
        Figures by name: ``profile_share``, ``learned_NAME``, ``enriched_NAME``, ``null``, ``response``, ``family``,
        ``scan``, ``improvement``, ``training``.
    """
    words = {"label": label, "right_label": right_label}
    figures = {}
    if profile is not None:
        figures["profile_share"] = profile_of_share(profile, **words)
    for feature in learned:
        figures[f"learned_{feature.name}"] = learned_feature(feature, labels=labels, **words)
    if enriched is not None:
        name = enriched.observable
        figures[f"enriched_{name}"] = plotting.projection(enriched, labels=labels, label=label, right_label=right_label)
    if search.null is not None and len(search.null.t):
        figures["null"] = null_distribution(search, **words)
    if search.response is not None:
        figures["response"] = yield_response(search, **words)
    if search.family is not None and search.family.contours:
        figures["family"] = contours(search.family.contours, labels=labels, label=label, right_label=right_label)
    if search.scan is not None and search.scan.n_toys:
        figures["scan"] = window_scan(search.scan, mass=search.mass, labels=labels, **words)
    if search.comparison:
        figures["improvement"] = improvement_curves(search.comparison, label=label, right_label=right_label)
    if histories:
        figures["training"] = plotting.training(histories, label=label, right_label=right_label)
    return figures


def profile_of_share(what: ShareProfile, *, label: str = LABEL, right_label: str = "") -> Figure:
    """How much worse the best lumps of each share of the events are than the best of all.

    Args:
        what: The profile.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    with styled():
        figure, axes = frame(left=0.14, width=0.76)
        lost = float(what.t.max()) - what.t
        events = what.share * what.n_events
        axes.plot(events, lost, color=_BLUE, linewidth=3, label="Best lump of each yield")
        axes.axvline(what.best * what.n_events, ymax=0.7, color=_RED, linestyle="--", linewidth=2, label="Best")
        top = float(np.clip(1.45 * lost[0], 8.0, 60.0))
        axes.set_xlim(0.0, events[-1])
        dress_likelihood(axes, xlabel="Signal events in the window", top=top, truth=None)
        axes.legend(loc="upper right", fontsize=19)
        return finish(figure, axes, label, right_label)


def learned_feature(
    what: LearnedFeature, *, labels: Mapping[str, str] | None = None, label: str = LABEL, right_label: str = ""
) -> Figure:
    """An observable of the learned signal beside the background, and the truth where it is known.

    Args:
        what: The observable.
        labels: The user's own names of observables.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    with styled():
        figure, axes = frame(left=0.17, width=0.77)
        axes.stairs(what.background, what.edges, color=_BLUE, fill=True, alpha=0.35, label="Learned background")
        axes.stairs(what.signal, what.edges, color=_RED, linewidth=3, label="Learned signal")
        top = float(max(what.background.max(), what.signal.max()))
        if what.truth is not None and what.truth_error is not None:
            wide = len(what.edges) // len(what.truth)  # its bins are wider
            bounds = what.edges[::wide]
            axes.errorbar(
                0.5 * (bounds[1:] + bounds[:-1]),
                what.truth,
                xerr=0.5 * np.diff(bounds),
                yerr=what.truth_error,
                fmt="o",
                color="black",
                markersize=7,
                label="True signal",
            )
            top = max(top, float((what.truth + what.truth_error).max()))
        axes.set_xlim(what.edges[0], what.edges[-1])
        axes.set_ylim(0.0, 1.45 * top)
        axes.set_xlabel(axis_label(what.name, labels=labels))
        axes.set_ylabel("Probability density")
        axes.legend(loc="upper right", fontsize=19)
        return finish(figure, axes, label, right_label)


def null_distribution(what: Search, *, label: str = LABEL, right_label: str = "") -> Figure:
    """Test statistics of retrained background-only experiments, with the fitted tail and what was seen.

    Args:
        what: A search with toys.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    assert what.null is not None
    toys = what.null.t
    with styled():
        figure, axes = frame()
        seen = None if what.found is None else what.found.t
        low, high = float(toys.min()), float(toys.max())
        edge = 0.02 * (high - low) + 0.5
        bins = np.linspace(low - edge, high + edge, 4 + int(len(toys) ** 0.5))
        counts, _ = np.histogram(toys, bins)
        axes.stairs(counts, bins, fill=True, color=_BLUE, alpha=0.45, label=f"{len(toys)} retrained toys")
        right = max(high, seen or 0.0) * 1.12
        p = what.p_value
        if p is not None and np.isfinite(p.location):
            grid = np.linspace(0.8 * low, right, 400)
            width = bins[1] - bins[0]
            curve = len(toys) * width * gumbel_r.pdf(grid, p.location, p.scale)
            axes.plot(grid, curve, color=_GREY, linewidth=3, label=f"Gumbel, KS $p$ = {p.ks:.2f}")
        if seen is not None:
            axes.axvline(seen, ymax=0.65, color=_RED, linewidth=3, linestyle="--", label=f"Data, $T$ = {seen:.1f}")
        axes.set_xlim(0.8 * low, right)
        axes.set_ylim(0.0, 1.55 * float(counts.max()))
        axes.set_xlabel("Test statistic $T$")
        axes.set_ylabel("Toys")
        axes.legend(loc="upper right", fontsize=19)
        return finish(figure, axes, label, right_label)


def yield_response(what: Search, *, label: str = LABEL, right_label: str = "") -> Figure:
    """Yields that experiments return against what was injected, and the inversion of what the data returned.

    Args:
        what: A search with a response.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    assert what.response is not None
    own = what.response
    with styled():
        figure, axes = frame()
        for true, row in zip(own.truths, own.found, strict=True):
            axes.plot(np.full(len(row), true), row, "o", color=_GREY, markersize=5, alpha=0.5, zorder=1)
        axes.errorbar(
            own.truths, own.means, yerr=own.widths, fmt="s", color=_BLUE, markersize=9, label="Mean and spread"
        )
        top = float(max(own.truths[-1], own.found.max())) * 1.05
        axes.plot([0, top], [0, top], color=_GREY, linestyle=":", linewidth=2, label="What was injected")
        axes.axhline(own.value, color=_RED, linewidth=2, linestyle="--", label="Data")
        low, high = own.interval_68  # the upper edge may be open
        axes.axvspan(low, min(high, top), ymax=0.7, color=_ORANGE, alpha=0.3, linewidth=0, label="68.3 % interval")
        axes.set_xlim(-0.03 * top, top)
        axes.set_ylim(-0.03 * top, 1.45 * top)
        axes.set_xlabel("Signal events injected")
        axes.set_ylabel("Learned yield")
        axes.legend(loc="upper left", fontsize=19)
        return finish(figure, axes, label, right_label)
