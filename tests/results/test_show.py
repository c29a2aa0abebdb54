"""How results show themselves in a line and in a notebook."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import hisigma_zfit as hz
from hisigma_zfit import results
from hisigma_zfit.inference.family_fits import FittedFamily
from hisigma_zfit.inference.search import FoundSignal
from hisigma_zfit.results import (
    Contour,
    Correlations,
    Discovery,
    GoodnessOfFit,
    Impact,
    Impacts,
    Interval,
    LimitScan,
    ToySummary,
    UpperLimit,
)
from hisigma_zfit.results.numbers import number, pair
from hisigma_zfit.results.show import Shown

STORED = Path(__file__).parent / "stored"
BANDS = {"-2": 10.5, "-1": 14.1, "0": 19.6, "1": 27.3, "2": 36.6}


@pytest.fixture
def shown(measured, parabolas, spectrum, history):
    """A result of every class that a user meets, by its name."""
    grid = np.linspace(0.0, 50.0, 11)
    impacts = (Impact("jes", 0.1, (0.9, 1.0), 0.0, 1.0, (-3.0, 2.5), (-3.5, 3.0)),)
    every = (
        measured,
        parabolas,
        spectrum,
        history,
        Interval("n_sig", 187.2, 155.0, 221.0, 0.683),
        Discovery("n_sig", 6.1, 5e-10, 37.2),
        UpperLimit("n_sig", 19.6, expected=BANDS),
        LimitScan("n_sig", grid, grid, dict.fromkeys(BANDS, grid), 0.95, 19.6, BANDS),
        Impacts("n_sig", 187.2, (32.0, 34.0), (30.0, 31.0), {"jets": (3.0, 2.5)}, impacts),
        Correlations(("n_sig", "p1"), np.array([[1.0, -0.25], [-0.25, 1.0]])),
        Contour("n_sig", "p1", (1.0, 2.0), 0.68, 2.3, np.ones((48, 2)), np.zeros(48)),
        GoodnessOfFit("energy", 1.2, np.linspace(0.0, 1.0, 99), 0.01, 400, 500, 7),
        ToySummary.from_json((STORED / "toys_1.json").read_text()),
    )
    return {type(result).__name__: result for result in every}


def cells(result):
    """Text of all cells of the table by the text of the row's head, and the document."""
    root = ET.fromstring(result._repr_html_())
    return {row[0].text: "".join(row[1].itertext()) for row in root.iter("tr") if len(row) == 2}, root


def test_what_is_no_result_but_is_shown_at_the_end_of_a_cell_is_a_table_too():
    events = np.random.default_rng(1).uniform(100.0, 160.0, 2000)
    data = hz.Dataset.from_arrays({"m": events, "pt": events**2}, np.full(2000, 0.5))[events > 101.0]
    shown, _ = cells(data)
    assert shown["events"] == number(len(data))
    assert float(shown["sum of weights"]) == 0.5 * len(data)
    assert shown["dropped: selection"] == number(2000 - len(data))
    assert shown["pt"] == f"{data['pt'].min():.6g} to {data['pt'].max():.6g}"
    spectrum = hz.fit_spectrum(events, (100, 160), (120, 130), degree=1)
    assert cells(spectrum)[0]["window"] == "120, 130"
    for kind in (FoundSignal, FittedFamily):  # the numbers of their result
        assert issubclass(kind, Shown)
        assert kind.shown(SimpleNamespace(result=data)) == data.shown()


def test_every_result_is_a_table_in_a_notebook_and_a_line_elsewhere(shown):
    for name, result in shown.items():
        table, root = cells(result)
        assert root.tag == "table"
        assert root.find("thead/tr/th").text == name
        assert set(result.shown()) <= set(table)
        assert repr(result).startswith(f"{name}(")
        assert "\n" not in repr(result)
        assert "array([" not in repr(result) + str(result)
        assert len(repr(result)) < 1200


def test_no_class_writes_its_arrays_out():
    for name in results.__all__:
        assert getattr(results, name).__repr__.__module__ == "hisigma_zfit.results.base"


def test_numbers_are_rounded_and_arrays_are_told_by_their_shape(shown):
    table, _ = cells(shown["LikelihoodScan"])
    assert table["members"] == "3 × 201 numbers, 0 to 53.78"  # (400 - 180)^2 / 30^2
    assert table["method"] == "envelope"
    assert repr(shown["LikelihoodScan"]).startswith("LikelihoodScan(poi='n_sig', values=<array (201,)>, combined=")
    table, _ = cells(shown["Interval"])
    assert (table["lower"], table["cl"]) == ("155", "0.683")


def test_parts_of_one_kind_make_one_table(shown):
    _, root = cells(shown["Measurement"])
    rows = [[cell.text for cell in row] for row in root.iter("tr")]
    at = rows.index(["member", "value", "error", "z"])
    assert rows[at + 1 : at + 4] == [["0", "180", "31", "6"], ["1", "187", "31", "6"], ["2", "194", "31", "6"]]
    assert [None, "value", "error"] in rows
    assert ["p1", "1.812", "0.021"] in rows
    _, root = cells(shown["Correlations"])
    assert ["p1", "-0.25", "1"] in [[cell.text for cell in row] for row in root.iter("tr")]
    assert "versions" not in cells(shown["Measurement"])[0]


def test_names_are_escaped():
    odd = Discovery("<script>alert('n')</script> & more", 1.0, 0.5, 1.0)
    assert "<script>" not in odd._repr_html_()
    assert cells(odd)[0]["poi"] == odd.poi


def test_words_of_a_measurement(measured):
    assert str(measured) == "n_sig = 187.2 +- 33.1, Z = 6.10 sigma, < 245 at 95 % CL"


def test_numbers_as_words():
    assert [number(v) for v in (1234567, 0.000123456, None, float("nan"), "x", True)] == [
        "1 234 567", "0.0001235", "-", "-", "x", "True",
    ]  # fmt: skip
    assert pair(187.23, 33.14) == "187.2 +- 33.1"
    assert pair(1.0, float("nan")) == "1 +- -"


def test_a_value_that_is_zero_in_its_digits_has_no_sign():
    assert pair(-1e-9, 1.0) == "0.00 +- 1.00"
    assert pair(-0.004, 0.5) == "-0.004 +- 0.500"
