from __future__ import annotations

import dataclasses
import subprocess
import sys
import types
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from hisigma_zfit import plotting
from hisigma_zfit.errors import InputError
from hisigma_zfit.report.style import presented
from hisigma_zfit.results import Chi2, LikelihoodScan, Presentation, Projection, TrainingHistory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.figure import Figure


def counts(data: list[float], model: list[float], *, variance: list[float] | None = None, template: float = 0.0) -> Any:
    n = len(data)
    return Projection(
        observable="m_gg",
        edges=np.arange(n + 1.0),
        data=np.array(data),
        data_variance=np.array(data if variance is None else variance),
        components={"background": np.array(model)},
        component_variance={"background": np.full(n, template)},
    )


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


# Central 68.27 % intervals of a Poisson mean: solutions of sum_{k>=n} and sum_{k<=n} Poisson(k; mu) = 0.15866
@pytest.mark.parametrize(
    ("count", "below", "above"), [(0, 0.0, 1.8410), (1, 0.8272, 2.2995), (4, 1.9143, 3.1628), (10, 3.1087, 4.2668)]
)
def test_poisson_errors_are_the_tabulated_ones(count: float, below: float, above: float) -> None:
    low, high = plotting.poisson_errors([count], [count])
    assert low[0] == pytest.approx(below, abs=2e-4)
    assert high[0] == pytest.approx(above, abs=2e-4)


def test_poisson_errors_scale_with_the_weight() -> None:
    # four events of weight 0.5 and none: the empty bin is measured in the same weights
    low, high = plotting.poisson_errors([2.0, 0.0], [1.0, 0.0])
    np.testing.assert_allclose(low, [0.5 * 1.9143, 0.0], atol=1e-4)
    np.testing.assert_allclose(high, [0.5 * 3.1628, 0.5 * 1.8410], atol=1e-4)


def test_poisson_errors_of_negative_weight_sums_are_symmetric() -> None:
    low, high = plotting.poisson_errors([-2.0, 50.0], [9.0, 50.0])
    assert low[0] == high[0] == 3.0


def test_pulls_by_hand() -> None:
    # below the model the upper error counts, above it the lower one; nothing at all has no pull
    got = plotting.pulls(counts([4, 10, 0, 0], [8, 6, 1.8410, 0]))
    np.testing.assert_allclose(got, [-4 / 3.1628, 4 / 3.1087, -1.0, np.nan], atol=1e-4)


def test_pulls_contain_the_template_statistics() -> None:
    got = plotting.pulls(counts([4], [8], template=9.0))
    assert got[0] == pytest.approx(-4 / np.sqrt(3.1628**2 + 9), abs=1e-4)


def test_projection_draws_data_model_and_pulls(spectrum: Projection) -> None:
    words = Presentation(experiment="CMS", label="Preliminary", luminosity="138", energy="13", units={"pt_bb": "GeV"})
    with presented(words):
        figure = plotting.projection(spectrum)
    main, lower = figure.axes
    assert main.get_ylabel() == "Events / 20 GeV"
    assert lower.get_xlabel() == r"$p_T^{bb}$ [GeV]"
    assert lower.get_xlim() == (0.0, 500.0)
    texts = {text.get_text() for text in main.texts}
    assert {"signal region", "CMS", "Preliminary", "138 fb$^{-1}$ (13 TeV)"} <= texts
    points = next(c for c in main.containers if isinstance(c, ErrorbarContainer))
    np.testing.assert_array_equal(points[0].get_ydata(), spectrum.data[spectrum.data > 0])
    pull = next(c for c in lower.containers if isinstance(c, ErrorbarContainer))
    np.testing.assert_allclose(pull[0].get_ydata(), plotting.pulls(spectrum))


def test_nothing_is_claimed_that_was_not_said(spectrum: Projection) -> None:
    figure = plotting.projection(spectrum)
    texts = {text.get_text() for axes in figure.axes for text in axes.texts} - {""}
    assert texts == {"signal region"}
    assert figure.axes[1].get_xlabel() == r"$p_T^{bb}$"


def test_what_no_bin_shows_is_told(spectrum: Projection) -> None:
    beyond = dataclasses.replace(spectrum, outside=(0.0, 12.0), model_outside=(0.25, 9.5))
    main = plotting.projection(beyond).axes[0]
    assert "signal region\nbeyond the axis:\n12 above (model 9.8)" in {text.get_text() for text in main.texts}


def test_the_band_says_what_it_is_and_the_panel_has_the_chi2(spectrum: Projection) -> None:
    known = dataclasses.replace(
        spectrum, model_error=0.1 * spectrum.data, model="Pre-fit", chi2=Chi2(31.25, 24, 0.1467)
    )
    figure = plotting.projection(known)
    assert "Pre-fit unc." in legend_texts(figure)
    (text,) = (text.get_text() for text in figure.axes[1].texts)
    assert text == r"$\chi^2$ / ndf $=$ 31.2 / 24,  $p =$ 0.15"


def test_projection_legend_has_yields_from_top_to_bottom(spectrum: Projection) -> None:
    total = {name: values.sum() for name, values in spectrum.components.items()}
    background = f"{total['background']:,.0f}".replace(",", "\N{THIN SPACE}")
    assert legend_texts(plotting.projection(spectrum)) == [
        f"Data ({spectrum.data.sum():,.0f})".replace(",", "\N{THIN SPACE}"),
        f"Signal ({total['signal']:.0f})",
        f"Background ({background})",
        "Template stat. unc.",
        "Signal \N{MULTIPLICATION SIGN} 10",
    ]


def test_signal_line_is_drawn_where_the_signal_cannot_be_seen(spectrum: Projection) -> None:
    def lines(figure: Figure) -> list[str]:
        return [text for text in legend_texts(figure) if "\N{MULTIPLICATION SIGN}" in text or "alone" in text]

    visible = {**spectrum.components, "signal": 30 * spectrum.components["signal"]}
    assert lines(plotting.projection(dataclasses.replace(spectrum, components=visible))) == []
    assert lines(plotting.projection(spectrum, signal_scale=0)) == []
    assert lines(plotting.projection(spectrum, signal_scale=7)) == ["Signal \N{MULTIPLICATION SIGN} 7"]
    assert lines(plotting.projection(spectrum, logy=True)) == ["Signal alone"]


def test_logarithmic_axis_is_positive_and_shows_all(spectrum: Projection) -> None:
    main = plotting.projection(spectrum, logy=True).axes[0]
    bottom, top = main.get_ylim()
    assert main.get_yscale() == "log"
    assert 0 < bottom < spectrum.data[spectrum.data > 0].min()
    assert top > spectrum.data.max()
    # a signal far below everything is inside of the frame with most of it, unless there is less than an event of it
    signal = spectrum.components["signal"] / spectrum.components["signal"].sum()
    for events, expected in ((1.5, 0.15 * signal.max()), (0.5, bottom)):
        small = dataclasses.replace(spectrum, components={**spectrum.components, "signal": events * signal})
        found, _ = plotting.projection(small, logy=True).axes[0].get_ylim()
        assert found == pytest.approx(expected, rel=0.01)


def test_pulls_beyond_the_panel_become_arrows() -> None:
    lower = plotting.projection(counts([100, 400, 100], [100, 100, 400])).axes[1]
    markers = {line.get_marker(): line.get_ydata() for line in lower.lines if line.get_marker() in {"^", "v"}}
    bottom, top = lower.get_ylim()
    assert set(markers) == {"^", "v"}
    assert 0 < markers["^"][0] < top
    assert bottom < markers["v"][0] < 0
    assert bottom == -top


def test_excess_panel_shows_data_minus_background(spectrum: Projection) -> None:
    lower = plotting.projection(spectrum, lower="excess").axes[1]
    points = next(c for c in lower.containers if isinstance(c, ErrorbarContainer))
    np.testing.assert_allclose(points[0].get_ydata(), spectrum.data - spectrum.components["background"])
    # the panel reaches as far below zero as above, and holds every point
    low, high = lower.get_ylim()
    assert low == -high
    assert high >= np.abs(points[0].get_ydata()).max()


def _empty(what: Projection) -> Projection:
    return dataclasses.replace(what, data=0 * what.data, data_variance=0 * what.data)


@pytest.mark.parametrize("logy", [False, True], ids=["linear", "log"])
@pytest.mark.parametrize(
    "change",
    [
        _empty,
        lambda what: dataclasses.replace(_empty(what), components={}, component_variance={}, signal=()),
        lambda what: dataclasses.replace(what, components={"background": what.components["background"]}, signal=()),
        lambda what: dataclasses.replace(what, components=what.components | {"signal": 0 * what.data}),
        lambda what: dataclasses.replace(what, components=what.components | {"signal": -what.components["signal"]}),
        lambda what: dataclasses.replace(what, components=what.components | {"signal": 1e6 * what.data}),
        lambda what: dataclasses.replace(what, data=1e-7 * what.data, data_variance=1e-14 * what.data),
        lambda what: dataclasses.replace(what, data=what.data - 30, data_variance=what.data + 30),
        lambda what: dataclasses.replace(what, component_variance={}),
        lambda what: dataclasses.replace(what, edges=np.geomspace(1, 500, 26)),
    ],
    ids=["no data", "nothing", "one component", "zero signal", "negative signal", "huge signal", "tiny weights",
         "negative weights", "no template errors", "unequal bins"],
)  # fmt: skip
def test_projection_survives_odd_content(
    spectrum: Projection, change: Callable[[Projection], Projection], logy: bool
) -> None:
    # warnings are errors in this test suite: a division by zero would be seen
    for lower in ("pull",) if logy else ("pull", "excess"):
        figure = plotting.projection(change(spectrum), logy=logy, lower=lower)
        for axes in figure.axes:
            low, high = axes.get_ylim()
            assert np.isfinite([low, high]).all()
            assert low < high


def test_unequal_bins_are_not_given_one_width(spectrum: Projection) -> None:
    figure = plotting.projection(dataclasses.replace(spectrum, edges=np.geomspace(1, 500, 26)))
    assert figure.axes[0].get_ylabel() == "Events / bin"


def test_options_of_the_user_are_shown(spectrum: Projection) -> None:
    figure = plotting.projection(
        spectrum, xlabel="momentum", labels={"background": "Continuum"}, label="ATLAS Internal", right_label="14 TeV"
    )
    assert figure.axes[1].get_xlabel() == "momentum"
    assert any(text.startswith("Continuum (") for text in legend_texts(figure))
    assert {"ATLAS", "Internal", "14 TeV"} <= {text.get_text() for text in figure.axes[0].texts}


def test_fit_result_is_projected_by_the_model(spectrum: Projection, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def project(result: Any, feature: str, **options: Any) -> Projection:
        asked.append((result, feature, options))
        return spectrum

    module = types.ModuleType("hisigma_zfit.model.projections")
    module.project = project  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    result = types.SimpleNamespace(loss=None)
    plotting.projection(result, "pt_bb", region="SR", bins=25)
    plotting.projection(result, "pt_bb")
    assert asked == [(result, "pt_bb", {"region": "SR", "bins": 25}), (result, "pt_bb", {"region": None})]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("m_gg",), {}, "'pt_bb'"),
        ((), {"bins": 10}, "binned already"),
        ((), {"region": (1, 2)}, "binned already"),
        ((), {"lower": "ratio"}, "lower='pull' or 'excess'"),
    ],
)
def test_projection_refuses_options_that_do_not_fit(
    spectrum: Projection, arguments: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        plotting.projection(spectrum, *arguments, **options)


def test_projection_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(InputError, match="got float"):
        plotting.projection(3.0)
    with pytest.raises(InputError, match="name of an observable"):
        plotting.projection(types.SimpleNamespace(loss=None))


def test_scan_draws_every_curve(parabolas: LikelihoodScan) -> None:
    axes = plotting.scan(parabolas, interval=(150.0, 230.0), truth=200.0).axes[0]
    curves = {line.get_label(): line for line in axes.lines}
    np.testing.assert_array_equal(curves["Envelope"].get_ydata(), parabolas.combined)
    np.testing.assert_array_equal(curves["Statistical only"].get_ydata(), parabolas.statistical)
    np.testing.assert_array_equal(curves["Mass only"].get_ydata(), parabolas.reference)
    thin = [line for line in axes.lines if any(np.array_equal(line.get_ydata(), m) for m in parabolas.members)]
    assert len(thin) == 4  # three members, and the statistical curve, which is one of them here
    assert min(line.get_linewidth() for line in thin) < curves["Envelope"].get_linewidth()
    assert curves["Statistical only"].get_linestyle() == "--"
    assert curves["Mass only"].get_linestyle() == ":"
    assert curves["Truth"].get_xdata()[0] == 200.0
    assert {"68.3 %", "95 %"} <= {text.get_text() for text in axes.texts}
    heights = [line.get_ydata()[0] for line in axes.lines if list(line.get_xdata()) == [0, 1]]
    assert heights == pytest.approx([1.0, 1.959964**2], rel=1e-6)


def test_scan_frames_the_combination(parabolas: LikelihoodScan) -> None:
    axes = plotting.scan(parabolas).axes[0]
    assert axes.get_ylim() == (0.0, 10.0)
    # 180 - 30 sqrt(10) and 200 + 30 sqrt(10), to one step of the scan
    assert axes.get_xlim() == pytest.approx((85.1, 294.9), abs=2.0)
    assert axes.get_xlabel() == "Signal yield"


def test_scan_without_extras_and_without_members(parabolas: LikelihoodScan) -> None:
    bare = dataclasses.replace(parabolas, members=np.empty((0, 201)), statistical=None, reference=None)
    figure = plotting.scan(LikelihoodScan.from_json(bare.to_json()))
    assert legend_texts(figure) == ["Envelope"]


def test_training_draws_members_mean_and_held_out(history: TrainingHistory) -> None:
    figure = plotting.training([history, dataclasses.replace(history, name="signal", validation=None)])
    first, second = figure.axes
    curves = {line.get_label(): line for line in first.lines}
    np.testing.assert_allclose(curves["Training, mean"].get_ydata(), history.train.mean(axis=0))
    points = next(c for c in first.containers if isinstance(c, ErrorbarContainer))
    np.testing.assert_allclose(points[0].get_xdata(), [2.0, 4.0])
    np.testing.assert_allclose(points[0].get_ydata(), [0.57, 0.52])
    assert not second.containers
    assert [axes.get_legend().get_title().get_text() for axes in figure.axes] == ["Background", "Signal"]
    # the steep start is cut
    assert first.get_ylim()[1] < history.train.max()
    assert first.get_ylim()[0] < history.train.min()


def test_training_needs_a_history() -> None:
    with pytest.raises(InputError, match="training history"):
        plotting.training([])


def test_figures_leave_no_global_state(
    spectrum: Projection, parabolas: LikelihoodScan, history: TrainingHistory, tmp_path: Path
) -> None:
    mpl.get_backend()  # chosen at the first question, which is not what this test is about
    before = mpl.rcParams.copy()
    plotting.projection(spectrum)
    plotting.scan(parabolas)
    plotting.save(plotting.training([history]), tmp_path / "training")
    assert plt.get_fignums() == []
    assert mpl.rcParams == before


def test_save_is_deterministic_and_keeps_dots_in_names(parabolas: LikelihoodScan, tmp_path: Path) -> None:
    first = plotting.save(plotting.scan(parabolas), tmp_path / "scan_v1.2")
    second = plotting.save(plotting.scan(parabolas), tmp_path / "again")
    assert [path.name for path in first] == ["scan_v1.2.pdf", "scan_v1.2.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in (*first, *second))
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert first[0].read_bytes().startswith(b"%PDF")
    assert b"CreationDate" not in first[0].read_bytes()
    assert first[1].read_bytes().startswith(b"\x89PNG")


def test_report_imports_without_tensorflow() -> None:
    code = (
        "import sys, hisigma_zfit.report.figures, hisigma_zfit.runs.folder, hisigma_zfit.report.tables;"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'zfit')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
