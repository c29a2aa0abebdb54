"""Search many windows, and what the looking costs; search one's own sidebands, where there is nothing.

Every window has a background of its own: density and spectrum are learned from everything else in the range of the
mass.  Toys are drawn over the whole range and scanned exactly as the data, with a training for each window: what
windows have in common, toys know (arXiv:2506.00119).  Trainings start from nothing: a density that starts from the
neighbouring window's has seen the events of this one, a signal among them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.data import SignalRegion
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.look_elsewhere import scan_result
from hisigma_zfit.inference.retrained import Procedure, repeated, search_window
from hisigma_zfit.inference.search_scene import LEAST
from hisigma_zfit.learn.streams import Purpose
from hisigma_zfit.model.spectrum import fit_spectrum
from hisigma_zfit.results.window_scan import SidebandWindow, SidebandWindows
from hisigma_zfit.workers import finished

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import zfit

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.inference.retrained import NullModel, SearchedWindow
    from hisigma_zfit.results.window_scan import WindowScan

__all__ = ["scan_windows", "sideband_windows"]

_DATA = 0  # number of the experiment that was measured; toys count from one

Range = tuple[float, float]


@dataclass(frozen=True)
class _Windows:
    """Data and what is searched in them, for other processes."""

    data: Dataset
    windows: tuple[Range, ...]
    how: Procedure
    seed: int
    blind: Range | None = None
    folder: Path | None = None


@dataclass(frozen=True)
class _Toys:
    """A background and how its experiments are scanned, for other processes."""

    null: NullModel
    windows: tuple[Range, ...]
    how: Procedure
    seed: int


def scan_windows(
    data: Dataset,
    features: zfit.Space | Sequence[str],
    mass: zfit.Space,
    *,
    width: float,
    step: float,
    start: float | None = None,
    stop: float | None = None,
    degree: int | None = None,
    members: int = 2,
    preset: str = "standard",
    components: int = 1,
    centres: int = 400,
    toys: int = 0,
    seed: int,
    processes: int = 1,
    scheduler: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> WindowScan:
    """Search windows all along a mass for an unknown signal, each with a background learned beside it.

    Toys are drawn from the background of the window with the largest test statistic, which has not seen what is there;
    signals elsewhere are in it, which makes the p-values larger.

    Args:
        data: Events.  No event weights.
        features: Space of the features, with their hard edges as limits, or names.
        mass: Space of the mass with its range.
        width: Of the windows.
        step: From one window to the next.
        start: Lower edge of the first window; by default one width above the lower end of the range, because a
            background beside one edge only is extrapolated.
        stop: Upper edge of the last one, at most; by default one width below the upper end.
        degree: Of the polynomial of the spectrum, see `fit_spectrum`.
        members: Nets of each training.
        preset: Of each training, see `train_flow`.
        components: Lumps of each search.
        centres: Starts of each search.
        toys: Background-only experiments that are scanned; each takes one training for each window.
        seed: Same seed, same result; more toys begin with the same ones.
        processes: Worker processes on this machine.
        scheduler: Dask scheduler to be used instead.
        checkpoint: Folder that keeps the trainings of the data and one small file for each toy: an interrupted scan
            goes on, one with more toys begins with those that are there.

    Returns:
        Windows with local p-values, and global ones; without toys only the test statistics.

    Raises:
        InputError: Weighted events, a step or width that is not positive, no window between start and stop, one
            without sidebands or with fewer than 500 events, a negative number of toys, or a checkpoint of other toys.

    Example:
        >>> features, mass = hz.feature_space(pt=(0, np.inf)), hz.examples.mass()
        >>> options = {"start": 118, "stop": 132, "width": 14, "step": 14, "preset": "quick", "members": 1, "seed": 1}
        >>> scan = hz.scan_windows(hz.examples.events(), features, mass, **options)  # doctest: +SKIP
        >>> [(window.range, window.n_events) for window in scan.windows]  # doctest: +SKIP
        [((118.0, 132.0), 762)]
    """
    if toys < 0:
        raise InputError.from_parts(expected="toys >= 0", got=str(toys), do="give a number of toys")
    how = Procedure.of(
        features, mass, degree=degree, members=members, preset=preset, components=components, centres=centres
    )
    how.require(data)
    data = data.within(mass)
    windows = _windows(how.mass_range, width, step, start, stop)
    for window in windows:
        data.sidebands(mass, SignalRegion(*window))
        _require_events(int(SignalRegion(*window).contains(data[how.given]).sum()), window)
    folder = None if checkpoint is None else Path(checkpoint)
    searched = _searched(_Windows(data, windows, how, seed, None, folder), processes, scheduler)
    recipe = _Toys(max(searched, key=lambda window: window.t).null, windows, how, seed)
    t_toys = repeated(
        _toy,
        recipe,
        toys,
        fingerprint=recipe.null.fingerprint(windows, how, seed),
        name="scan",
        words="background-only experiments of the scan",
        checkpoint=folder,
        processes=processes,
        scheduler=scheduler,
    )
    return scan_result(
        windows,
        [window.n_events for window in searched],
        np.array([window.t for window in searched]),
        np.array(t_toys, dtype=np.float64).reshape(toys, len(windows)),
        seed=seed,
    )


def sideband_windows(
    data: Dataset,
    features: zfit.Space | Sequence[str],
    mass: zfit.Space,
    region: SignalRegion,
    *,
    n: int = 4,
    degree: int | None = None,
    members: int = 2,
    preset: str = "standard",
    components: int = 1,
    centres: int = 400,
    seed: int,
    processes: int = 1,
    scheduler: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> SidebandWindows:
    """Search windows in the sidebands: what a search finds where, signals aside, there is only real background.

    To be compared with the toys of `null_toys`: test statistics that are larger than theirs tell that the background
    is not learned as well from data as from its own samples.  The windows do not overlap, have as many events as are
    expected in the signal region, or as many as the sideband has to give, and stay away from the ends of the range.
    Each background is learned without its window and without the signal region, of which nothing is looked at.

    Args:
        data: Events.  No event weights.
        features: Space of the features, with their hard edges as limits, or names.
        mass: Space of the mass with its range.
        region: The signal region.
        n: Windows, on either side according to the number of its events.
        degree: Of the polynomial of the spectrum, see `fit_spectrum`.
        members: Nets of each training.
        preset: Of each training, see `train_flow`.
        components: Lumps of each search.
        centres: Starts of each search.
        seed: Same seed, same result.
        processes: Worker processes on this machine.
        scheduler: Dask scheduler to be used instead.
        checkpoint: Folder that keeps the trainings.

    Raises:
        InputError: Weighted events, a region without sidebands, no window, or too few events for so many.

    Example:
        >>> features, mass = hz.feature_space(pt=(0, np.inf)), hz.examples.mass()
        >>> options = {"n": 1, "preset": "quick", "members": 1, "seed": 1}
        >>> where = (hz.examples.events(), features, mass, hz.examples.REGION)
        >>> null = hz.sideband_windows(*where, **options)  # doctest: +SKIP
        >>> null.windows[0].n_events  # doctest: +SKIP
        705
    """
    if n < 1:
        raise InputError.from_parts(expected="n >= 1", got=str(n), do="give a number of windows")
    how = Procedure.of(
        features, mass, degree=degree, members=members, preset=preset, components=components, centres=centres
    )
    how.require(data)
    beside = data.sidebands(mass, region)
    m, hole = beside[how.given], (region.lower, region.upper)
    expected = fit_spectrum(m, how.mass_range, hole, degree=degree).expected(*hole)
    windows = _beside(m, hole, n, round(expected))
    folder = None if checkpoint is None else Path(checkpoint)
    searched = _searched(_Windows(beside, windows, how, seed, hole, folder), processes, scheduler)
    return SidebandWindows(
        region=hole,
        windows=tuple(SidebandWindow(w, s.t, s.n_events) for w, s in zip(windows, searched, strict=True)),
        seed=seed,
    )


def _require_events(n: int, window: Range) -> None:
    if n < LEAST:
        raise InputError.from_parts(
            expected=f"at least {LEAST} events in [{window[0]:g}, {window[1]:g})",
            got=str(n),
            do="make the windows wider, or scan where there are more events",
        )


def _windows(
    mass_range: Range, width: float, step: float, start: float | None, stop: float | None
) -> tuple[Range, ...]:
    """Edges of the windows, in order."""
    for option, value in (("width", width), ("step", step)):
        if not value > 0 or not math.isfinite(value):
            raise InputError.from_parts(expected=f"{option} > 0", got=str(value), do="give a positive number")
    first = mass_range[0] + width if start is None else float(start)
    last = mass_range[1] - width if stop is None else float(stop)
    number = math.floor((last - first - width) / step + 1e-9) + 1  # the last edge may be off by rounding
    if number < 1:
        raise InputError.from_parts(
            expected=f"room for a window of width {width:g} between start and stop",
            got=f"{first:g} to {last:g}",
            do="give narrower windows, or start and stop",
        )
    return tuple((first + k * step, first + k * step + width) for k in range(number))


def _beside(m: Array, region: Range, n: int, size: int) -> tuple[Range, ...]:
    """Windows in the sidebands, with `size` events or as many as there are room for, in order of the mass.

    On either side the events are cut into one part more than it has windows: the outermost stays a sideband, and every
    other one has a window in its middle.  A side that is too small for its windows leaves them to the other one.

    Args:
        m: Masses of the sidebands, shape (k,).
        region: The signal region.
        n: Windows.
        size: Events of each.
    """
    below, above = np.sort(m[m < region[0]]), np.sort(m[m >= region[1]])
    n_below = round(n * len(below) / len(m))
    if len(above) // (n - n_below + 1) < LEAST:
        n_below = n
    elif len(below) // (n_below + 1) < LEAST:
        n_below = 0
    windows = [(-high, -low) for low, high in _inner(np.sort(-below), n_below, size, -region[0])]
    windows += _inner(above, n - n_below, size, region[1])
    return tuple(sorted(windows))


def _inner(m: Array, n: int, size: int, edge: float) -> list[Range]:
    """Windows of one side whose masses, sorted, start at the signal region's edge."""
    part = len(m) // (n + 1)
    size = min(size, part)
    middle = np.concatenate([[edge], 0.5 * (m[1:] + m[:-1])])  # an edge lies between two events
    first = [k * part + (part - size) // 2 for k in range(n)]
    windows = [(float(middle[k]), float(middle[k + size])) for k in first]
    for window in windows:
        _require_events(size, window)
    return windows


def _searched(recipe: _Windows, processes: int, scheduler: Any) -> list[SearchedWindow]:
    """All windows of the data."""
    tasks = [(k,) for k in range(len(recipe.windows))]
    done = finished(_window, recipe, tasks, processes=processes, scheduler=scheduler, name="windows")
    found = {k: window for (k,), window in done}
    return [found[k] for (k,) in tasks]


def _window(recipe: _Windows, k: int) -> SearchedWindow:
    """One window of the data."""
    return search_window(
        recipe.data,
        recipe.windows[k],
        recipe.how,
        seed=recipe.seed,
        purpose=Purpose.WINDOW_SCAN,
        numbers=(_DATA, k) if recipe.blind is None else (k,),
        blind=recipe.blind,
        checkpoint=None if recipe.folder is None else recipe.folder / f"window-{k:03d}",
    )


def _toy(recipe: _Toys, k: int) -> list[float]:
    """Test statistics of one background-only experiment, in all windows."""
    seeds: dict[str, Any] = {"seed": recipe.seed, "purpose": Purpose.WINDOW_SCAN}
    data = recipe.null.draw(**seeds, k=k)
    return [
        search_window(data, window, recipe.how, **seeds, numbers=(1 + k, number)).t
        for number, window in enumerate(recipe.windows)
    ]
