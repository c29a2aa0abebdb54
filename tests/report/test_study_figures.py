"""Figures of a study: what was given is what is drawn."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from hisigma_zfit.errors import InputError
from hisigma_zfit.report import study_figures, tables
from hisigma_zfit.results import LikelihoodScan
from hisigma_zfit.results.explanations import Contour
from hisigma_zfit.results.strategies import Expectation, PairedSummary, StrategySummary


def summary(name, sigma):
    return StrategySummary(name, 5, 200.0, sigma, 0.002, 0.01, 0.05, 0.12, 0.04, 9.5)


def scan(best, poi="n_sig"):
    values = np.linspace(0.0, 400.0, 81)
    return LikelihoodScan(poi=poi, values=values, combined=((values - best) / 25.0) ** 2, members=np.empty((0, 81)))


def test_distributions_are_normalised():
    rng = np.random.default_rng(1)
    samples = {"Signal": rng.normal(1.0, 0.2, 3000), "Background": rng.uniform(0.0, 2.0, 5000)}
    figure = study_figures.distributions(samples, "dr_bb", bins=40, limits=(-1.0, 3.0))
    (axes,) = figure.axes
    drawn = [patch.get_data() for patch in axes.patches]
    for steps, values in zip(drawn, samples.values(), strict=True):
        counts = np.histogram(values, np.linspace(-1.0, 3.0, 41))[0]
        np.testing.assert_allclose(steps.values, counts / counts.sum() / 0.1)
    assert axes.get_xlabel() == r"$\Delta R_{bb}$"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["Signal", "Background"]
    assert not plt.get_fignums()


def test_strategies_stand_where_their_errors_are():
    figure = study_figures.strategies([summary("mass only", 0.32), summary("HI-SIGMA", 0.107)])
    (axes,) = figure.axes
    points = [container.lines[0].get_xdata()[0] for container in axes.containers]
    assert points == [0.32, 0.107]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["mass only", "HI-SIGMA"]
    assert axes.get_xlim()[0] == 0.0


def test_the_table_compares_with_the_reference():
    text = tables.strategies([summary("mass only", 0.321), summary("HI-SIGMA", 0.107)])
    (line,) = [line for line in text.splitlines() if line.startswith("mass only")]
    assert "3.000" in line
    assert "9.50" in line
    assert text.endswith("5 data sets, 200 signal events each; relative to HI-SIGMA; median Z")
    with pytest.raises(InputError, match="one of mass only"):
        tables.strategies([summary("mass only", 0.3)])


def test_paired_ratios_and_published_numbers_have_columns():
    paired = [
        PairedSummary("mass only", "HI-SIGMA", 5, 2.987, 0.012),
        PairedSummary("HI-SIGMA", "HI-SIGMA", 5, 1.0, 0.0),
    ]
    text = tables.strategies(
        [summary("mass only", 0.321), summary("HI-SIGMA", 0.107)], paired=paired, published={"HI-SIGMA": "1"}
    )
    first, second = (line for line in text.splitlines() if line.startswith(("mass only", "HI-SIGMA")))
    assert "2.987 +- 0.012" in first
    assert first.endswith("-")
    assert "1.000" in second
    assert second.endswith(" 1")
    assert "in the same data set" in text
    assert max(map(len, text.splitlines())) <= 100


def test_expected_errors_are_compared_by_data_set():
    what = [Expectation("a", k, 20.0 + k) for k in range(3)] + [Expectation("b", k, 2.0 * (20.0 + k)) for k in range(3)]
    text = tables.expectations(what, truth=200.0, references=("a", "b"))
    first, second = (line for line in text.splitlines() if line.startswith(("a ", "b ")))
    assert "0.105 +- 0.003" in first
    assert "0.500 +- 0.000" in first
    assert "2.000 +- 0.000" in second
    assert "of 3 data sets" in text


def test_contours_of_several_strategies_are_closed_and_named():
    angle = 2.0 * np.pi * np.arange(40) / 40

    def ring(cl, radius):
        points = np.stack([200.0 + radius * np.cos(angle), 390.0 + 2.0 * radius * np.sin(angle)], axis=1)
        return Contour("n_HH", "n_VH", (200.0, 390.0), cl, 2.3, points, np.zeros(40))

    assert ring(0.68, 10.0).area == pytest.approx(np.pi * 200.0, rel=0.005)
    what = {"HI-SIGMA": [ring(0.95, 30.0), ring(0.68, 20.0)], "Binned score": [ring(0.68, 25.0)]}
    figure = study_figures.compared_contours(what, truth=(210.0, 380.0))
    (axes,) = figure.axes
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["HI-SIGMA", "Binned score", "Truth"]
    (full,) = [line for line in axes.lines if line.get_label() == "HI-SIGMA"]
    assert full.get_xdata()[0] == full.get_xdata()[-1]
    assert full.get_xdata().max() == pytest.approx(220.0)
    other = [ring(0.68, 10.0), Contour("x", "y", (0.0, 0.0), 0.68, 2.3, np.zeros((4, 2)), np.zeros(4))]
    with pytest.raises(InputError, match="one pair of parameters"):
        study_figures.compared_contours({"a": other})


def test_scans_show_both_curves_and_the_truth():
    figure = study_figures.scans({"plain": scan(200.0), "jes": scan(210.0)}, truth=190.0)
    (axes,) = figure.axes
    best = [float(line.get_xdata()[np.argmin(line.get_ydata())]) for line in axes.lines[:2]]
    assert best == [200.0, 210.0]
    assert axes.lines[2].get_xdata() == [190.0, 190.0]
    assert axes.get_xlim() == (125.0, 285.0)


def test_the_average_of_scans_is_that_of_a_typical_data_set():
    """Parabolas of equal width: one of the same width around the mean of their minima."""
    average = LikelihoodScan.average([scan(180.0), scan(200.0), scan(250.0)])
    np.testing.assert_allclose(average.combined, scan(210.0).combined, atol=1e-12)
    assert average.members.shape == (0, 81)
    with pytest.raises(InputError, match="one grid"):
        LikelihoodScan.average([scan(180.0), scan(180.0, poi="mu")])
    with pytest.raises(InputError, match="got 0 others"):
        LikelihoodScan.average([])


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(InputError, match="1 to 5 samples"):
        study_figures.distributions({}, "dr_bb")
    with pytest.raises(InputError, match="at least one strategy"):
        study_figures.strategies([])
    with pytest.raises(InputError, match="scans of one parameter"):
        study_figures.scans({"a": scan(1.0), "b": scan(1.0, poi="mu")})
