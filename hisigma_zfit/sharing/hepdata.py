"""The numbers of a measurement as a submission to HEPData: ``submission.yaml`` and a file for each table.

Source: https://hepdata-submission.readthedocs.io, schema 1.1.1.  Columns have no units: those of the files are nowhere
said.  Whoever submits adds reactions and energies to the keywords.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.measurement.stored import MeasurementResults
    from hisigma_zfit.results import LikelihoodScan, Measurement, Projection

__all__ = ["SUBMISSION", "submission"]

SUBMISSION = "submission.yaml"
_LONGEST = 64  # letters of a table's name

_Values = list[dict[str, Any]]


@dataclass(frozen=True)
class _Table:
    """One table.

    Attributes:
        name: Name, of at most 64 letters.
        description: What it shows.
        independent: Columns that say what a row is, by name.
        dependent: Columns of numbers by name, with qualifiers.
    """

    name: str
    description: str
    independent: dict[str, _Values]
    dependent: list[tuple[str, dict[str, str], _Values]]

    @property
    def file(self) -> str:
        return re.sub(r"[^\w.-]+", "_", self.name.lower(), flags=re.ASCII).strip("_") + ".yaml"

    def content(self) -> dict[str, Any]:
        return {
            "independent_variables": [
                {"header": {"name": name}, "values": values} for name, values in self.independent.items()
            ],
            "dependent_variables": [
                {
                    "header": {"name": name},
                    **({"qualifiers": [{"name": k, "value": v} for k, v in said.items()]} if said else {}),
                    "values": values,
                }
                for name, said, values in self.dependent
            ],
        }


def submission(results: MeasurementResults) -> dict[str, str]:
    """The files of a submission, by name: what was measured, the fitted parameters, the scan, and every projection.

    Args:
        results: What a run folder holds.
    """
    measured = results.measurement
    tables = [_answers(measured), _parameters(measured)]
    if results.scan is not None:
        tables.append(_scan(results.scan))
    tables += [_projection(own) for own in results.projections]
    tables += [_projection(own, ", signal enriched") for own in results.projections_enriched]
    used = measured.n_events.used
    about = {
        "comment": f"Unbinned measurement of {measured.poi} in {used} events with hisigma_zfit "
        f"{measured.versions.get('hisigma_zfit', '')}. Errors have one standard deviation, as intervals of 68.3 %."
    }
    documents: list[dict[str, Any]] = [about]
    files = {}
    for table in _numbered(tables):
        files[table.file] = _yaml([table.content()])
        documents.append(
            {
                "name": table.name,
                "description": table.description,
                "keywords": [{"name": "observables", "values": ["N"]}, {"name": "phrases", "values": ["Unbinned"]}],
                "data_file": table.file,
            }
        )
    return {SUBMISSION: _yaml(documents), **files}


def _yaml(documents: Iterable[dict[str, Any]]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False, explicit_start=True, allow_unicode=True, width=120)


def _numbered(tables: Sequence[_Table]) -> list[_Table]:
    """The same with names, and so files, that tell them apart."""
    done: list[_Table] = []
    for table in tables:
        taken, name, k = {own.file for own in done}, table.name[:_LONGEST], 2
        while (own := _Table(name, table.description, table.independent, table.dependent)).file in taken:
            name, k = f"{table.name[: _LONGEST - 4]} {k}", k + 1
        done.append(own)
    return done


def _number(value: float) -> float | str:
    """A number of six digits, or a dash where there is none: YAML's NaN is no number for HEPData."""
    return float(f"{value:.6g}") if math.isfinite(value) else "-"


def _value(value: float, *errors: dict[str, Any]) -> dict[str, Any]:
    return {"value": _number(value), **({"errors": list(errors)} if errors else {})}


def _symmetric(error: float, label: str) -> dict[str, Any]:
    return {"symerror": _number(error), "label": label}


def _column(values: Array, variances: Array | None = None, *, label: str = "") -> _Values:
    if variances is None:
        return [_value(value) for value in values.tolist()]
    errors = np.sqrt(variances).tolist()
    return [
        _value(value, _symmetric(error, label)) if error > 0.0 else _value(value)  # HEPData refuses errors of zero
        for value, error in zip(values.tolist(), errors, strict=True)
    ]


def _answers(what: Measurement) -> _Table:
    lower, upper = what.interval_68
    percent = f"{100 * what.confidence.upper_limit_95:.3g} %"
    asymmetric = {"asymerror": {"minus": _number(lower - what.value), "plus": _number(upper - what.value)}}
    two = what.interval_95
    rows: dict[str, dict[str, Any]] = {
        what.poi: _value(what.value, {**asymmetric, "label": "total"}),
        f"{what.poi}, statistical only": _value(what.stat_only.value, _symmetric(what.stat_only.error, "stat")),
        f"lower edge at {100 * what.confidence.interval_95:.3g} %": _value(two[0]),
        f"upper edge at {100 * what.confidence.interval_95:.3g} %": _value(two[1]),
        f"upper limit at {percent} CL (CLs)": _value(what.upper_limit_95),
        "significance in standard deviations": _value(what.significance.z),
        "p-value of the background alone": _value(what.significance.p0),
    }
    if what.mass_only is not None:
        rows[f"{what.poi}, mass alone"] = _value(what.mass_only.value, _symmetric(what.mass_only.error, "total"))
    names: _Values = [{"value": name} for name in rows]
    return _Table(
        "Result",
        f"{what.poi} with its error, interval, significance and upper limit.",
        {"Quantity": names},
        [("Value", {}, list(rows.values()))],
    )


def _parameters(what: Measurement) -> _Table:
    return _Table(
        "Parameters",
        "Fitted values of all parameters that float, with the errors of the fit's Hessian.",
        {"Parameter": [{"value": name} for name in what.parameters]},
        [("Value", {}, [_value(own.value, _symmetric(own.error, "fit")) for own in what.parameters.values()])],
    )


def _scan(scan: LikelihoodScan) -> _Table:
    columns = {"total": scan.combined, "statistical": scan.statistical, "mass alone": scan.reference}
    return _Table(
        "Likelihood scan",
        f"Profile of the likelihood: 2 (-log L) less its minimum, by {scan.poi}.",
        {scan.poi: [{"value": _number(value)} for value in scan.values.tolist()]},
        [
            ("-2 ln(L/Lmax)", {"Uncertainties": name}, _column(values))
            for name, values in columns.items()
            if values is not None
        ],
    )


def _projection(shown: Projection, kind: str = "") -> _Table:
    words = ", ".join(filter(None, (shown.category if shown.category not in shown.selection else "", shown.selection)))
    category = f" in {shown.category}" if shown.category else ""
    bins: _Values = [
        {"low": float(low), "high": float(high)}
        for low, high in zip(shown.edges[:-1].tolist(), shown.edges[1:].tolist(), strict=True)
    ]
    total = sum(shown.components.values(), np.zeros_like(shown.data))
    said = {"Selection": words} if words else {}
    columns = [
        ("Data", said, _column(shown.data, shown.data_variance, label="stat")),
        ("Fitted model", said, _column(total)),
        *((f"Fitted {component}", said, _column(values)) for component, values in shown.components.items()),
    ]
    return _Table(
        f"Projection on {shown.observable}{category}{kind}",
        f"Events by {shown.observable}{f' ({words})' if words else ''}: data and fitted model.",
        {shown.observable: bins},
        columns,
    )
