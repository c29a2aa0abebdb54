"""What a fit says of itself, as text: status, shapes, correlations, yields by region, goodness of fit, impacts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hisigma_zfit.report.text import grid, listing, section
from hisigma_zfit.results.numbers import number, pair

if TYPE_CHECKING:
    from hisigma_zfit.results import FitReport, FitTest, Impacts, RegionYields, ShapeParameters

__all__ = ["expected_limit", "expected_significances", "fit_sections", "impacts"]

_WIDEST = 8  # parameters whose correlations fit on a page
_STRONG = 0.3  # a correlation that is listed where there are more


def expected_significances(fit: FitReport) -> list[tuple[str, str]]:
    """Facts for the table of results."""
    words = {"fitted": "the fitted yield", "simulation": "the simulation's yield"}
    return [
        ("  expected", f"{each.z:.2f} sigma for {words.get(each.name, each.name)}, {number(each.signal)} (Asimov set)")
        for each in fit.expected
    ]


def expected_limit(fit: FitReport) -> list[tuple[str, str]]:
    """Likewise; without signal."""
    limit = fit.expected_limit
    if limit is None or limit.expected is None:
        return []
    one, two = (f"[{number(limit.expected[f'-{n}'])}, {number(limit.expected[f'{n}'])}]" for n in (1, 2))
    return [("  expected", f"{number(limit.limit)} without signal, 1 sigma {one}, 2 sigma {two}")]


def fit_sections(fit: FitReport) -> list[str]:
    """All sections of the table that are about the fit."""
    lines = section("Fit", listing([("status", str(fit.status)), *map(_test_fact, fit.tests)]))
    for name, shape in fit.shapes.items():
        lines += section(f"Mass shape of {name} ({shape.shape})", listing(_shape_facts(shape)))
    lines += section("Correlations", _correlations(fit))
    for category in dict.fromkeys(each.category for each in fit.yields):
        title = f"Events by region{f', {category}' if category else ''}"
        lines += section(title, _yields([each for each in fit.yields if each.category == category]))
    if fit.impacts is not None and fit.impacts.impacts:
        moved, budget = _impact_rows(fit.impacts)
        lines += section("Impacts, the largest first", grid(moved))
        lines += section(f"Error of {fit.impacts.poi}", grid(budget))
    return lines


def _test_fact(test: FitTest) -> tuple[str, str]:
    where = f"{test.what}{f' of {test.category}' if test.category else ''}"
    if test.ndf is not None:
        text = f"{where}: chi2 / ndf = {test.statistic:.1f} / {test.ndf}, p = {number(test.p_value, 2)}"
    else:
        text = f"{where}: {test.method} test of {test.n_events} events, p = {number(test.p_value, 2)}"
    return "goodness of fit", text


def _shape_facts(shape: ShapeParameters) -> list[tuple[str, str]]:
    facts = []
    for name, estimate in shape.parameters.items():
        if name in shape.held:
            text = f"{number(estimate.value)} ({shape.held[name]})"
        elif math.isfinite(estimate.error) and estimate.error > 0.0:
            text = pair(estimate.value, estimate.error)
        else:
            text = f"{number(estimate.value)} ({'fixed' if estimate.error == 0.0 else 'error not found'})"
        facts.append((name, text))
    if shape.chi2 is not None:
        facts.append(("chi2 / ndf", f"{shape.chi2.value:.1f} / {shape.chi2.ndf}, p = {number(shape.chi2.p_value, 2)}"))
    return facts


def _correlations(fit: FitReport) -> list[str]:
    names, matrix = fit.names, fit.correlations
    if len(names) < 2:
        return []
    if len(names) <= _WIDEST:
        rows = [[name, *(f"{c:+z.2f}" for c in row)] for name, row in zip(names, matrix, strict=True)]
        return grid([["", *names], *rows])
    found = [(abs(matrix[i][j]), i, j) for i in range(len(names)) for j in range(i)]
    strong = [
        [names[i], names[j], f"{matrix[i][j]:+.2f}"] for size, i, j in sorted(found, reverse=True) if size > _STRONG
    ]
    return grid([["parameter", "with", "correlation"], *strong]) if strong else []


def _yields(rows: list[RegionYields]) -> list[str]:
    names = list(rows[0].components)
    cells = [
        [
            each.region,
            *(pair(own.value, own.error) for own in each.components.values()),
            pair(each.total.value, each.total.error),
            number(round(each.observed) if each.observed == round(each.observed) else each.observed),
        ]
        for each in rows
    ]
    return grid([["", *names, "total", "observed"], *cells])


def impacts(what: Impacts) -> str:
    """Nuisances, largest impact first, with what they do to the parameter of interest, and the budget of its error.

    Args:
        what: The impacts.
    """
    moved, (head, *errors) = _impact_rows(what)
    note = ["corrected for event weights"] if what.weights_corrected else []
    return "\n".join([*grid(moved), "", *grid([[f"error of {what.poi}", *head[1:]], *errors]), *note])


def _impact_rows(what: Impacts) -> tuple[list[list[str]], list[list[str]]]:
    """Rows of both tables, their heads first."""

    def shift(pair: tuple[float, float] | None) -> str:
        return "-" if pair is None else f"{pair[0]:+.3g} {pair[1]:+.3g}"

    head = ["nuisance", "best fit", "pre-fit error", f"shift of {what.poi}", "with the pre-fit error"]
    rows = [
        [i.name, pair(i.value, 0.5 * sum(i.errors)), number(i.prefit_error, 3), shift(i.postfit), shift(i.prefit)]
        for i in what.impacts
    ]
    budget = {"total": what.total, "statistical": what.statistical, "systematic": what.systematic, **what.groups}
    errors = [[name, f"-{below:.3g}", f"+{above:.3g}"] for name, (below, above) in budget.items()]
    return [head, *rows], [["", "down", "up"], *errors]
