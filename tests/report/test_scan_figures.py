"""The figure of a scan shows every window's p-values where they are, and the global ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hisigma_zfit.errors import InputError
from hisigma_zfit.report import scan_figures
from hisigma_zfit.results import GrossVitells, ScannedWindow, WindowScan

NAN = float("nan")


@pytest.fixture
def scan() -> WindowScan:
    """Three windows, of which the second stands out; the third is not described by a Gumbel distribution."""
    windows = tuple(
        ScannedWindow((low, low + 400.0), 40_000, 30.0, p, 0.0, far, 0.0)
        for low, p, far in ((2900.0, 0.3, 0.28), (3300.0, 0.01, 1e-7), (3700.0, 0.6, NAN))
    )
    crossings = GrossVitells(1.0, 0.9, 0.1, 5.2, 3e-6, 3e-7)
    return WindowScan(windows, 1, 99, 0.02, 2.05, 5e-7, 4.9, 5.0, crossings, np.zeros((99, 3)), 1)


def test_windows_and_lines_are_where_they_belong(scan: WindowScan) -> None:
    (axes,) = scan_figures.window_scan(scan, mass="m_jj").axes
    assert axes.get_xlabel() == "$m_{jj}$"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "Global, counted: 0.02",
        "Global, extrapolated: 5e-07",
        "Global, Gross-Vitells: 3e-06",
        "Local, 99 toys",
        "Local, extrapolated",
    ]
    counted, extrapolated = axes.containers
    np.testing.assert_array_equal(counted.lines[0].get_data(), [[3100.0, 3500.0, 3900.0], [0.3, 0.01, 0.6]])
    np.testing.assert_array_equal(extrapolated.lines[0].get_ydata(), [0.28, 1e-7, NAN])
    low, high = axes.get_ylim()
    assert low < 1e-7
    assert high > 1.0
    assert axes.get_xlim() == (2900.0, 4100.0)


def test_few_toys_have_fewer_lines_and_no_toys_no_figure(scan: WindowScan) -> None:
    windows = tuple(dataclasses.replace(window, p_extrapolated=NAN) for window in scan.windows)
    few = dataclasses.replace(scan, windows=windows, p_global_extrapolated=NAN, gross_vitells=None)
    (axes,) = scan_figures.window_scan(few).axes
    assert len(axes.get_legend().get_texts()) == 2
    with pytest.raises(InputError, match="without toys"):
        scan_figures.window_scan(dataclasses.replace(scan, n_toys=0))
