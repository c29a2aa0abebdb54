"""`hisigma cross-section check`: is a configuration file one that can be run, told from headers and a thousand rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.crosssection.analysis import CHECKED_ROWS, check_shift
from hisigma_zfit.crosssection.columns import data_columns, header_of
from hisigma_zfit.crosssection.inputs import analysis_of, input_files, require_other_files
from hisigma_zfit.data.expressions import compile_expression

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.crosssection.analysis import Analysis
    from hisigma_zfit.crosssection.options import CrossSectionOptions

__all__ = ["check"]


def check(options: CrossSectionOptions) -> str:
    """Check what can be checked without reading whole files: files, columns, functions, regions, and the design.

    Args:
        options: The configuration.

    Returns:
        A few lines: processes, nuisances, design points and regions.

    Raises:
        InputError: Something is wrong; the message is one line.
    """
    input_files(options)
    require_other_files(options)
    analysis = analysis_of(options, max_events=CHECKED_ROWS)
    for own in analysis.shapes:
        for process in analysis.processes:
            if own.kind == "shift" and own.acts_on(process.name):
                check_shift(own, process.events, seed=options.seed, whose=process.name)
    features = _checked_features(analysis)
    lines = [_process_line(options, name) for name in options.processes]
    if options.data is not None:
        wanted = data_columns(options)
        headers = [header for file in options.data.files for header in header_of(file, options.tree)]
        for header in headers:
            for text in (*wanted.columns.values(), *(() if wanted.weight is None else (wanted.weight,))):
                compile_expression(text, header.names, header.where)
        lines.append(f"data: {sum(header.n_rows for header in headers):,} rows")
    design = analysis.design
    lines += [
        f"{len(features)} features: {', '.join(features)}",
        f"{len(analysis.shapes)} nuisances that move events, {len(analysis.norms)} that scale processes",
        f"{len(design.points)} design points and the nominal, {design.monomials.size} monomials"
        + (f": {', '.join(design.monomials.names)}" if design.monomials.size else ""),
    ]
    if len(design.singular_values):
        lines.append(f"smallest singular value of the design {design.singular_values[-1]:.3g}")
    if design.absent:
        lines.append(f"without products, for want of a common point: {', '.join(design.absent)}")
    lines.append(f"{analysis.cells.size} cells before merging: {', '.join(own.name for own in analysis.regions)}")
    return "\n".join(lines)


def _process_line(options: CrossSectionOptions, name: str) -> str:
    own = options.processes[name]
    rows = sum(header.n_rows for file in own.files for header in header_of(file, options.tree))
    return f"{name}: {rows:,} rows, {'times ' + ' times '.join(own.poi) if own.poi else 'background'}"


def _checked_features(analysis: Analysis) -> tuple[str, ...]:
    """Features of a few rows of every process, and their cells, which shows every mistake in an expression."""
    names: tuple[str, ...] = ()
    for process in analysis.processes:
        columns, rows = analysis.recipe.selected(process.events.columns)
        if not len(rows):
            continue
        analysis.recipe.x(columns, whose=f"process {process.name}")
        names = analysis.recipe.names(columns)
        _try_cells(analysis, columns, len(rows))
    return names


def _try_cells(analysis: Analysis, columns: Mapping[str, Array], n: int) -> None:
    scores = np.full((n, len(analysis.processes)), 1.0 / len(analysis.processes))
    analysis.cells(columns, scores if analysis.cells.use_scores else None)
