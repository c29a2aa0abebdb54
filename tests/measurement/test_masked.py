"""Masked windows of the mass: said before training, closed wherever data are read, and left out of every number."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from hisigma_zfit.anomaly.options import SearchOptions
from hisigma_zfit.configuration.arguments import add_flags, given_options
from hisigma_zfit.data import SignalRegion
from hisigma_zfit.data.memory import mounted
from hisigma_zfit.errors import InputError
from hisigma_zfit.measurement.in_memory import with_addresses
from hisigma_zfit.measurement.inputs import CLOSED, read, require_disjoint
from hisigma_zfit.measurement.options import MeasureOptions
from hisigma_zfit.validation.options import ValidateOptions
from hisigma_zfit.validation.plan import place_windows
from hisigma_zfit.validation.sideband_shape import SidebandShape

EVENTS = {"data": "d.root", "signal": "s.root", "mass": "m", "range": (90, 180), "features": ["x"]}
REGION, WINDOW = (115.0, 135.0), (145.0, 159.0)


def events(n=6000, seed=1):
    rng = np.random.default_rng(seed)
    return {"m": rng.uniform(90.0, 180.0, n), "x": rng.normal(size=n)}


def taken(**options):
    """What a measurement reads, and its options."""
    peak = np.random.default_rng(2).normal(125.0, 2.0, 500)
    tables = {"data": events(), "signal": {"m": np.append(peak, [150.0] * 20), "x": np.zeros(520)}}
    plain, held = with_addresses(EVENTS | {"signal_region": REGION} | tables | options)
    settings = MeasureOptions.build(**plain)
    with mounted(held):
        return read(settings), settings


def inside(data):
    return int(SignalRegion(*WINDOW).contains(data["m"]).sum())


def test_of_several_signal_regions_the_first_is_measured_and_the_others_are_masked():
    found = MeasureOptions.build(**EVENTS, signal_region=[REGION, WINDOW], masked=[[95, 105]])
    assert (found.signal_region, found.masked) == (REGION, ((95.0, 105.0), WINDOW))
    assert MeasureOptions.build(**found.model_dump()) == found
    assert found.numbers()["masked"] == [[95.0, 105.0], [145.0, 159.0]]
    assert "masked" not in MeasureOptions.build(**EVENTS, signal_region=[REGION]).numbers()  # as of runs of before


def test_both_are_flags_that_may_be_repeated():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    add_flags(parser, MeasureOptions)
    words = [
        "--data",
        "d",
        "--signal",
        "s",
        "--mass",
        "m",
        "--range",
        "90",
        "180",
        "--features",
        "x",
        "--signal-region",
        "115",
        "135",
    ]

    def parsed(*more):
        return MeasureOptions.build(**given_options(parser.parse_args([*words, *more]), MeasureOptions))

    assert parsed().masked == ()
    for flag in ("--signal-region", "--masked"):
        assert parsed(flag, "145", "159", flag, "95", "105").masked == ((145.0, 159.0), (95.0, 105.0))


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        ([[130, 140]], r"windows with masses between them, got \[115, 135\) and \[130, 140\)"),
        ([[135, 140]], "windows with masses between them"),
        ([[95, 100], [98, 110]], "windows with masses between them"),
        ([[170, 190]], "inside the range 90 to 180"),
        ([[90, 100]], "what is at an end of the range is left out by the range"),
        ([[160, 150]], "masked: expected lower < upper"),
    ],
)
def test_windows_that_cannot_be_are_told_in_one_line(windows, words):
    with pytest.raises(InputError, match=words) as told:
        MeasureOptions.build(**EVENTS, signal_region=REGION, masked=windows)
    assert "\n" not in str(told.value)


def test_a_search_has_one_window():
    with pytest.raises(InputError, match="expected one window, got 2"):
        SearchOptions.build(**{k: v for k, v in EVENTS.items() if k != "signal"}, signal_region=[REGION, WINDOW])


@pytest.mark.parametrize("blind", [False, True])
def test_nothing_of_a_masked_window_is_kept_of_what_was_observed(blind):
    more = events(seed=3)
    found, _ = taken(masked=[WINDOW], sideband_training=more, blind=blind)
    whole, _ = taken(sideband_training=more, blind=blind)
    for one, other in ((found.data, whole.data), (found.training.events, whole.training.events)):
        assert inside(one) == 0
        assert len(one) == len(other) - inside(other)
    assert SignalRegion(*REGION).contains(found.data["m"]).any() == (not blind)
    assert found.data.report.dropped[CLOSED] > 0  # which a result leaves out
    # simulation is there, and only counts where the data are
    assert inside(found.signal.events) == 20
    assert (found.size("signal"), whole.size("signal")) == (500.0, 520.0)


def test_an_event_of_a_masked_window_in_two_categories_is_nobodys_business():
    plain, held = with_addresses(EVENTS | {"signal_region": REGION, "data": events(), "signal": events()})
    cuts = {"low": "x < 0", "high": "(x > 0) | ((m > 146) & (m < 150))"}
    with mounted(held):
        with pytest.raises(InputError, match="events of the data in low and high"):
            require_disjoint(MeasureOptions.build(**plain), cuts)
        with pytest.raises(InputError, match="events of the signal simulation in low and high"):
            require_disjoint(MeasureOptions.build(**plain, masked=[WINDOW]), cuts)


def test_the_background_has_to_be_learned_on_both_sides_of_every_window():
    with pytest.raises(InputError, match=r"at least 100 sideband events on each side of every window, got \d\d from"):
        taken(masked=[(136.0, 150.0)])


def test_a_validation_keeps_its_windows_and_its_spectrum_out_of_what_is_masked():
    assert ValidateOptions.build(**EVENTS, signal_region=REGION, masked=[WINDOW]).measured().masked == (WINDOW,)
    windows = place_windows((90, 180), REGION, 4, [WINDOW])
    assert len(windows) == 4
    for low, high in windows:
        assert all(high < first or low > last for first, last in (REGION, WINDOW))
    m = 90.0 - 45.0 * np.log1p(np.random.default_rng(4).random(40_000) * np.expm1(-2.0))
    kept = m[~SignalRegion(*REGION).contains(m)]
    whole = SidebandShape.fit(kept, (90, 180), REGION)
    beside = SidebandShape.fit(kept[~SignalRegion(*WINDOW).contains(kept)], (90, 180), REGION, (SignalRegion(*WINDOW),))
    # what it expects in the window is what is there: 4 sigma, of the count and twice as much of the interpolation
    there = int(SignalRegion(*WINDOW).contains(m).sum())
    assert beside.expected(*WINDOW) == pytest.approx(whole.expected(*WINDOW), rel=0.05)
    assert beside.expected(*WINDOW) == pytest.approx(there, abs=4.0 * np.sqrt(3.0 * there))
