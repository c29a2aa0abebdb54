"""Figures of a cross-section's toys."""

from __future__ import annotations

import dataclasses

import numpy as np
from crosssection_result import LABELS

from hisigma_zfit.report import coverage_figures
from hisigma_zfit.statistics.coverage import challenge_tolerance


def texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_pulls_are_those_of_one_method(toy_study):
    (axes,) = coverage_figures.toy_pulls(toy_study, "binned-20", labels=LABELS).axes
    (points,) = axes.containers
    assert points.lines[0].get_ydata().sum() == 1000
    own = toy_study.methods["binned-20"]
    assert any(
        f"{own.pull_mean:.3f}" in text and f"{own.pull_rms:.3f}" in text and "20 bins" in text for text in texts(axes)
    )
    assert axes.get_xlabel() == r"Pull of $\mu$"


def test_coverage_and_width_stand_in_ranges_of_the_truth(toy_study):
    for draw, name, title in (
        (coverage_figures.coverage_by_truth, "coverage", "Coverage"),
        (coverage_figures.width_by_truth, "width", "Mean width of the 68.3 % interval"),
    ):
        (axes,) = draw(toy_study, labels=LABELS).axes
        for container, method in zip(axes.containers, toy_study.methods.values(), strict=True):
            found = [getattr(each, name) for each in method.by_mu]
            np.testing.assert_allclose(container.lines[0].get_ydata(), found)
        assert texts(axes)[-3:] == ["Unbinned", "Binned, 20 bins", "Binned, 8 bins"]
        assert (axes.get_xlabel(), axes.get_ylabel()) == (r"True $\mu$", title)


def test_methods_stand_below_each_other_with_their_widths_and_scores(toy_study):
    (axes,) = coverage_figures.method_coverage(toy_study).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["Unbinned", "Binned, 20 bins", "Binned, 8 bins"]
    centres = [container.lines[0].get_xdata()[0] for container in axes.containers]
    np.testing.assert_allclose(centres, [method.coverage for method in toy_study.methods.values()])
    words = {text.get_text() for text in axes.texts}
    for method in toy_study.methods.values():
        assert {f"{method.width:.3f}", f"{method.score:.2f}"} <= words
    assert axes.get_xlabel() == "Coverage in 50 draws of 20 toys"
    span = axes.patches[0]
    np.testing.assert_allclose((span.get_x(), span.get_x() + span.get_width()), challenge_tolerance(1000))
    other = {name: dataclasses.replace(m, score=float("nan")) for name, m in toy_study.methods.items()}
    (axes,) = coverage_figures.method_coverage(dataclasses.replace(toy_study, methods=other)).axes
    assert "Score" not in {text.get_text() for text in axes.texts}


def test_one_true_value_makes_all_figures(toy_study):
    one = {name: dataclasses.replace(m, by_mu=m.by_mu[:1]) for name, m in toy_study.methods.items()}
    study = dataclasses.replace(toy_study, mu=(0.1, 0.1), methods=one)
    assert set(coverage_figures.coverage_figures(study)) == {
        "toys_pulls_unbinned",
        "toys_pulls_binned-20",
        "toys_pulls_binned-8",
        "toys_coverage",
        "toys_width",
        "toys_methods",
    }
