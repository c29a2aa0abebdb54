"""A validation: as plain text, as what its page says, and as PDF on one sheet."""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from hisigma_zfit.report.meanings import table_words
from hisigma_zfit.report.page import Content
from hisigma_zfit.report.page_tables import columns, escaped
from hisigma_zfit.report.style import styled
from hisigma_zfit.report.text import WIDTH, grid, section
from hisigma_zfit.report.validation_figures import PANELS, STATE_COLOURS
from hisigma_zfit.results.numbers import number, pair

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.results import RetrainedFit, Validation

__all__ = ["as_pdf", "as_text", "sheet", "validation_content"]

_HEAD = ("fit", "region", "injected", "found", "Z", "true densities", "shift", "events", "training", "p")


def _row(job: RetrainedFit) -> tuple[str, ...]:
    name = job.name if not job.failure else f"{job.name} (failed)"
    return (
        name,
        f"{job.region[0]:.4g}-{job.region[1]:.4g}",
        number(job.injected),
        pair(job.value, job.error),
        f"{job.z:.1f}",
        "-" if job.truth is None else pair(job.truth.value, job.truth.error),
        f"{job.shift:+.2f}",
        number(job.n_data),
        number(job.n_training),
        "-" if job.p_value is None else f"{job.p_value:.2g}",
    )


def _notes(what: Validation) -> list[str]:
    notes = [
        f"Expected statistical error: {number(what.spurious.sigma, 3)} events of {what.poi}. Seed {what.seed}.",
        "A shift is in expected statistical errors: the distance from the fit of the same events with true densities; "
        "in a window it is the signal found, in errors of that fit.",
        "Pseudo-experiments see what training does to a density that can be learned, about half of the bias where an "
        "edge moves with another feature; windows see everything, but less precisely.",
    ]
    if what.left_out:
        notes.append(f"Not repeated here: {', '.join(what.left_out)}.")
    return notes


def as_text(what: Validation) -> str:
    """Verdict, checks and fits, at most 100 characters wide."""

    def wrapped(text: str) -> list[str]:
        return textwrap.wrap(text, WIDTH - 4)

    lines = [f"VALIDATION: {what.state.upper()}", *textwrap.wrap(what.verdict, WIDTH)]
    for check in what.checks:
        lines += section(f"{check.name}: {check.state}", wrapped(check.words))
    # two rows too many for the width of plain text
    keep = [k for k, name in enumerate(_HEAD) if name not in {"events", "training"}]
    rows = [[row[k] for k in keep] for row in (_HEAD, *map(_row, what.jobs))]
    lines += section("Fits", grid(rows))
    lines += section("Notes", [line for note in _notes(what) for line in wrapped(note)])
    return "\n".join(lines)


def validation_content(what: Validation) -> Content:
    """What a validation has to say on the page of its run."""

    def state(name: str) -> str:
        return f'<span class="state state-{escaped(name)}">{escaped(name)}</span>'

    heads = "".join(f'<th scope="col">{text}</th>' for text in ("Question", "State", "Answer"))
    rows = "".join(
        f'<tr><th scope="row">{escaped(c.name)}</th><td>{state(c.state)}</td><td>{escaped(c.words)}</td></tr>'
        for c in what.checks
    )
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    scroll = f'<div class="scroll" tabindex="0" role="region" aria-label="Questions">{table}</div>'
    words, _ = table_words("validate", "Questions")
    _, meanings = table_words("validate", "Fits")
    fits = columns("Fits", [_HEAD, *map(_row, what.jobs)], meanings)
    return Content(
        kind="validate",
        title=f"Validation of {what.poi}",
        lead=what.verdict,
        result=what,
        parts=[("Questions", f"<p>{escaped(words)}</p>{scroll}"), ("Fits", fits)],
        notes=_notes(what),
        state=what.state,
        poi=what.poi,
    )


_A4 = (8.27, 11.69)
_LEFT, _TEXT = 0.07, 0.86


def as_pdf(what: Validation, *, labels: Mapping[str, str] | None = None) -> bytes:
    """The same on one page of A4.

    Args:
        what: The validation.
        labels: The user's own names of observables, by name.
    """
    buffer = io.BytesIO()
    with styled(), PdfPages(buffer, metadata={"CreationDate": None, "Producer": None, "Creator": None}) as pages:
        pages.savefig(sheet(what, labels=labels))
    return buffer.getvalue()


def sheet(what: Validation, *, labels: Mapping[str, str] | None = None) -> Figure:
    """That page as a figure; see `as_pdf`."""
    small: dict[Any, Any] = {
        "font.size": 8.5,
        "axes.labelsize": 9.0,
        "xtick.labelsize": 8.0,
        "ytick.labelsize": 8.0,
        "xtick.major.size": 4.0,
        "ytick.major.size": 4.0,
        "xtick.minor.size": 2.0,
        "ytick.minor.size": 2.0,
        "axes.linewidth": 0.8,
    }
    with styled(), mpl.rc_context(small):
        figure = Figure(figsize=_A4)
        y = _words(figure, 0.965, f"Validation of {what.poi}: {what.state}", size=13, colour=STATE_COLOURS[what.state])
        y = _words(figure, y, what.verdict, size=9.5) - 0.006
        for check in what.checks:
            head = f"{check.name}: {check.state}"
            y = _words(figure, y, head, size=7.8, colour=STATE_COLOURS[check.state], weight="bold")
            y = _words(figure, y, check.words, size=7.0) - 0.003
        height = (y - 0.085) / 2.0
        for k, draw in enumerate(PANELS.values()):
            row, column = divmod(k, 2)
            left = _LEFT + 0.04 + column * 0.47 + (0.07 if column else 0.0)
            width = 0.94 - left if column else 0.36
            axes = figure.add_axes((left, 0.055 + (1 - row) * (height + 0.045), width, height - 0.02))
            draw(axes, what, labels)
    return figure


def _words(
    figure: Figure, y: float, text: str, *, size: float, colour: str = "#222222", weight: str = "normal"
) -> float:
    """Write text below a height; returns the height below it."""
    # an average letter of this font is half as wide as it is high
    width = int(_TEXT * _A4[0] * 72.0 / (0.495 * size))
    lines = textwrap.wrap(text.replace("+-", "±"), width)
    figure.text(_LEFT, y, "\n".join(lines), fontsize=size, color=colour, weight=weight, va="top", linespacing=1.15)
    return y - len(lines) * 1.3 * size / 72.0 / _A4[1]
