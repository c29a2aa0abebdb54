"""The figure of a limit shows where CLs of the data and of the bands cross."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy.optimize import brentq
from scipy.stats import norm

from hisigma_zfit.report import limit_figures
from hisigma_zfit.results.limits import LimitScan

SIGMA = 10.0


@pytest.fixture
def scan() -> LimitScan:
    """A Gaussian estimate of width 10 that came out at zero: observed and median are one."""
    values = np.linspace(0.0, 60.0, 31)
    expected = {str(n): norm.sf(values / SIGMA - n) / norm.cdf(n) for n in range(-2, 3)}
    limits = {
        str(n): brentq(lambda s, n=n: norm.sf(s / SIGMA - n) / norm.cdf(n) - 0.05, 0.0, 100.0) for n in range(-2, 3)
    }
    return LimitScan("n_sig", values, expected["0"], expected, 0.95, limits["0"], limits)


def test_bands_and_limits_are_drawn(scan: LimitScan) -> None:
    (axes,) = limit_figures.limit(scan, labels={"n_sig": "HH yield"}).axes
    assert axes.get_xlabel() == "HH yield"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "Observed, limit 19.6",
        "Expected, limit 19.6",
        r"Expected $\pm\,1\sigma$",
        r"Expected $\pm\,2\sigma$",
    ]
    bands = sorted((c for c in axes.collections if c.get_label().startswith("Expected")), key=lambda c: c.get_zorder())
    # the wide band lies below, and each reaches from its lower to its upper edge
    for band, reach in zip(bands, (2, 1), strict=True):
        assert band.get_label() == rf"Expected $\pm\,{reach}\sigma$"
        x, y = band.get_paths()[0].vertices.T
        at = np.isclose(x, 20.0)
        assert (y[at].min(), y[at].max()) == pytest.approx([scan.expected[str(n)][10] for n in (-reach, reach)])
    assert to_hex(bands[0].get_facecolor()[0]) != to_hex(bands[1].get_facecolor()[0])
    lines = {line.get_label(): line for line in axes.get_lines()}
    np.testing.assert_array_equal(lines["Observed, limit 19.6"].get_ydata(), scan.observed)
    assert axes.get_ylim()[0] < 0.05 < axes.get_ylim()[1]


def test_a_scan_survives_the_disk(scan: LimitScan) -> None:
    again = LimitScan.from_json(scan.to_json())
    np.testing.assert_array_equal(again.expected["-2"], scan.expected["-2"])
    assert str(again.upper_limit) == (
        "n_sig < 19.6 at 95 % CL (CLs), expected 19.6 [14.12, 27.27] within 1 sigma, [10.52, 36.56] within 2"
    )
