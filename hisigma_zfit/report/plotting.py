"""Figures: values in, `matplotlib.figure.Figure` out.

Nothing here fits, reads a file or touches pyplot's global state: every figure stands alone, and the style of mplhep is
applied in a context that ends with the function.  What to use when:

- `projection`: one observable in data and fitted model, with a panel of pulls (figures 4 to 6 of arXiv:2506.06438);
- `scan`: the profiled likelihood of each trained member and of their combination (figure 8);
- `training`: losses of the density trainings;
- `save`: PDF and PNG without dates, so that equal results give equal files.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from hisigma_zfit.errors import InputError
from hisigma_zfit.files import write_bytes
from hisigma_zfit.report.axes import dress_likelihood
from hisigma_zfit.report.fonts import shared_fonts
from hisigma_zfit.report.histograms import projection, pulls
from hisigma_zfit.report.labels import component_label
from hisigma_zfit.report.style import LABEL, finish, frame, styled
from hisigma_zfit.report.text import percent
from hisigma_zfit.statistics.intervals import ONE_SIGMA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.results import LikelihoodScan, TrainingHistory

__all__ = ["projection", "pulls", "save", "scan", "training"]


def scan(
    what: LikelihoodScan,
    *,
    xlabel: str | None = None,
    labels: Mapping[str, str] | None = None,
    interval: tuple[float, float] | None = None,
    truth: float | None = None,
    top: float = 10.0,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Profiled likelihood of one parameter: bootstraps thin, their combination thick.

    Args:
        what: The curves.
        xlabel: Title of the horizontal axis, verbatim.
        labels: The user's own names of parameters, by name.
        interval: Interval of one standard deviation, 68.27 %, to be shaded.
        truth: True value to be marked, where one is known.
        top: Upper end of the vertical axis.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.
    """
    with styled():
        figure, axes = frame(left=0.12, width=0.79)
        if interval is not None:
            axes.axvspan(
                *interval,
                ymax=1 / top,
                color="#5790fc",
                alpha=0.25,
                linewidth=0,
                label=f"{percent(ONE_SIGMA)} interval",
            )
        members = what.members.reshape(-1, what.values.size)
        for i, member in enumerate(members):
            text = f"Bootstraps ({len(members)})" if i == 0 else None
            axes.plot(what.values, member, color="#717581", linewidth=1.2, label=text)
        if what.reference is not None:
            axes.plot(what.values, what.reference, ":", color="#f89c20", linewidth=3.5, label="Mass only")
        if what.statistical is not None:
            axes.plot(what.values, what.statistical, "--", color="#5790fc", linewidth=3, label="Statistical only")
        axes.plot(what.values, what.combined, color="#e42536", linewidth=3.5, label=what.method.capitalize())
        axes.set_xlim(*_scan_range(what, top))
        dress_likelihood(axes, xlabel=xlabel or component_label(what.poi, labels=labels), top=top, truth=truth)
        # a frame without edge keeps the words readable where far-off members pass behind them
        axes.legend(loc="upper center", fontsize=19, ncols=2, frameon=True, edgecolor="none", framealpha=0.85)
        return finish(figure, axes, label, right_label)


def _scan_range(what: LikelihoodScan, top: float) -> tuple[float, float]:
    """The part of the scan where the combination is inside the frame."""
    inside = what.values[what.combined <= top]
    if inside.size < 2:
        return float(what.values.min()), float(what.values.max())
    return float(inside.min()), float(inside.max())


def training(
    histories: Sequence[TrainingHistory],
    *,
    loss: str = "Mean negative log-likelihood [nats]",
    labels: Mapping[str, str] | None = None,
    label: str = LABEL,
    right_label: str = "",
) -> Figure:
    """Losses of trainings, one panel each: all seeds and bootstraps thin, their mean thick, held-out events as points.

    Args:
        histories: What to draw.
        loss: What the loss is, the title of the vertical axes.
        labels: The user's own names of what was trained, by name.
        label: Text above the frame; its first word is set in bold.
        right_label: Text above the frame at the right.

    Raises:
        InputError: There is no history.
    """
    if not histories:
        raise InputError.from_parts(expected="at least one training history", got="none", do="train a density first")
    with styled():
        columns = min(len(histories), 2)
        rows = math.ceil(len(histories) / columns)
        figure = Figure(figsize=(9 * columns, 8 * rows))
        edges = {"left": 0.16 / columns, "right": 1 - 0.03 / columns, "bottom": 0.13 / rows, "top": 1 - 0.08 / rows}
        grid = figure.add_gridspec(rows, columns, wspace=0.24, hspace=0.22, **edges)
        panels = [figure.add_subplot(grid[divmod(i, columns)]) for i in range(len(histories))]
        for axes, history in zip(panels, histories, strict=True):
            _draw_training(axes, history, loss, labels)
        return finish(figure, panels[0], label, right_label)


def _draw_training(axes: Axes, history: TrainingHistory, loss: str, labels: Mapping[str, str] | None) -> None:
    members = history.train.reshape(-1, history.steps.size)
    for i, member in enumerate(members):
        text = f"Trainings ({len(members)})" if i == 0 else None
        axes.plot(history.epochs, member, color="#9c9ca1", linewidth=0.8, alpha=0.6, label=text)
    axes.plot(history.epochs, members.mean(axis=0), color="#5790fc", linewidth=3, label="Training, mean")
    shown = [members]
    if history.validation is not None and history.validation_steps is not None and history.validation.size:
        validation = history.validation.reshape(len(members), -1)
        epochs = history.validation_steps * (history.epochs[-1] / history.steps[-1])
        centre, spread = validation.mean(axis=0), validation.std(axis=0)
        axes.errorbar(
            epochs, centre, yerr=spread, fmt="o", color="#e42536", markersize=7, label="Held out, mean and spread"
        )
        shown.append(validation)
    if history.kept_step is not None and history.steps.size:
        kept = history.kept_step * (history.epochs[-1] / history.steps[-1])
        # no further up than the legend, which may be above it
        axes.axvline(kept, ymax=0.55, color="0.3", linestyle="--", linewidth=2, label="Kept")
    axes.set_ylim(*_loss_range(shown))
    axes.set_xlabel("Epoch")
    axes.set_ylabel(loss)
    title = component_label(history.name, labels=labels)
    axes.legend(loc="upper right", fontsize=18, title=title, title_fontsize=20)


def _loss_range(curves: Sequence[Array]) -> tuple[float, float]:
    """Where the curves end up: the steep start is cut, else it is all that one sees."""
    late = np.concatenate([curve[:, curve.shape[1] // 10 :].ravel() for curve in curves])
    late = late[np.isfinite(late)]
    if not late.size:
        return 0.0, 1.0
    low, high = float(late.min()), float(late.max())
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    return low - margin, high + 8 * margin


def save(figure: Figure, path_stem: str | Path) -> tuple[Path, Path]:
    """Write `figure` as PDF and PNG, whole or not at all, without dates or program versions in them.

    Args:
        figure: What to write.
        path_stem: Path without suffix; a name such as ``"scan_v1.2"`` keeps its dot.

    Returns:
        Paths of the PDF and the PNG.

    Raises:
        OSError: The file system refuses; no half-written file stays under either name.
    """
    stem = Path(path_stem)
    written = []
    for kind, metadata in (
        ("pdf", {"CreationDate": None, "Producer": None, "Creator": None}),
        ("png", {"Software": None}),
    ):
        buffer = io.BytesIO()
        with styled(), shared_fonts():
            figure.savefig(buffer, format=kind, metadata=metadata, dpi=100)
        path = stem.with_name(f"{stem.name}.{kind}")
        write_bytes(path, buffer.getvalue())
        written.append(path)
    return written[0], written[1]
