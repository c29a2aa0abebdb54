"""Figures of significance improvement: what was given is what is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from hisigma_zfit.errors import InputError
from hisigma_zfit.report.improvement_figures import improvement_by_signal, improvement_curves
from hisigma_zfit.statistics.significance_improvement import significance_improvement


@pytest.fixture(scope="module")
def curve():
    rng = np.random.default_rng(1)
    return significance_improvement(rng.normal(2.0, 1.0, 1000), rng.normal(0.0, 1.0, 5000))


def test_curves_end_where_few_events_are_left(curve):
    figure = improvement_curves({"blob": curve, "classifier": curve}, fewest=10)
    (axes,) = figure.axes
    line = axes.lines[0]
    several = curve.background_efficiency * 5000 >= 10
    np.testing.assert_array_equal(line.get_xdata(), curve.signal_efficiency[several])
    np.testing.assert_array_equal(line.get_ydata(), curve.sic[several])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["blob", "classifier", "random"]


@pytest.mark.parametrize("at", ["at_1e3", "at_1e2", "maximum"])
def test_points_stand_where_they_are(curve, at):
    figure = improvement_by_signal({"blob": [(0.4, curve), (0.8, curve)]}, at=at)
    (axes,) = figure.axes
    drawn = axes.containers[0].lines[0]
    np.testing.assert_array_equal(drawn.get_xdata(), [0.4, 0.8])
    np.testing.assert_array_equal(drawn.get_ydata(), [getattr(curve, at).sic] * 2)


def test_bad_numbers_of_scores(curve):
    with pytest.raises(InputError, match="1 to 6"):
        improvement_curves({})
    with pytest.raises(InputError, match="1 to 6"):
        improvement_by_signal({str(k): [(1.0, curve)] for k in range(7)})
