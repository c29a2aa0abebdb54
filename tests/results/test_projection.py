"""Histograms that users give and get: the protocol of UHI, hist and mplhep."""

from __future__ import annotations

import boost_histogram as bh
import hist
import mplhep
import numpy as np
import pytest
from matplotlib.figure import Figure
from uhi.typing.plottable import PlottableHistogram

from hisigma_zfit import plotting
from hisigma_zfit.errors import InputError
from hisigma_zfit.results import Projection


def test_a_projection_is_a_histogram_for_others(spectrum):
    assert isinstance(spectrum, PlottableHistogram)
    (axis,) = spectrum.axes
    assert (axis.name, len(axis)) == ("pt_bb", 25)
    assert axis[0] == (0.0, 20.0)
    np.testing.assert_array_equal(spectrum.values(), spectrum.data)
    np.testing.assert_array_equal(spectrum.counts(), spectrum.data)  # without weights
    axes = Figure().add_subplot()
    mplhep.histplot(spectrum, ax=axes, histtype="errorbar")
    drawn = axes.containers[0].lines[0].get_ydata()
    np.testing.assert_array_equal(drawn, spectrum.data)


@pytest.mark.parametrize("name", ["data", "background", "signal", "model"])
def test_hist_gets_contents_and_variances(spectrum, name):
    expected = {
        "data": (spectrum.data, spectrum.data_variance),
        "model": (sum(spectrum.components.values()), sum(spectrum.component_variance.values())),
        **{k: (v, spectrum.component_variance[k]) for k, v in spectrum.components.items()},
    }[name]
    got = spectrum.hist(name)
    assert isinstance(got, hist.Hist)
    np.testing.assert_array_equal(got.values(), expected[0])
    np.testing.assert_array_equal(got.variances(), expected[1])
    np.testing.assert_array_equal(got.axes[0].edges, spectrum.edges)
    assert got.sum().value == pytest.approx(expected[0].sum())


def test_an_unknown_histogram_is_refused(spectrum):
    with pytest.raises(InputError, match="one of data, model, background, signal, got 'bkg'"):
        spectrum.hist("bkg")


def test_histograms_of_users_are_taken_and_drawn(spectrum):
    again = Projection.of(
        spectrum.hist(),
        {name: spectrum.hist(name) for name in spectrum.components},
        signal=("signal",),
        selection="signal region",
    )
    assert again.to_json() == spectrum.to_json()
    figure = plotting.projection(again)
    assert len(figure.axes) == 2


def test_histograms_without_weights_are_counts():
    values = np.random.default_rng(3).normal(size=1000)
    data = hist.Hist.new.Reg(10, -2, 2, name="x").Int64().fill(values)
    model = bh.Histogram(bh.axis.Regular(10, -2, 2), storage=bh.storage.Weight()).fill(values, weight=0.5)
    got = Projection.of(data, {"background": model})
    assert got.observable == "x"
    np.testing.assert_array_equal(got.data, np.histogram(values, np.linspace(-2, 2, 11))[0])
    np.testing.assert_array_equal(got.data_variance, got.data)
    np.testing.assert_allclose(got.components["background"], 0.5 * got.data)
    np.testing.assert_allclose(got.component_variance["background"], 0.25 * got.data)


def test_histograms_that_do_not_fit_are_refused():
    axis = bh.axis.Regular(10, 0, 1)
    data = bh.Histogram(axis)
    with pytest.raises(InputError, match="an axis without one; pass observable="):
        Projection.of(data, {})
    with pytest.raises(InputError, match="b in the 10 bins of the data, got 5 from 0 to 1"):
        Projection.of(data, {"b": bh.Histogram(bh.axis.Regular(5, 0, 1))}, observable="x")
    with pytest.raises(InputError, match="data as a histogram of counts in one dimension, got COUNT in 2"):
        Projection.of(bh.Histogram(axis, axis), {}, observable="x")
    with pytest.raises(InputError, match="got MEAN in 1"):
        Projection.of(bh.Histogram(axis, storage=bh.storage.Mean()), {}, observable="x")
