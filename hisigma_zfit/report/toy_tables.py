"""Pseudo-experiments as a plain text table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hisigma_zfit.report.text import grid, listing, section
from hisigma_zfit.results.numbers import number, pair

if TYPE_CHECKING:
    from hisigma_zfit.results import ToySummary

__all__ = ["toy_lines", "toys"]


def toys(what: ToySummary) -> str:
    """What ``hisigma toys`` prints: expected results, coverage, and bias and pulls of every parameter."""
    return "\n".join(toy_lines(what))


def toy_lines(what: ToySummary) -> list[str]:
    """The same, of which the page of the study makes its tables."""
    z = what.significance
    facts = [
        (f"injected {what.poi}", number(what.injected)),
        ("toys", f"{number(what.n)} ({what.failed} more could not be fitted)" if what.failed else number(what.n)),
        (
            "expected significance",
            f"{pair(z.median, z.median_error)}  [{z.bands['-1']:.2f}, {z.bands['1']:.2f}] in 68 %",
        ),
    ]
    if what.limit is not None:
        u = what.limit
        name = f"expected {100 * u.cl:.3g} % limit"
        facts.append(
            (name, f"{pair(u.median, u.median_error)}  [{number(u.bands['-1'])}, {number(u.bands['1'])}] in 68 %")
        )
    for cover in what.coverage.values():
        share = f"{100 * cover.value:.2f} %  [{100 * cover.lower:.2f}, {100 * cover.upper:.2f}]"
        facts.append((f"coverage of {100 * cover.cl:.4g} %", f"{share}  ({cover.inside} of {what.n})"))
    facts += [
        (f"{name} at a limit", f"{number(count)} toys, left out of its pulls and mean error")
        for name, count in what.without_error.items()
    ]
    if what.without_limit:
        facts.append(("without a limit", f"{number(what.without_limit)} toys"))
    head = ["parameter", "true", "bias", "spread", "mean error", "pull mean", "pull width"]
    rows = [
        [
            name,
            number(p.true),
            pair(p.bias, p.bias_error),
            number(p.spread),
            number(p.error),
            pair(p.pull_mean, p.pull_mean_error),
            pair(p.pull_width, p.pull_width_error),
        ]
        for name, p in what.parameters.items()
    ]
    lines = [f"{number(what.n)} pseudo-experiments", *section("result", listing(facts))]
    return [*lines, *section("bias and pulls", grid([head, *rows]))]
