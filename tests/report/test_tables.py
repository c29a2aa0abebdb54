from __future__ import annotations

import dataclasses
import math

import pytest

from hisigma_zfit.errors import InputError
from hisigma_zfit.report import tables
from hisigma_zfit.results import BlindMeasurement, ClosureReport, Estimate, Measurement, MemberFit, Unblinding
from hisigma_zfit.results.explanations import Impact, Impacts


def row(text: str, start: str) -> str:
    return next(line.strip() for line in text.splitlines() if line.strip().startswith(start))


def test_measurement_says_everything(measured: Measurement) -> None:
    text = tables.measurement(measured)
    assert row(text, "n_sig") == "n_sig             187.2 +- 33.1"
    assert row(text, "68.27 % interval").endswith("[155, 221]")
    assert row(text, "95 % interval").endswith("[124, 256]")
    assert row(text, "statistical only").endswith("185.0 +- 31.2")
    assert row(text, "significance").endswith("6.10 sigma (p0 = 5e-10)")
    assert row(text, "95 % upper limit").endswith("245")
    assert row(text, "mass only").endswith("210.0 +- 66.2, 3.20 sigma")
    # 66.2 / 33.1 = 2, and errors shrink with the root of the data
    assert row(text, "the features").endswith("mass-only error / error = 2.00, worth 4.00 times the data")
    assert row(text, "n_bkg").endswith("40013 +- 203")
    assert row(text, "p1").endswith("1.8123 +- 0.0210")
    assert row(text, "read").split() == ["read", "41", "200"]
    assert row(text, "used").split() == ["used", "40", "200"]
    assert row(text, "outside the range").split()[-2:] == ["1", "000"]
    assert row(text, "sideband training").split() == ["sideband", "training", "182", "503"]
    assert row(text, "2 ").split() == ["2", "194.0", "31.0", "6.00"]
    assert row(text, "background in the sidebands").endswith("misses pt_bb")
    assert row(text, "misfit in nats").endswith("pt_bb 0.022, dr_bb -0.0003")
    assert row(text, "fitted signal by true signal").endswith("0.981 +- 0.014")
    assert row(text, "train").endswith("88.3 s")
    assert "data.root" in text
    assert "/far/away" not in text
    assert text.endswith("seed 7")


def test_features_that_lose_are_not_said_to_gain(measured: Measurement) -> None:
    assert measured.mass_only is not None
    worse = dataclasses.replace(
        measured, mass_only=dataclasses.replace(measured.mass_only, error=0.88 * measured.error)
    )
    # 0.88^2 = 0.77
    text = " ".join(tables.measurement(worse).split())
    assert "lose: mass-only error / error = 0.88, as if 23 % of the data were thrown away" in text


def test_long_facts_go_on_below_themselves(measured: Measurement) -> None:
    names = [f"feature_number_{k}" for k in range(12)]
    long = dataclasses.replace(measured, closure=ClosureReport(tuple(names), dict.fromkeys(names, 0.25)))
    text = tables.measurement(long)
    assert "..." not in text
    assert all(text.count(f"{name} 0.25") == 1 for name in names)
    assert all(len(line) <= 100 for line in text.splitlines())


def test_blind_measurement_says_what_to_expect(foreseen: BlindMeasurement) -> None:
    text = tables.blind_measurement(foreseen)
    assert "no data between 115 and 135 were used" in text
    head = "signal events value error Z stat. error average's Z mass-only error its Z"
    assert row(text, "signal  ").split() == head.split()
    assert row(text, "none").split() == ["none", "0.0", "1.5", "14.5", "0.00", "13.2", "0.00", "60.0", "0.00"]
    injected = ["injected", "187.2", "188.7", "33.2", "6.24", "32.0", "6.69", "69.4", "2.88"]
    assert row(text, "injected").split() == injected
    assert "Expected (envelope)" in text
    assert "Expected 95 % upper limit without signal" in text
    assert row(text, "median").endswith("31, of the average of all members 27.6")
    assert row(text, "1 sigma").endswith("19.9 to 38.3")
    assert row(text, "2 sigma").endswith("14.8 to 51.4")
    assert row(text, "background in the region").endswith("8123.4 +- 61.2")
    assert row(text, "sidebands").split() == ["sidebands", "31", "876"]
    assert row(text, "background in the sidebands").endswith("misses pt_bb")
    assert row(text, "fitted signal by true signal").endswith("0.981 +- 0.014")
    assert text.endswith("seed 7")
    assert max(map(len, text.splitlines())) <= 100


def test_what_was_opened_says_when(measured: Measurement) -> None:
    assert "Unblinding" not in tables.measurement(measured)
    record = Unblinding("2026-01-31T12:00:00Z", "sha256:" + "ef" * 32, {}, {})
    text = tables.measurement(dataclasses.replace(measured, unblinding=record))
    assert row(text, "signal region opened").endswith("2026-01-31T12:00:00Z")
    assert row(text, "after the blind result").endswith("efef")


def test_no_line_is_wider_than_a_page(measured: Measurement) -> None:
    long = dataclasses.replace(
        measured,
        parameters={"a very long name of a parameter " * 4: Estimate(1.0, 2.0)},
        inputs={"x" * 120: "sha256:" + "0" * 64},
        closure=ClosureReport(("feature " * 20,), {"feature " * 20: 0.1}),
    )
    several = [dataclasses.replace(measured, value=1e8 + i) for i in range(3)]
    texts = (tables.measurement(long), tables.comparison(several, names=["n" * 90, "b", "c"], truth=1e8))
    for line in "\n".join(texts).splitlines():
        assert len(line) <= 100
        assert line == line.rstrip()


def test_numbers_stay_aligned(measured: Measurement) -> None:
    varied = dataclasses.replace(
        measured, members=tuple(MemberFit(i, v, 1.5, 2.0) for i, v in enumerate((9.0, 187.25, -3.0)))
    )
    lines = tables.members(varied).splitlines()
    assert [line.split()[1] for line in lines[2:]] == ["9.0", "187.2", "-3.0"]
    assert len({len(line) for line in lines[2:]}) == 1


def test_missing_parts_are_left_out(measured: Measurement) -> None:
    bare = dataclasses.replace(
        measured,
        mass_only=None, members=(), closure=None, signal_response=None, parameters={}, timings_s={},
    )  # fmt: skip
    text = tables.measurement(bare)
    for word in ("mass only", "the features", "Bootstraps", "Closure", "parameters", "Time"):
        assert word not in text
    assert tables.members(bare) == ""


def test_numbers_that_are_not_finite_are_shown_as_such(measured: Measurement) -> None:
    odd = dataclasses.replace(
        measured,
        interval_68=(-math.inf, 221.0),
        stat_only=Estimate(185.0, math.nan),
        parameters={"p1": Estimate(0.0, 0.0)},
        error=0.0,
    )
    # through the file and back, where JSON knows no infinity
    text = tables.measurement(Measurement.from_json(odd.to_json()))
    assert row(text, "68.27 % interval").endswith("[-inf, 221]")
    assert row(text, "statistical only").endswith("185 +- -")
    assert row(text, "p1").endswith("0 +- 0")
    assert "the features" not in text


def test_comparison_has_means_with_their_errors(measured: Measurement) -> None:
    several = [dataclasses.replace(measured, value=value) for value in (180.0, 190.0, 230.0)]
    lines = tables.comparison(several, names=["a", "b", "c"], truth=200.0).splitlines()
    assert lines[0].split()[:4] == ["data", "set", "n_sig", "error"]
    # mean 200; sample deviation sqrt((400 + 100 + 900) / 2) = 26.46, over sqrt(3) = 15.28
    assert lines[-2].split()[:2] == ["mean", "200.0"]
    assert lines[-1].split()[5] == "15.3"
    assert [line.split()[-1] for line in lines[2:5]] == ["-0.604", "-0.302", "0.906"]


def test_comparison_of_one_has_no_error_of_the_mean(measured: Measurement) -> None:
    assert "+-" not in tables.comparison([measured])


def test_comparison_refuses_what_cannot_be_compared(measured: Measurement) -> None:
    with pytest.raises(InputError, match="got none"):
        tables.comparison([])
    with pytest.raises(InputError, match="mu, n_sig"):
        tables.comparison([measured, dataclasses.replace(measured, poi="mu")])
    with pytest.raises(InputError, match="expected 1 names, got 2"):
        tables.comparison([measured], names=["a", "b"])


def test_impacts_are_ranked_with_the_budget_below() -> None:
    jes = Impact("jes", 0.02, (0.03, 0.04), 0.0, 1.0, (-1.5, 1.25), (-40.0, 38.0))
    slope = Impact("p1", 1.7, (0.02, 0.02), None, None, (0.5, -0.5), None)
    budget = Impacts("n_sig", 200.0, (20.0, 21.0), (16.0, 17.0), {"jets": (11.0, 12.0)}, (jes, slope))
    lines = tables.impacts(budget).splitlines()
    assert lines[2].split() == ["jes", "0.0200", "+-", "0.0350", "1", "-1.5", "+1.25", "-40", "+38"]
    assert lines[3].split()[-4:] == ["-", "+0.5", "-0.5", "-"]
    cells = {line.split()[0]: line.split()[1:] for line in lines[6:]}
    assert cells["systematic"] == ["-12", "+12.3"]  # root of 20^2 - 16^2 and of 21^2 - 17^2
    assert cells["jets"] == ["-11", "+12"]
