"""What the command prints."""

from __future__ import annotations

import dataclasses

import pytest

from hisigma_zfit.report import crosssection_tables
from hisigma_zfit.report.text import WIDTH


def test_the_table_has_every_part(cross_section):
    lines = crosssection_tables.cross_section(cross_section).splitlines()
    assert max(map(len, lines)) <= WIDTH
    for expected in (
        "Cross-section from unbinned data: mu",
        "warning: the error of the simulation is 1.0 of that of the data",
        "  unbinned in U              53 391",
        "  value                    1.04  -0.2 +0.22",
        "  68.3 % interval          [0.84, 1.26]",
        "  error of the simulation  0.21, not in these intervals; with it",
        "  statistical           -0.19  +0.194",
        "  jes            0.4200 +- 0.0800  +0.42        0.08        -  -0.062 +0.056   -0.775 +0.698",
        "  U               htautau     609.5   615.6 +- 12.2",
        "  binned-8                1.14      [0.9, 1.39]  0.245  0.210        1.167   0.01",
        "  mean  1.075",
        "    products                     tes x jes, tes x soft_met, jes x soft_met",
        "  ztautau   learned       421000      0.26      m_vis 1.3     0.1 %  0.001  2.60>0.56     +0.7",
        "    halved by           4.1 times the events of ztautau, ttbar",
        "  unbinned   simulation      12  +0.062  0.068     0.325    0.095           0.059   5.8",
        "  design      210.0        337.0",
        "seed 7",
    ):
        assert expected in lines


def test_what_was_not_asked_for_is_not_printed(cross_section):
    bare = dataclasses.replace(
        cross_section,
        data="asimov",
        poi={"mu": dataclasses.replace(cross_section.poi["mu"], error_simulation=None, one_sided=True)},
        impacts={},
        yields={},
        cells={},
        exponents={},
        bias={},
        uncertainty={},
        gof_counting=None,
        gof={},
        comparison={},
        assignments=(),
        held_back=None,
        warnings=("a word " * 40,),
    )
    text = crosssection_tables.cross_section(bare)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "an Asimov set in place of data" in text
    assert "events bound it from below" in text
    for title in ("Error of mu", "Fitted yields", "Ways of measuring", "Assignments", "Variations", "Checks", "Bias"):
        assert title not in text
    # nuisances without impacts are shown all the same
    row = next(line for line in text.splitlines() if line.startswith("  ttbar_norm"))
    assert row.split() == ["ttbar_norm", "1.200", "+-", "0.290", "+1.20", "0.29", "-", "-", "-"]


def test_closed_data_are_said_to_be(cross_section):
    cells = {name: dataclasses.replace(cell, observed=None) for name, cell in cross_section.cells.items()}
    text = crosssection_tables.cross_section(dataclasses.replace(cross_section, cells=cells))
    assert text.count("closed") == 2


@pytest.mark.parametrize("failed", [0, 3])
def test_the_table_of_toys(toy_study, failed):
    methods = {name: dataclasses.replace(method, failed=failed) for name, method in toy_study.methods.items()}
    pulls = {f"nuisance_{k}": (0.1, 1.0) for k in range(7)}
    methods["unbinned"] = dataclasses.replace(methods["unbinned"], nuisance_pulls=pulls)
    text = crosssection_tables.coverage(dataclasses.replace(toy_study, methods=methods))
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[:3] == [
        "Coverage of the 68.27 % interval of mu",
        "======================================",
        "50 draws of 20 toys, mu flat in [0.1, 3], true nuisances drawn from their priors",
    ]
    own = methods["unbinned"]
    row = next(line for line in lines if line.startswith("  unbinned"))
    assert f"{own.coverage:.3f} +- {own.error:.3f}  {own.width:.3f}  {own.score:.3f}" in row
    assert sum(line.startswith("  unbinned") for line in lines) == 6 + (failed > 0)
    needed = next(line for line in lines[lines.index("What an interval needs to cover") :] if line.startswith("  unb"))
    assert needed.split()[1:] == [
        f"{own.missing:.3f}",
        "+-",
        f"{own.missing_error:.3f}",
        f"{2.0 * own.missing / own.width:.2f}",
        "-",
    ]
    assert "error of the finite simulation" not in text
    assert ("3 of 1003" in text) == (failed > 0)
    assert "nuisance_6" in text
    assert "do not contain the error of that simulation" in text


def test_the_table_tells_what_an_interval_with_the_simulation_covers(toy_study):
    own = dataclasses.replace(
        toy_study.methods["unbinned"], coverage_with_simulation=0.8126, coverage_with_simulation_error=0.0123
    )
    methods = {**toy_study.methods, "unbinned": own}
    text = crosssection_tables.coverage(dataclasses.replace(toy_study, methods=methods, simulation=0.202))
    assert text.count("0.813 +- 0.012") == 1
    assert "error of the finite simulation 0.202: intervals of data need it in quadrature" in text
    # a study from before it was asked for
    before = {name: dataclasses.replace(each, missing=float("nan")) for name, each in methods.items()}
    assert "to be added" not in crosssection_tables.coverage(dataclasses.replace(toy_study, methods=before))


def test_toys_of_one_true_value(toy_study):
    methods = {name: dataclasses.replace(method, by_mu=method.by_mu[:1]) for name, method in toy_study.methods.items()}
    study = dataclasses.replace(toy_study, mu=(1.0, 1.0), nuisances="fixed", methods=methods)
    text = crosssection_tables.coverage(study)
    assert "mu = 1, true nuisances fixed, auxiliary measurements drawn" in text
    assert "by the true value" not in text
