"""Pseudo-experiments as a plain text table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hisigma_zfit.report.tables import _facts, _grid, _number, _pair, _section

if TYPE_CHECKING:
    from hisigma_zfit.results import ToySummary

__all__ = ["toys"]


def toys(what: ToySummary) -> str:
    """What ``hisigma toys`` prints: expected results, coverage, and bias and pulls of every parameter."""
    z = what.significance
    facts = [
        (f"injected {what.poi}", _number(what.injected)),
        ("toys", f"{_number(what.n)} ({what.failed} more could not be fitted)" if what.failed else _number(what.n)),
        (
            "expected significance",
            f"{_pair(z.median, z.median_error)}  [{z.bands['-1']:.2f}, {z.bands['1']:.2f}] in 68 %",
        ),
    ]
    if what.limit is not None:
        u = what.limit
        name = f"expected {100 * u.cl:.3g} % limit"
        facts.append(
            (name, f"{_pair(u.median, u.median_error)}  [{_number(u.bands['-1'])}, {_number(u.bands['1'])}] in 68 %")
        )
    for cover in what.coverage.values():
        share = f"{100 * cover.value:.2f} %  [{100 * cover.lower:.2f}, {100 * cover.upper:.2f}]"
        facts.append((f"coverage of {100 * cover.cl:.2f} %", f"{share}  ({cover.inside} of {what.n})"))
    head = ["parameter", "true", "bias", "spread", "mean error", "pull mean", "pull width"]
    rows = [
        [
            name,
            _number(p.true),
            _pair(p.bias, p.bias_error),
            _number(p.spread),
            _number(p.error),
            _pair(p.pull_mean, p.pull_mean_error),
            _pair(p.pull_width, p.pull_width_error),
        ]
        for name, p in what.parameters.items()
    ]
    lines = [f"{_number(what.n)} pseudo-experiments", *_section("result", _facts(facts))]
    return "\n".join([*lines, *_section("bias and pulls", _grid([head, *rows]))])
