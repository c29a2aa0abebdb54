"""What each task has to say on the page of its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hisigma_zfit.report.crosssection_tables import coverage_lines, cross_section_lines
from hisigma_zfit.report.page import Content
from hisigma_zfit.report.page_tables import lines_of
from hisigma_zfit.report.tables import blind_lines, measurement_lines
from hisigma_zfit.report.text import Cells, Headline
from hisigma_zfit.report.toy_tables import toy_lines

if TYPE_CHECKING:
    from hisigma_zfit.results import (
        BlindMeasurement,
        ClosureReport,
        CoverageStudy,
        CrossSectionResult,
        Measurement,
        Search,
        SignalResponse,
        ToySummary,
    )

__all__ = [
    "blind_content",
    "coverage_content",
    "cross_section_content",
    "measurement_content",
    "search_content",
    "toy_content",
]


def measurement_content(what: Measurement) -> Content:
    """Of a measurement with data in the signal region."""
    return Content(
        kind="measure",
        title=f"Measurement of {what.poi}",
        lead=str(what),
        result=what,
        lines=measurement_lines(what),
        warnings=_cautions(what.closure, what.signal_response),
        poi=what.poi,
    )


def blind_content(what: BlindMeasurement) -> Content:
    """Of a blind measurement: nothing of it comes from the data of the signal region."""
    low, high = what.signal_region
    return Content(
        kind="blind",
        title=f"Blind measurement of {what.poi}",
        lead=f"{what}. No data between {low:g} and {high:g} were used.",
        result=what,
        lines=blind_lines(what),
        warnings=_cautions(what.closure, what.signal_response),
        poi=what.poi,
    )


def search_content(what: Search) -> Content:
    """Of a search, blind or open."""
    title, *_ = str(what).splitlines()
    if what.found is None:
        lead = "The window is closed: only the sidebands were looked at."
    else:
        p_value = "its p-value needs toys" if what.p_value is None else str(what.p_value).splitlines()[0]
        learned = what.found.learned
        low, high = learned.interval_68
        lead = (
            f"Test statistic {what.found.t:.1f}, {p_value}; learned signal {learned.value:.1f} [{low:.1f}, {high:.1f}] "
            "events."
        )
    return Content(
        kind="search",
        title=title,
        lead=lead,
        result=what,
        lines=_search_lines(what),
        warnings=_cautions(what.background.closure, None),
    )


def _search_lines(what: Search) -> list[str]:
    """The table of a search; what it says of the signal and of other scores in sections of their own."""
    first, *others = [line for line in lines_of(str(what)) if isinstance(line, Headline)]
    properties = () if what.found is None else tuple(what.found.properties)
    groups: dict[str, list[tuple[str, ...]]] = {"Result": []}
    for row in first.body.rows if isinstance(first.body, Cells) else ():
        title = "Properties of the learned signal" if row[0] in properties else "Result"
        title = "Significance improvement" if row[0] in what.comparison else title
        groups.setdefault(title, []).append(row)
    heads = [Headline(title, Cells(["  ".join(row) for row in rows], rows)) for title, rows in groups.items()]
    return [line for head in (*heads, *others) for line in (head, *head.body)]


def cross_section_content(what: CrossSectionResult) -> Content:
    """Of a cross-section; that of a blind one is of an Asimov set."""
    answers = "; ".join(f"{name} = {answer}" for name, answer in what.poi.items())
    closed = "The data are closed: an Asimov set stands for them." if what.blind else "Of an Asimov set, not of data."
    return Content(
        kind="cross-section",
        title=f"Cross-section from unbinned data: {', '.join(what.poi)}",
        lead=answers if what.data == "observed" else f"{answers}. {closed}",
        result=what,
        lines=cross_section_lines(what),
        poi=what.leading,
    )


def toy_content(what: ToySummary) -> Content:
    """Of pseudo-experiments of a measurement."""
    return Content(
        kind="toys",
        title=f"Pseudo-experiments of {what.poi}",
        lead=str(what),
        result=what,
        lines=toy_lines(what),
        warnings=[f"{what.failed} pseudo-experiments could not be fitted"] if what.failed else (),
        poi=what.poi,
    )


def coverage_content(what: CoverageStudy) -> Content:
    """Of pseudo-experiments of a cross-section."""
    lines = coverage_lines(what)
    first = next(iter(what.methods.items()), None)
    return Content(
        kind="coverage",
        title=str(lines[0]),
        lead=f"{lines[2]}. " + ("" if first is None else f"{first[0]}: {first[1]}."),
        result=what,
        lines=lines,
        notes=["Toys made of the simulation that was learned from do not contain the error of that simulation."],
        poi=what.poi,
    )


def _cautions(closure: ClosureReport | None, response: SignalResponse | None) -> list[str]:
    """What the checks of a run say, where they do not pass."""
    words = []
    if closure is not None and not closure.passed:
        words.append(f"background density in the sidebands: {closure}")
    if response is not None and not response.passed:
        words.append(f"{response}: the fit does not return what signal there is")
    return words
