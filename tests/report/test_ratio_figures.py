"""Figures of learned ratios show what they were given, where it belongs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from crosssection_result import LABELS

from hisigma_zfit.errors import InputError
from hisigma_zfit.report import ratio_figures


def texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_calibration_curves_have_a_panel_each_with_pulls_below(cross_section):
    curves = cross_section.posterior.calibration
    figure = ratio_figures.calibration_curves(curves, labels=LABELS)
    assert len(figure.axes) == 8
    main, lower = figure.axes[:2]
    title = main.get_legend().get_title().get_text()
    assert title.startswith(r"H $\to\tau\tau$, region U")
    assert "21.3 / 20" in title
    assert "off by \N{MINUS SIGN}0.20 %" in title
    (points,) = main.containers
    np.testing.assert_array_equal(points.lines[0].get_xdata(), curves[0].predicted)
    np.testing.assert_array_equal(points.lines[0].get_ydata(), curves[0].fraction)
    shown = lower.get_lines()[-1].get_ydata()
    np.testing.assert_allclose(shown, (curves[0].fraction - curves[0].predicted) / curves[0].error)
    assert main.get_xscale() == "log"  # shares at several powers of ten
    near = dataclasses.replace(curves[0], predicted=np.linspace(0.4, 0.9, 20), fraction=np.linspace(0.4, 0.9, 20))
    assert ratio_figures.calibration_curves([near]).axes[0].get_xscale() == "linear"
    with pytest.raises(InputError, match="at least one calibration curve"):
        ratio_figures.calibration_curves([])


def test_closure_has_a_row_for_each_feature_and_a_column_for_each_nuisance(closures):
    own = [closure for closure in closures if closure.process == "ztautau"]
    figure = ratio_figures.shape_closure(own, labels=LABELS, units={"soft_met": "GeV"})
    assert len(figure.axes) == 6
    first, _, soft = figure.axes[:3]
    assert first.get_legend().get_title().get_text() == "Tau energy scale"
    assert texts(first)[0].startswith(r"+1$\,\sigma$, $\chi^2$ / ndf")
    assert texts(first)[1].startswith("\N{MINUS SIGN}1")
    assert texts(soft)[0].startswith("1 GeV")
    assert first.get_ylabel() == "Ratio to nominal"
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", LABELS["score_htautau"], "", "", LABELS["m_vis"]]
    up, down = own[0].along("tes")
    points = [container.lines[0].get_ydata() for container in first.containers]
    np.testing.assert_allclose(points, [up.shifted / own[0].nominal, down.shifted / own[0].nominal])
    np.testing.assert_allclose(first.patches[0].get_data().values, up.reweighted / own[0].nominal)
    assert "region U" in soft.get_title(loc="right")
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["Shifted simulation", "Nominal times $S$"]


def test_closures_that_make_no_page(closures):
    with pytest.raises(InputError, match="closures of one process in one region, got htautau in U"):
        ratio_figures.shape_closure(closures)
    both = dataclasses.replace(closures[0], points=closures[0].points[-1:])
    with pytest.raises(InputError, match="points at which one nuisance is shifted alone"):
        ratio_figures.shape_closure([both])
    empty = dataclasses.replace(closures[0], nominal=np.where(np.arange(20) < 3, 0.0, closures[0].nominal))
    axes = ratio_figures.shape_closure([empty]).axes[0]  # bins without nominal events stay empty
    assert np.isnan(axes.patches[0].get_data().values[:3]).all()
    assert np.isfinite(axes.get_ylim()).all()


def test_maps_are_centred_on_no_variation(ratio_maps):
    posterior, variation = ratio_maps
    axes, bar = ratio_figures.ratio_map(variation, labels=LABELS).axes
    mesh = axes.collections[0]
    assert sum(mesh.get_clim()) == pytest.approx(2.0)
    assert mesh.get_array().shape == variation.values.T.shape
    assert mesh.get_array().mask.sum() == np.isnan(variation.values).sum()
    assert bar.get_ylabel() == r"Mean $S$, Tau energy scale +1$\,\sigma$"
    assert (axes.get_xlabel(), axes.get_ylabel()) == (LABELS["m_vis"], "pt_lep")
    axes, bar = ratio_figures.ratio_map(posterior, labels=LABELS).axes
    assert bar.get_ylabel() == "Mean posterior $g$"
    assert axes.collections[0].get_clim() == pytest.approx((np.nanmin(posterior.values), np.nanmax(posterior.values)))
    with pytest.raises(InputError, match="a map with events"):
        ratio_figures.ratio_map(dataclasses.replace(posterior, values=np.full_like(posterior.values, np.nan)))
