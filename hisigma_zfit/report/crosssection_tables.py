"""What ``hisigma cross-section`` and ``hisigma cross-section toys`` print: plain text, at most 100 characters wide."""

from __future__ import annotations

import math
from pathlib import PurePath
from textwrap import wrap
from typing import TYPE_CHECKING

from hisigma_zfit.report.text import WIDTH, aligned, column, grid, listing, percent, section
from hisigma_zfit.results.numbers import number, pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.results import CoverageStudy, CrossSectionResult, Impacts, PoiAnswer

__all__ = ["coverage", "coverage_lines", "cross_section", "cross_section_lines"]

_COLUMNS = 5  # nuisances side by side


def cross_section(what: CrossSectionResult) -> str:
    """The table of one cross-section: result with its breakdown, nuisances, yields, ways of measuring, checks.

    Args:
        what: The result.

    Returns:
        Lines of at most 100 characters, without a final newline.
    """
    return "\n".join(cross_section_lines(what))


def cross_section_lines(what: CrossSectionResult) -> list[str]:
    """The same, of which the page of a run makes its tables."""
    title = f"Cross-section from unbinned data: {', '.join(what.poi)}"
    lines = [title, "=" * len(title)]
    lines += ["an Asimov set in place of data"] if what.data == "asimov" else []
    for text in what.warnings:
        lines += wrap(f"warning: {text}", WIDTH, subsequent_indent="  ")
    lines += section("Events", aligned(_event_facts(what)))
    for name, answer in what.poi.items():
        lines += section(f"Result, {name}", listing(_answer_facts(answer, what.cl)))
    for name, found in what.impacts.items():
        lines += section(f"Error of {name}", _budget(found, what.poi[name]))
    lines += section("Nuisances", _nuisances(what))
    lines += section("Fitted yields", _yields(what))
    lines += section(f"Ways of measuring {what.leading}", _comparison(what))
    lines += section("Assignments of events to folds", _assignments(what))
    lines += section("Learning", listing(_learning_facts(what)))
    lines += section("Variations by process", _exponents(what))
    lines += section("Checks", listing(_check_facts(what)))
    lines += section(f"Bias of {what.leading}", _bias(what))
    lines += section("Time", _times(what))
    lines += section("Inputs", listing([(PurePath(name).name, digest) for name, digest in what.inputs.items()]))
    if what.unblinding is not None:
        lines += section("Unblinding", [str(what.unblinding)])
    return [*lines, "", f"seed {what.seed}"]


def _event_facts(what: CrossSectionResult) -> list[tuple[str, str]]:
    counts = what.n_events
    facts = [("read", number(counts.read))]
    facts += [(f"unbinned in {region}", number(n)) for region, n in counts.unbinned.items()]
    facts += [("in counting bins", number(counts.counting)), ("dropped", number(sum(counts.dropped.values())))]
    facts += [(f"  {reason}", number(n)) for reason, n in counts.dropped.items()]
    facts += [(f"simulated {process}", number(n)) for process, n in counts.simulated.items()]
    return facts


def _edges(edges: tuple[float, float]) -> str:
    return f"[{edges[0]:.4g}, {edges[1]:.4g}]"


def _answer_facts(answer: PoiAnswer, levels: tuple[float, float]) -> list[tuple[str, str]]:
    below, above = answer.errors
    names = [f"{percent(cl)} interval" for cl in levels]
    facts = [
        ("value", f"{answer.value:.4g}  -{below:.3g} +{above:.3g}"),
        (names[0], _edges(answer.interval_68)),
        (names[1], _edges(answer.interval_95)),
    ]
    if answer.one_sided:
        facts.append(("", "events bound it from below: the lower edges are its limit"))
    if answer.error_simulation is None:
        return facts
    facts.append(("error of the simulation", f"{answer.error_simulation:.3g}, not in these intervals; with it"))
    for name, edges in zip(
        names, (answer.interval_68_with_simulation, answer.interval_95_with_simulation), strict=True
    ):
        facts += [] if edges is None else [(f"  {name}", _edges(edges))]
    return facts


def _budget(found: Impacts, answer: PoiAnswer) -> list[str]:
    budget = {"total": found.total, "statistical": found.statistical, "systematic": found.systematic, **found.groups}
    rows = [["", "below", "above"], *([name, f"-{b:.3g}", f"+{a:.3g}"] for name, (b, a) in budget.items())]
    if answer.error_simulation is not None:
        rows.append(["simulation, beside", f"-{answer.error_simulation:.3g}", f"+{answer.error_simulation:.3g}"])
    return grid(rows)


def _nuisances(what: CrossSectionResult) -> list[str]:
    """Pulls and constraints, largest impact on the first parameter of interest first."""
    found = what.impacts.get(what.leading)
    ranked = {} if found is None else {impact.name: impact for impact in found.impacts}
    names = [*ranked, *(name for name in what.parameters if name not in ranked and name not in what.poi)]
    if not names:
        return []
    rows = [["", "best fit", "pull", "post / pre", "setting", f"impact on {what.leading}", "pre-fit impact"]]
    for name in names:
        own, impact = what.parameters.get(name), ranked.get(name)
        prefit = None if impact is None else impact.prefit
        best = "-" if own is None else pair(own.value, own.error) + (" (limit)" if own.at_limit else "")
        rows.append(
            [
                name,
                best,
                "-" if own is None or own.pull is None else f"{own.pull:+.2f}",
                "-" if own is None or own.constraint is None else f"{own.constraint:.2f}",
                "-" if own is None else number(own.setting, 3),
                "-" if impact is None else f"{impact.postfit[0]:+.3f} {impact.postfit[1]:+.3f}",
                "-" if prefit is None else f"{prefit[0]:+.3f} {prefit[1]:+.3f}",
            ]
        )
    return grid(rows)


def _yields(what: CrossSectionResult) -> list[str]:
    """Processes in each unbinned region, and in all counting bins together."""
    groups = {name: [name] for name, cell in what.cells.items() if cell.unbinned}
    counting = [name for name, cell in what.cells.items() if not cell.unbinned]
    if counting:
        groups["counting bins"] = counting
    rows, rules = [["", "process", "nominal", "fitted"]], [0]
    for name, cells in groups.items():
        for process, by_cell in what.yields.items():
            own = [by_cell[cell] for cell in cells]
            fitted = _sum_with_error([each.postfit for each in own], [each.error for each in own])
            first = name if process == next(iter(what.yields)) else ""
            rows.append([first, process, f"{sum(each.reference for each in own):.1f}", fitted])
        totals = [what.cells[cell] for cell in cells]
        rows.append(["", "all", "", _sum_with_error([c.postfit for c in totals], [c.error for c in totals])])
        observed = [cell.observed for cell in totals if cell.observed is not None]
        rows.append(["", "observed", "", f"{sum(observed):.10g}" if len(observed) == len(totals) else "closed"])
        rules.append(len(rows) - 1)
    return grid(rows, rule_after=rules) if groups else []


def _sum_with_error(values: list[float], errors: list[float]) -> str:
    """Of one cell with its error; those of several are correlated, so that their sum has none here."""
    return pair(values[0], errors[0]) if len(values) == 1 else f"{sum(values):.1f}"


def _comparison(what: CrossSectionResult) -> list[str]:
    if not what.comparison:
        return []
    unit = what.comparison["unbinned"].error if "unbinned" in what.comparison else math.nan
    methods = list(what.comparison.values())
    cells = [
        column([method.value for method in methods]),
        [_edges(method.interval_68) for method in methods],
        column([method.error for method in methods]),
        column([method.stat_only for method in methods]),
        [f"{method.error / unit:.3f}" if unit > 0.0 else "-" for method in methods],
        ["-" if method.cpu_s is None else f"{method.cpu_s:.2f}" for method in methods],
    ]
    head = ["", "value", f"{100 * what.cl[0]:.3g} % interval", "half", "stat.", "by unbinned", "CPU s"]
    return grid([head, *map(list, zip(what.comparison, *cells, strict=True))])


def _assignments(what: CrossSectionResult) -> list[str]:
    facts = [(f"{k}", f"{a.value:.4g}  {_edges(a.interval_68)}") for k, a in enumerate(what.assignments, start=1)]
    if len(what.assignments) > 1:
        facts.append(("mean", f"{sum(a.value for a in what.assignments) / len(what.assignments):.4g}"))
    return listing(facts)


def _learning_facts(what: CrossSectionResult) -> list[tuple[str, str]]:
    own = what.posterior
    facts = [
        ("posterior", f"{own.kind}, {own.folds} folds, balanced cross-entropy {own.cross_entropy:.4f}"),
        *((f"  AUC against {name}", f"{value:.3f}") for name, value in own.auc.items()),
        *((f"  calibration of {c.process}{f' in {c.region}' if c.region else ''}", str(c)) for c in own.calibration),
        ("design", str(what.design)),
    ]
    # a product needs a point at which both of its nuisances are shifted
    products = ", ".join(name.replace(" ", " x ") for name in what.design.monomials if " " in name)
    names = ["  products", *[""] * 20]
    return [*facts, *zip(names, wrap(products or "none", WIDTH - 30), strict=False)]


def _exponents(what: CrossSectionResult) -> list[str]:
    if not what.exponents:
        return []
    rows = [["", "shape", "eff. events", "residual", "worst closure", "at bound", "norm.", "moments", "trees z"]]
    for name, own in what.exponents.items():
        moments = what.moments.get(name)
        rows.append(
            [
                name,
                own.shape,
                f"{own.effective_events:.0f}",
                number(own.residual_over_variation, 2),
                "-" if own.worst is None else f"{own.worst[0]} {own.worst[1]:.1f}",
                f"{100 * own.at_bound:.1f} %",
                f"{own.normalisation:.3f}",
                "-" if moments is None else f"{moments.residual_before:.2f}>{moments.residual_after:.2f}",
                "-" if own.two_sample is None else f"{own.two_sample[1]:+.1f}",
            ]
        )
    return grid(rows)


def _check_facts(what: CrossSectionResult) -> list[tuple[str, str]]:
    facts = []
    if what.gof_counting is not None:
        facts.append(("counting bins", str(what.gof_counting).removeprefix("counting bins: ")))
    for region, test in what.gof.items():
        facts.append((f"two-sample test in {region}", str(test)))
    for poi, found in what.uncertainty.items():
        facts.append((f"simulation, {poi}", str(found).split(";")[0]))
        shares = ", ".join(f"{name} {value:.2g}" for name, value in found.by_process.items())
        facts += [("  by process", shares)] if shares else []
        grown = found.halved_by()
        if grown:
            factor = next(iter(grown.values()))
            facts.append(("  halved by", f"{factor:.1f} times the events of {', '.join(grown)}"))
    if what.held_back is not None:
        facts.append(("held back", str(what.held_back)))
    return facts


def _bias(what: CrossSectionResult) -> list[str]:
    studies = {("simulation", name): study for name, study in what.bias.items()}
    if what.held_back is not None:
        studies |= {("held back", name): study for name, study in what.held_back.study.items()}
    if not studies:
        return []
    rows = [["", "events", "points", "mean", "rms", "in sigma", "largest", "rms to nominal", "chi2"]]
    for (events, name), study in studies.items():
        numbers = (study.mean, study.rms, study.rms_in_sigma, study.largest, study.rms_to_nominal)
        texts = [f"{numbers[0]:+.3f}", *(f"{value:.3f}" for value in numbers[1:])]
        rows.append([name, events, str(len(study.points)), *texts, number(study.chi2, 3)])
    return grid(rows)


def _times(what: CrossSectionResult) -> list[str]:
    stages = dict.fromkeys([*what.timings_s, *what.cpu_s])
    rows = [
        [stage, *(f"{times[stage]:.1f}" if stage in times else "-" for times in (what.timings_s, what.cpu_s))]
        for stage in stages
    ]
    return grid([["", "seconds", "CPU seconds"], *rows]) if rows else []


def coverage(what: CoverageStudy) -> str:
    """The table of the pseudo-experiments: what every method covers, its width and pulls, by the true value.

    Args:
        what: The toys.

    Returns:
        Lines of at most 100 characters, without a final newline.
    """
    return "\n".join(coverage_lines(what))


def coverage_lines(what: CoverageStudy) -> list[str]:
    """The same, of which the page of the study makes its tables."""
    fixed = what.mu[0] == what.mu[1]
    how = {
        "random": "true nuisances drawn from their priors",
        "fixed": "true nuisances fixed, auxiliary measurements drawn",
    }[what.nuisances]
    truth = f"{what.poi} = {what.mu[0]:g}" if fixed else f"{what.poi} flat in [{what.mu[0]:g}, {what.mu[1]:g}]"
    title = f"Coverage of the {100 * what.cl:.4g} % interval of {what.poi}"
    lines = [title, "=" * len(title), f"{number(what.draws)} draws of {number(what.toys)} toys, {truth}, {how}"]
    if what.numbers == "design":
        lines.append("smeared with the random numbers of the templates, whose fluctuation is in no toy")
    methods = list(what.methods.values())
    rows = [["", "coverage", "width", "score", "pull mean", "rms", "of draws", "(chance)"]]
    rows += [
        [
            name,
            f"{own.coverage:.3f} +- {own.error:.3f}",
            f"{own.width:.3f}",
            f"{own.score:.3f}",
            f"{own.pull_mean:+.2f} +- {own.pull_mean_error:.2f}",
            f"{own.pull_rms:.2f}",
            f"{own.pull_spread:.2f}",
            f"({own.pull_spread_expected:.2f})",
        ]
        for name, own in what.methods.items()
    ]
    lines += section("All toys; errors from the spread between draws", grid(rows))
    lines += section("What an interval needs to cover", _needed(what))
    failed = [(name, f"{own.failed} of {own.failed + own.toys}") for name, own in what.methods.items() if own.failed]
    lines += section("Toys that could not be fitted, left out", listing(failed))
    for title, texts in (
        ("Coverage by the true value", [[f"{b.coverage:.3f} +- {b.error:.3f}" for b in m.by_mu] for m in methods]),
        ("Width by the true value", [[f"{b.width:.3f}" for b in m.by_mu] for m in methods]),
    ):
        if methods and len(methods[0].by_mu) > 1:
            head = [f"true {what.poi}", *(f"{b.lower:.3g} to {b.upper:.3g}" for b in methods[0].by_mu)]
            lines += section(title, grid([head, *map(list, zip(what.methods, *zip(*texts, strict=True), strict=True))]))
    pulls = tuple(dict.fromkeys(nuisance for own in methods for nuisance in own.nuisance_pulls))
    # as many columns as a line holds
    for first in range(0, len(pulls), _COLUMNS):
        shown = pulls[first : first + _COLUMNS]
        rows = [["", *shown]]
        for name, own in what.methods.items():
            found = [own.nuisance_pulls.get(nuisance) for nuisance in shown]
            rows.append([name, *("-" if each is None else f"{each[0]:+.2f}, {each[1]:.2f}" for each in found)])
        lines += section("Mean and rms of the pulls of nuisances", grid(rows))
    if what.simulation is not None:
        lines += [
            "",
            f"error of the finite simulation {what.simulation:.3g}: intervals of data need it in quadrature, because",
            "data are not made of the simulated events",
        ]
    note = "toys made of the simulation that was learned from do not contain the error of that simulation"
    return [*lines, "", note, f"seed {what.seed}"]


def _needed(what: CoverageStudy) -> Sequence[str]:
    """By method the further error with which intervals cover, and how often they do with that of the simulation."""
    rows = [["", "error to be added", "of half width", "coverage with that of the simulation"]]
    for name, own in what.methods.items():
        if not math.isfinite(own.missing):
            continue
        known = math.isfinite(own.coverage_with_simulation)
        wide = f"{own.coverage_with_simulation:.3f} +- {own.coverage_with_simulation_error:.3f}" if known else "-"
        half = f"{2.0 * own.missing / own.width:.2f}" if own.width > 0.0 else "-"
        rows.append([name, f"{own.missing:.3f} +- {own.missing_error:.3f}", half, wide])
    return grid(rows) if len(rows) > 1 else []
