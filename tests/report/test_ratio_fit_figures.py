"""Figures of fits of learned ratios show every number that they were given."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from crosssection_result import LABELS

from hisigma_zfit.errors import InputError
from hisigma_zfit.report import counting_figures, explanations, histograms, plotting, ratio_fit_figures


def texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def line(axes, label):
    return next(each for each in axes.get_lines() if each.get_label() == label)


def test_names_of_methods():
    assert ratio_fit_figures.method_label("binned-20") == "Binned, 20 bins"
    assert ratio_fit_figures.method_label("unbinned-uncalibrated") == "Unbinned, uncalibrated"
    assert ratio_fit_figures.method_label("counting") == "Counting"
    assert ratio_fit_figures.method_label("counting", labels={"counting": "One bin"}) == "One bin"


def test_likelihood_has_all_curves(poi_scan):
    (axes,) = ratio_fit_figures.likelihood(poi_scan, labels=LABELS, truth=1.0).axes
    assert set(texts(axes)) == {
        "Profiled",
        "Statistical only",
        "With simulation error",
        "Binned, 20 bins",
        "Binned, 8 bins",
        "Truth",
    }
    np.testing.assert_array_equal(line(axes, "Profiled").get_ydata(), poi_scan.profiled)
    assert axes.get_xlabel() == r"$\mu$"
    assert "ln" in axes.get_ylabel()
    bare = dataclasses.replace(poi_scan, with_simulation=None, methods={})
    assert texts(ratio_fit_figures.likelihood(bare).axes[0]) == ["Profiled", "Statistical only"]


def test_a_width_is_shown_in_its_unit_and_by_factors(soft_met_profile):
    (axes,) = ratio_fit_figures.nuisance_profile(soft_met_profile, labels=LABELS).axes
    assert axes.get_xlabel() == "Soft term [GeV]"
    assert axes.get_xscale() == "log"
    np.testing.assert_array_equal(line(axes, "Constraint alone").get_ydata(), soft_met_profile.constraint)
    np.testing.assert_array_equal(line(axes, "Fit, all others profiled").get_xdata(), soft_met_profile.settings)
    assert texts(axes)[-1] == "Best fit, 1.11 GeV"
    free = dataclasses.replace(
        soft_met_profile, constraint=np.zeros(121), settings=soft_met_profile.theta, unit="", name="tes"
    )
    (axes,) = ratio_fit_figures.nuisance_profile(free).axes
    assert "Constraint alone" not in texts(axes)
    assert (axes.get_xscale(), axes.get_xlabel()) == ("linear", "tes")


def test_biases_stand_above_their_settings(cross_section):
    (axes,) = ratio_fit_figures.bias_points(cross_section.bias, labels=LABELS).axes
    for container, study in zip(axes.containers, cross_section.bias.values(), strict=True):
        values = [point.value - study.truth for point in study.points]
        np.testing.assert_allclose(container.lines[0].get_ydata(), values)
    words = texts(axes)
    assert words[-1].startswith("Binned, 20 bins: mean +0.063, rms 0.089")
    # a row of settings for each nuisance: its name and twelve numbers
    below = [text.get_text() for text in axes.texts if text.get_position()[1] < 0]
    assert len(below) == 3 * 13
    assert below[:3] == ["Tau energy scale", "\N{MINUS SIGN}1.5", "\N{MINUS SIGN}1.5"]
    assert axes.get_ylabel() == r"Fitted $\mu$ $-$ truth"
    band = axes.patches[0].get_data()
    np.testing.assert_allclose(band.values, [point.sigma for point in cross_section.bias["unbinned"].points])
    fewer = dataclasses.replace(cross_section.bias["unbinned"], points=cross_section.bias["unbinned"].points[:3])
    with pytest.raises(InputError, match="studies of bias at the same points, got unbinned, binned-20"):
        ratio_fit_figures.bias_points(cross_section.bias | {"unbinned": fewer})
    with pytest.raises(InputError, match="got none"):
        ratio_fit_figures.bias_points({})


def test_replicas_are_points_beside_the_fit(cross_section):
    own = cross_section.uncertainty["mu"]
    (axes,) = ratio_fit_figures.replicas(own, error=0.21, labels=LABELS).axes
    np.testing.assert_array_equal(line(axes, "Replicas").get_ydata(), own.replicas)
    assert texts(axes)[1:4] == ["Mean, 0.98", "All events, 1.00", "Error of the fit, 0.21"]
    assert r"0.18 \pm 0.06" in texts(axes)[0]
    assert any("Diboson: 0.012" in text.get_text() for text in axes.texts)
    assert axes.get_ylabel() == r"Fitted $\mu$"
    bare = dataclasses.replace(own, by_process={})
    (axes,) = ratio_fit_figures.replicas(bare).axes
    assert "Error of the fit" not in " ".join(texts(axes))


def test_widths_by_bins_and_the_unbinned_limit(cross_section):
    (axes,) = ratio_fit_figures.widths(cross_section.comparison, labels=LABELS).axes
    np.testing.assert_array_equal(line(axes, "Binned score").get_data(), [[8, 20, 60], [0.245, 0.225, 0.224]])
    np.testing.assert_allclose(line(axes, "Unbinned, 0.210").get_ydata(), 0.21)
    assert "Unbinned, statistical only, 0.192" in texts(axes)
    assert "Unbinned, uncalibrated, 0.212" in texts(axes)
    assert not any("Counting" in text for text in texts(axes))
    low, high = axes.get_ylim()
    assert low < 0.192
    assert high > 0.245
    with pytest.raises(InputError, match="methods with bins of a score"):
        ratio_fit_figures.widths({"unbinned": cross_section.comparison["unbinned"]})


def test_counting_bins_have_their_names_and_the_error_of_the_fit(cross_section):
    main, panel = counting_figures.counting_bins(cross_section, labels=LABELS).axes
    assert [tick.get_text() for tick in panel.get_xticklabels()] == list(cross_section.cells)[1:]
    words = texts(main)
    assert words[0].startswith("Data (")
    assert words[1] == r"H $\to\tau\tau$ (1$\,$496)"
    assert "Post-fit unc." in words
    assert (main.get_ylabel(), main.get_yscale()) == ("Events / bin", "log")
    # the smallest process, the signal, is inside of the frame
    assert main.get_ylim()[0] < min(own.postfit for own in cross_section.yields["htautau"].values())
    closed = {name: dataclasses.replace(cell, observed=None) for name, cell in cross_section.cells.items()}
    with pytest.raises(InputError, match="got closed ones"):
        counting_figures.counting_bins(dataclasses.replace(cross_section, cells=closed))
    with pytest.raises(InputError, match="got none"):
        counting_figures.counting_bins(dataclasses.replace(cross_section, cells={"U": cross_section.cells["U"]}))


def test_pulls_after_a_fit_are_in_the_errors_of_the_data_beside_a_band_of_those_of_the_model(postfit):
    total = sum(postfit.components.values())
    pulls = histograms.pulls(postfit)
    np.testing.assert_allclose(pulls[:5], ((postfit.data - total) / np.sqrt(postfit.data))[:5], rtol=0.02)
    figure = plotting.projection(postfit, logy=True, labels=LABELS)
    main, panel = figure.axes
    assert "Post-fit unc." in texts(main)
    assert "Template stat. unc." not in texts(main)
    band = panel.patches[-1].get_data()
    np.testing.assert_allclose(band.values[:5], (postfit.model_error / np.sqrt(postfit.data))[:5], rtol=0.02)
    np.testing.assert_allclose(band.baseline, -band.values)
    before = dataclasses.replace(postfit, model_error=None, component_variance=postfit.components)
    assert np.all(np.abs(histograms.pulls(before)) <= np.abs(pulls))
    assert "Template stat. unc." in texts(plotting.projection(before).axes[0])


def test_impacts_of_well_constrained_nuisances_stay_visible(cross_section):
    _, right = explanations.impacts(cross_section.impacts["mu"]).axes
    assert right.get_xlim()[1] == pytest.approx(1.15 * 4 * 0.062)  # although a pre-fit frame reaches 1.1


def test_losses_have_their_own_title(ratio_histories):
    figure = plotting.training(ratio_histories, loss="Loss by event", labels=LABELS)
    assert [axes.get_ylabel() for axes in figure.axes] == ["Loss by event"] * 2
    assert figure.axes[1].get_legend().get_title().get_text() == LABELS["ztautau"]
