from __future__ import annotations

import pytest

from hisigma_zfit.report.labels import (
    axis_label,
    component_label,
    event_label,
    plain_number,
    selection_lines,
    within_sentence,
)
from hisigma_zfit.report.style import presented
from hisigma_zfit.results import Presentation


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("pt_bb", r"$p_T^{bb}$"),
        ("Hbb_pt", r"$p_T^{bb}$"),
        ("pt_gg_over_m", r"$p_T^{\gamma\gamma}/m_{\gamma\gamma}$"),
        ("pt_bb_over_m_bb", r"$p_T^{bb}/m_{bb}$"),
        ("m_bb_over_dr_bb", r"$m_{bb}/\Delta R_{bb}$"),
        ("dr_bb", r"$\Delta R_{bb}$"),
        ("dr_gg", r"$\Delta R_{\gamma\gamma}$"),
        ("dR_b1_phot2", r"$\Delta R_{b_1\gamma_2}$"),
        ("m_gg", r"$m_{\gamma\gamma}$"),
        ("m_gb", r"$m_{\gamma b}$"),
        ("score", "score"),
        ("pt_leading", "pt_leading"),
        ("x_over_y", "x_over_y"),
        ("", ""),
    ],
)
def test_axis_label_is_made_from_the_name(name: str, title: str) -> None:
    assert axis_label(name) == title


def test_own_label_and_unit_win() -> None:
    assert axis_label("pt_bb", labels={"pt_bb": "dijet momentum / TeV"}) == "dijet momentum / TeV"
    assert axis_label("pt_bb", labels={"pt_bb": "dijet momentum"}, unit="TeV") == "dijet momentum [TeV]"
    assert axis_label("pt_bb", unit="") == r"$p_T^{bb}$"
    assert axis_label("score", unit="arb. u.") == "score [arb. u.]"


def test_event_label_states_width_and_unit() -> None:
    assert event_label("m_gg", 2.0) == "Events / 2"
    assert event_label("dr_bb", 0.1) == "Events / 0.1"
    assert event_label("m_gg", None) == "Events / bin"
    assert event_label("m_gg", 2000.0, unit="MeV") == "Events / 2000 MeV"


def test_component_label_falls_back_to_the_name() -> None:
    assert component_label("background") == "Background"
    assert component_label("ttH") == "ttH"
    assert component_label("ttH", labels={"ttH": r"$t\bar{t}H$"}) == r"$t\bar{t}H$"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("115 < m_gg < 135", r"115 < $m_{\gamma\gamma}$ < 135"),
        (
            "115 < m_gg < 135, ratio cut (50 % of signal)",
            r"115 < $m_{\gamma\gamma}$ < 135" + "\nratio cut (50 % of signal)",
        ),
        ("0.4 < dr_bb < 2", r"0.4 < $\Delta R_{bb}$ < 2"),
        ("mass window", "mass window"),
        (r"$m_{\gamma\gamma}$, by hand", r"$m_{\gamma\gamma}$, by hand"),
    ],
)
def test_selection_reads_like_a_figure(text: str, shown: str) -> None:
    assert selection_lines(text) == shown


def test_selection_uses_own_labels() -> None:
    assert selection_lines("1 < x < 2", labels={"x": "quality"}) == "1 < quality < 2"


def test_labels_after_other_words_begin_small_unless_they_are_names():
    shown = [within_sentence(text) for text in ("Signal yield", "HH yield", "$p_1$", "n_sig", "")]
    assert shown == ["signal yield", "HH yield", "$p_1$", "n_sig", ""]


def test_units_and_titles_are_those_that_were_said() -> None:
    with presented(Presentation(units={"m_gg": "TeV", "score": "a. u."}, titles={"pt_bb": "dijet momentum"})):
        assert axis_label("m_gg") == r"$m_{\gamma\gamma}$ [TeV]"
        assert axis_label("score") == "score [a. u.]"
        assert axis_label("pt_bb") == "dijet momentum"
        assert event_label("m_gg", 0.0025) == "Events / 0.0025 TeV"
        assert selection_lines("0.115 < m_gg < 0.135") == r"0.115 < $m_{\gamma\gamma}$ < 0.135 TeV"
    assert axis_label("m_gg") == r"$m_{\gamma\gamma}$"


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.5, "2.5"), (0.025, "0.025"), (2500.0, "2500"), (1 / 3, "0.3333"), (0.0, "0"), (1e-7, "1e-07")],
)
def test_widths_are_written_without_powers_where_a_reader_needs_none(value: float, text: str) -> None:
    assert plain_number(value) == text


@pytest.mark.parametrize(
    ("luminosity", "energy", "text"),
    [
        ("138", "13", "138 fb$^{-1}$ (13 TeV)"),
        ("36.1 pb-1", "900 GeV", "36.1 pb$^{-1}$ (900 GeV)"),
        ("", "13.6", "13.6 TeV"),
        ("5", "", "5 fb$^{-1}$"),
        ("", "", ""),
    ],
)
def test_luminosity_and_energy_have_units(luminosity: str, energy: str, text: str) -> None:
    assert Presentation(luminosity=luminosity, energy=energy).right == text
