from __future__ import annotations

import numpy as np
import pytest

from hisigma_zfit.errors import InputError
from hisigma_zfit.report import explanations
from hisigma_zfit.results.explanations import Contour, Correlations, GoodnessOfFit, Impact, Impacts, WeightedFeature


def impact(name: str, pull: float, shift: float, *, prefit: bool = True) -> Impact:
    return Impact(
        name=name,
        value=pull,
        errors=(0.8, 0.9),
        prefit_value=0.0 if prefit else None,
        prefit_error=1.0 if prefit else None,
        postfit=(-shift, shift),
        prefit=(-1.2 * shift, 1.2 * shift) if prefit else None,
    )


@pytest.fixture
def budget() -> Impacts:
    return Impacts(
        poi="n_sig",
        value=187.2,
        total=(30.1, 33.4),
        statistical=(28.0, 29.0),
        impacts=(impact("scale", 0.4, 12.0), impact("p1", 1.66, 6.0, prefit=False), impact("rate", -1.1, 3.0)),
    )


def circle(cl: float, radius: float) -> Contour:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    points = np.column_stack([200 + radius * np.cos(angle), 100 + radius * np.sin(angle)])
    return Contour(
        x="n_sig", y="n_bkg", best=(200.0, 100.0), cl=cl, level=radius, points=points, bounded=np.zeros(len(angle))
    )


def test_impacts_show_pulls_left_and_shifts_right(budget: Impacts) -> None:
    left, right = explanations.impacts(budget).axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["1  scale", "2  p1", "3  rate"]
    # the largest impact is on top
    assert [text.get_position()[1] for text in left.get_yticklabels()] == [2, 1, 0]
    centres = [container.lines[0].get_data() for container in left.containers]
    np.testing.assert_allclose([(float(x[0]), float(y[0])) for x, y in centres], [(0.4, 2), (-1.1, 0)])
    # two filled bars for each, and two frames where there is a pre-fit error
    widths = sorted(bar.get_width() for container in right.containers for bar in container)
    np.testing.assert_allclose(widths, sorted([-12, 12, -14.4, 14.4, -6, 6, -3, 3, -3.6, 3.6]))
    assert any("1.66" in text.get_text() for text in left.texts)
    assert any("187" in text.get_text() for text in right.texts)


def test_impacts_keep_the_leading_ones(budget: Impacts) -> None:
    left, _ = explanations.impacts(budget, top=2, labels={"scale": "Photon energy scale"}).axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["1  Photon energy scale", "2  p1"]
    with pytest.raises(InputError, match="at least one nuisance"):
        explanations.impacts(Impacts(poi="n_sig", value=1.0, total=(1.0, 1.0), statistical=(1.0, 1.0)))


def test_correlations_are_written_into_the_cells() -> None:
    what = Correlations(names=("n_sig", "p1"), matrix=np.array([[1.0, -0.001], [-0.001, 1.0]]))
    axes = explanations.correlations(what).axes[0]
    assert [text.get_text() for text in axes.texts[:4]] == ["1.00", "0.00", "0.00", "1.00"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["Signal yield", "p1"]


def test_contours_are_closed_and_inside_the_frame() -> None:
    figure = explanations.contours([circle(0.95, 20.0), circle(0.6827, 10.0)], truth=(205.0, 95.0))
    axes = figure.axes[0]
    first, second = axes.lines[:2]
    for line, radius in ((first, 10.0), (second, 20.0)):
        x, y = line.get_data()
        assert (x[0], y[0]) == (x[-1], y[-1])
        np.testing.assert_allclose(np.hypot(x - 200, y - 100), radius)
    assert axes.get_xlim()[0] < 180
    assert axes.get_xlim()[1] > 220
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["68.3 % CL", "95 % CL", "Best fit", "Truth"]


def test_contours_of_different_parameters_do_not_share_a_frame() -> None:
    other = Contour.from_json(circle(0.95, 5.0).to_json().replace("n_bkg", "p1"))
    with pytest.raises(InputError, match="2 pairs"):
        explanations.contours([circle(0.95, 5.0), other])
    with pytest.raises(InputError, match="0 pairs"):
        explanations.contours([])


@pytest.mark.parametrize(
    ("statistic", "p_value", "text"), [(1.0, 0.2, "$p = 0.2$"), (9.0, 1 / 1000, r"$p \leq 0.001$")]
)
def test_goodness_of_fit_marks_the_observed_value(statistic: float, p_value: float, text: str) -> None:
    null = np.random.default_rng(1).normal(size=999)
    what = GoodnessOfFit(
        method="energy", statistic=statistic, null=null, p_value=p_value, n_data=100, n_model=110, seed=1
    )
    axes = explanations.goodness_of_fit(what).axes[0]
    assert axes.lines[0].get_xdata()[0] == statistic
    assert axes.get_xlim()[0] < min(null.min(), statistic)
    assert axes.get_xlim()[1] > max(null.max(), statistic)
    assert any(text in entry.get_text() for entry in axes.get_legend().get_texts())
    assert axes.get_xlabel() == "Energy distance"


def test_weighted_feature_shows_negative_bins() -> None:
    what = WeightedFeature(
        observable="pt_bb",
        edges=np.arange(5.0),
        data=np.array([-3.0, 5.0, 10.0, 2.0]),
        data_error=np.array([2.0, 2.0, 3.0, 0.0]),
        expected=np.array([1.0, 5.0, 7.0, 2.0]),
    )
    axes = explanations.weighted_feature(what).axes[0]
    assert axes.get_ylim()[0] < -5.0
    assert axes.get_ylim()[1] > 13.0
    # (4/2)^2 + 0 + (3/3)^2 over the bins that have an error
    assert axes.get_legend().get_title().get_text() == r"$\chi^2$ / bins = 5.0 / 3"
