"""Results as plain monospaced text, at most 100 characters wide.

`measurement` is what ``hisigma measure`` prints, `blind_measurement` what it prints with ``--blind``; `members` lists
the fits of its bootstraps; `comparison` puts several data sets side by side, with the mean and the error of
the mean; `strategies` compares ways to measure, `expectations` their errors for true densities; `impacts` explains the
error of a fit.
"""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.report import fit_tables
from hisigma_zfit.report.fit_tables import impacts
from hisigma_zfit.report.text import aligned, column, grid, listing, percent, section
from hisigma_zfit.results.numbers import number, pair
from hisigma_zfit.results.strategies import PairedSummary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.results import BlindMeasurement, ClosureReport, EventCounts, Measurement, SignalResponse
    from hisigma_zfit.results.strategies import Expectation, StrategySummary

__all__ = [
    "blind_lines",
    "blind_measurement",
    "comparison",
    "expectations",
    "impacts",
    "measurement",
    "measurement_lines",
    "members",
    "strategies",
]


def _masked(options: Mapping[str, Any]) -> str:
    """Masked windows in words; empty where there are none."""
    return ", ".join(f"{number(low)} to {number(high)}" for low, high in options.get("masked", ()))


def _event_facts(counts: EventCounts) -> list[tuple[str, str]]:
    return [
        ("read", number(counts.read)),
        ("used", number(counts.used)),
        ("dropped", number(sum(counts.dropped.values()))),
        *((f"  {reason}", number(n)) for reason, n in counts.dropped.items()),
        ("signal simulation", number(counts.signal_simulation)),
        ("sideband training", number(counts.sideband_training)),
    ]


def _error_ratio(what: Measurement) -> float:
    """Error of the mass-only fit over the error of the full one: what the features buy."""
    return what.mass_only.error / what.error if what.mass_only is not None and what.error > 0 else math.nan


def _result_facts(what: Measurement) -> list[tuple[str, str]]:
    levels = what.confidence
    facts = [
        (what.poi, pair(what.value, what.error)),
        (f"{percent(levels.interval_68)} interval", f"[{', '.join(map(number, what.interval_68))}]"),
        (f"{percent(levels.interval_95)} interval", f"[{', '.join(map(number, what.interval_95))}]"),
        ("statistical only", pair(what.stat_only.value, what.stat_only.error)),
        *_training_facts(what),
        ("significance", f"{what.significance.z:.2f} sigma (p0 = {number(what.significance.p0, 3)})"),
        *(fit_tables.expected_significances(what.fit) if what.fit is not None else ()),
        (f"{percent(levels.upper_limit_95)} upper limit", number(what.upper_limit_95)),
        *(fit_tables.expected_limit(what.fit) if what.fit is not None else ()),
    ]
    if what.mass_only is not None:
        alone = what.mass_only
        facts.append(("mass only", f"{pair(alone.value, alone.error)}, {alone.z:.2f} sigma"))
        ratio = _error_ratio(what)
        if math.isfinite(ratio):
            facts.append(("the features", _worth(ratio)))
    return facts


def _worth(ratio: float) -> str:
    """What the features bring, by the mass-only error over the error."""
    text = f"mass-only error / error = {ratio:.2f}"
    if ratio >= 1.0:
        return f"{text}, worth {ratio**2:.2f} times the data"
    return f"lose: {text}, as if {100 * (1 - ratio**2):.0f} % of the data were thrown away; measure the mass alone"


def _training_facts(what: Measurement) -> list[tuple[str, str]]:
    if what.training_error is None:
        return []
    bias = "" if what.training_bias is None else f", bias of {number(what.training_bias, 2)} subtracted"
    return [("training", f"+- {number(what.training_error, 2)} in the error{bias}")]


def _closure_facts(closure: ClosureReport | None, found: SignalResponse | None) -> list[tuple[str, str]]:
    facts = []
    if closure is not None:
        misfit = ", ".join(f"{name} {number(nats, 2)}" for name, nats in closure.misfit.items())
        facts = [("background in the sidebands", str(closure))]
        facts += [("misfit in nats", misfit)] if misfit else []
    if found is not None:
        facts.append(("fitted signal by true signal", f"{found.value:.3f} +- {found.error:.3f}"))
    return facts


def measurement(what: Measurement) -> str:
    """The table of one measurement: events, result beside the mass-only fit, parameters, checks, timings.

    Args:
        what: The measurement.

    Returns:
        Lines of at most 100 characters, without a final newline.
    """
    return "\n".join(measurement_lines(what))


def measurement_lines(what: Measurement) -> list[str]:
    """The same, of which the page of a run makes its tables."""
    lines = [f"HI-SIGMA measurement of {what.poi}", "=" * (24 + len(what.poi))]
    lines += section("Events", aligned(_event_facts(what.n_events)))
    if masked := _masked(what.options):
        lines.append(f"  masked: {masked}, where nothing was looked at; all numbers are of the masses beside")
    lines += section("Result", listing(_result_facts(what)))
    parameters = [(name, pair(p.value, p.error)) for name, p in what.parameters.items()]
    lines += section("Fitted parameters", listing(parameters))
    if what.falling:
        lines += section("Falling shapes (discrete profiling)", _shapes(what))
    if what.fit is not None:
        lines += fit_tables.fit_sections(what.fit)
    if what.members:
        lines += section(f"Bootstraps ({len(what.members)} resampled trainings)", _member_rows(what))
    lines += section("Training", listing([(name, str(choice)) for name, choice in what.training.items()]))
    lines += section("Closure", listing(_closure_facts(what.closure, what.signal_response)))
    if what.unblinding is not None:
        record = what.unblinding
        facts = [("signal region opened", record.time), ("after the blind result", record.blind_result)]
        lines += section("Unblinding", listing(facts))
    return [*lines, *_origin(what)]


def _origin(what: Measurement | BlindMeasurement) -> list[str]:
    """The last lines of a table: what it took and what it was made of."""
    lines = section("Time", aligned([(name, f"{seconds:.1f} s") for name, seconds in what.timings_s.items()]))
    lines += section("Inputs", listing([(PurePath(name).name, digest) for name, digest in what.inputs.items()]))
    return [*lines, "", f"seed {what.seed}"]


def blind_measurement(what: BlindMeasurement) -> str:
    """The table of a blind measurement: what to expect, and the checks that the sidebands and the simulation allow.

    Args:
        what: The measurement.

    Returns:
        Lines of at most 100 characters, without a final newline.
    """
    return "\n".join(blind_lines(what))


def blind_lines(what: BlindMeasurement) -> list[str]:
    """The same, of which the page of a run makes its tables."""
    lower, upper = map(number, what.signal_region)
    title = f"HI-SIGMA blind measurement of {what.poi}"
    lines = [title, "=" * len(title), f"no data between {lower} and {upper} were used"]
    counts, limit = what.n_events, what.upper_limit_95
    events = [("sidebands", number(counts.sidebands)), *((f"  {why}", number(n)) for why, n in counts.dropped.items())]
    events += [("signal simulation", number(counts.signal_simulation))]
    events += [("sideband training", number(counts.sideband_training))]
    lines += section("Events", aligned(events))
    if masked := _masked(what.options):
        lines.append(f"  masked: {masked}, which stays closed; all numbers are of the masses beside")
    head = ["signal", "events", "value", "error", "Z", "stat. error", "average's Z", "mass-only error", "its Z"]
    numbers = zip(
        *(
            (e.signal, e.value, e.error, e.z, e.stat_only, e.nominal.z, e.mass_only.error, e.mass_only.z)
            for e in what.expected
        ),
        strict=True,
    )
    rows = map(list, zip([e.name for e in what.expected], *map(column, numbers), strict=True))
    lines += section(f"Expected ({what.combine})", grid([head, *rows]))
    reaches = {reach: (limit.expected[f"-{reach}"], limit.expected[f"{reach}"]) for reach in (1, 2)}
    bands = [(f"{reach} sigma", f"{number(low)} to {number(high)}") for reach, (low, high) in reaches.items()]
    median = f"{number(limit.limit)}, of the average of all members {number(limit.expected['0'])}"
    lines += section(f"Expected {percent(limit.cl)} upper limit without signal", listing([("median", median), *bands]))
    parameters = [(name, pair(p.value, p.error)) for name, p in what.parameters.items()]
    parameters.append(("background in the region", pair(what.region_background.value, what.region_background.error)))
    lines += section("Fit of the sidebands", listing(parameters))
    if what.falling:
        best, *rest = what.falling
        lines.append(f"  with {best}, which the sidebands like best; then {', '.join(rest)}")
    if what.training_error is not None:
        lines.append(f"  training  +- {number(what.training_error, 2)} in the error")
    lines += section("Training", listing([(name, str(choice)) for name, choice in what.training.items()]))
    lines += section("Closure", listing(_closure_facts(what.closure, what.signal_response)))
    return [*lines, *_origin(what)]


def _shapes(what: Measurement) -> list[str]:
    """One line for each falling shape of which the data chose."""
    numbers = ([f.value for f in what.falling], [f.error for f in what.falling], [f.z for f in what.falling])
    values, errors, z = map(column, numbers)
    head = ["shape", "parameters", "-2 log L + penalty", what.poi, "error", "Z", f"best for {what.poi}"]
    best = ["-" if f.best_for is None else " to ".join(number(edge, 3) for edge in f.best_for) for f in what.falling]
    first = zip([f.shape for f in what.falling], [str(f.n_parameters) for f in what.falling], strict=True)
    rows = [
        [name, n, f"+{f.offset:.2f}", *rest]
        for (name, n), f, rest in zip(first, what.falling, zip(values, errors, z, best, strict=True), strict=True)
    ]
    return grid([head, *rows])


def members(what: Measurement) -> str:
    """One line for the fit of each bootstrap, which is a training on resampled events.

    Returns:
        A table, or an empty string where there are no bootstraps.
    """
    return "\n".join(_member_rows(what)) if what.members else ""


def _member_rows(what: Measurement) -> list[str]:
    names = ("value", "error", "z")
    cells = [column([getattr(member, name) for member in what.members]) for name in names]
    first = [str(member.member) for member in what.members]
    return grid([["bootstrap", *names], *map(list, zip(first, *cells, strict=True))])


def comparison(what: Sequence[Measurement], *, names: Sequence[str] | None = None, truth: float | None = None) -> str:
    """Several data sets side by side; the last line holds means with the errors of the means.

    Args:
        what: Measurements of the same parameter.
        names: One name for each; numbers without.
        truth: True value, where one is known; adds the pull (value - truth) / error.

    Raises:
        InputError: There is nothing to compare, the parameters differ, or the names do not match in number.
    """
    if not what:
        raise InputError.from_parts(expected="at least one measurement", got="none", do="pass the results to compare")
    pois = sorted({m.poi for m in what})
    if len(pois) > 1:
        raise InputError.from_parts(
            expected="measurements of one parameter", got=", ".join(pois), do="compare them one parameter at a time"
        )
    if names is not None and len(names) != len(what):
        raise InputError.from_parts(
            expected=f"{len(what)} names", got=str(len(names)), do="name every measurement once"
        )
    head = [pois[0], "error", "stat. error", "Z", "mass only", "its error", "ratio"]
    table = np.array(
        [
            [
                m.value,
                m.error,
                m.stat_only.error,
                m.significance.z,
                *((m.mass_only.value, m.mass_only.error) if m.mass_only is not None else (math.nan, math.nan)),
                _error_ratio(m),
            ]
            for m in what
        ]
    )
    if truth is not None:
        head.append("pull")
        table = np.column_stack([table, (table[:, 0] - truth) / table[:, 1]])
    shown = list(names) if names is not None else [str(i + 1) for i in range(len(what))]
    first = [*shown, "mean"]
    rows = [*table, table.mean(axis=0)]
    if len(what) > 1:
        first.append("+- error of the mean")
        rows.append(table.std(axis=0, ddof=1) / math.sqrt(len(what)))
    cells = [column([float(row[i]) for row in rows]) for i in range(len(head))]
    body = map(list, zip(first, *cells, strict=True))
    return "\n".join(grid([["data set", *head], *body], rule_after=(0, len(what))))


def strategies(
    what: Sequence[StrategySummary],
    *,
    reference: str = "HI-SIGMA",
    paired: Sequence[PairedSummary] = (),
    published: Mapping[str, str] | None = None,
) -> str:
    """Mean errors of several strategies by the true yield, and by that of one of them; paper, figure 7.

    Args:
        what: One summary for each strategy.
        reference: Name of the strategy that the others are compared with.
        paired: Ratios of errors to those of the reference on the same data sets; the ratio of the means where missing.
        published: Numbers of a publication, by strategy, for one more column.

    Raises:
        InputError: None of the summaries is that of `reference`.
    """
    names = [s.strategy for s in what]
    if reference not in names:
        raise InputError.from_parts(expected=f"one of {', '.join(names)}", got=repr(reference), do="correct the name")
    unit = what[names.index(reference)].sigma
    ratios = {p.strategy: p for p in paired if p.reference == reference and p.strategy != reference}
    head = ["strategy", "error / true", "relative", "spread / true", "bias / true", "Z"]
    rows = [
        [
            s.strategy,
            _short(s.sigma, s.sigma_error),
            _ratio(ratios[s.strategy]) if s.strategy in ratios else f"{s.sigma / unit:.3f}",
            _short(s.spread, s.spread_error),
            _short(s.bias, s.bias_error),
            f"{s.z:.2f}",
        ]
        for s in what
    ]
    if published is not None:
        head.append("paper")
        for row in rows:
            row.append(published.get(row[0], "-"))
    how = "error by that of {} in the same data set" if ratios else "relative to {}"
    note = f"{what[0].n} data sets, {what[0].truth:g} signal events each; {how.format(reference)}; median Z"
    return "\n".join([*grid([head, *rows]), note])


def _short(value: float, error: float) -> str:
    return f"{value:.3f} +- {error:.3f}"


def _ratio(what: PairedSummary) -> str:
    return _short(what.ratio, what.ratio_error)


def expectations(what: Sequence[Expectation], *, truth: float, references: Sequence[str]) -> str:
    """Errors of strategies for true densities by the true yield, with ratios to some of them by data set.

    Args:
        what: Results of all strategies and data sets.
        truth: True signal yield.
        references: Names of the strategies that the others are compared with.
    """
    names = list(dict.fromkeys(e.strategy for e in what))
    rows = [["strategy", "expected error / true", *(f"to {name}" for name in references)]]
    for name in names:
        errors = [e.error / truth for e in what if e.strategy == name]
        mean = math.fsum(errors) / len(errors)
        deviation = math.sqrt(math.fsum((e - mean) ** 2 for e in errors) / (len(errors) - 1) / len(errors))
        ratios = [
            "1" if name == reference else _ratio(PairedSummary.of(what, name, reference)) for reference in references
        ]
        rows.append([name, _short(mean, deviation), *ratios])
    note = f"true densities and yields, held-out simulation of {len(errors)} data sets; ratios by data set"
    return "\n".join([*grid(rows), note])
