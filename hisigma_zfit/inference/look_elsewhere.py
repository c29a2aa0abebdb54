"""From many local tests to one global p-value, with toys that were tested in the same places.

What to use when: `global_p_value` counts, and is right whatever the distribution of the test statistic, but can be no
smaller than the inverse of the number of toys; `gross_vitells` extrapolates, for long scans of a smooth field.
`scan_result` makes both and the windows' own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import gumbel_r, norm

from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.search_null import GOOD, LEAST, gumbel_tail
from hisigma_zfit.results.window_scan import GrossVitells, ScannedWindow, WindowScan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array

__all__ = ["global_p_value", "gross_vitells", "scan_result"]

LEVEL = 1.0  # of the local significance: crossed often enough to be counted in few toys


def global_p_value(observed: Array, toys: Array) -> float:
    """How often an experiment without a signal stands out as much in any of its windows.

    An experiment's local p-values by counting are multiples of 1 / (1 + n), and among n toys about as many share the
    smallest one as there are windows.  So windows are put on one scale first, by the median of their test statistics
    and the median distance to it, and what is compared is the largest value of each experiment: the one with the
    smallest local p-value, where windows' distributions differ by place and width, as Gumbel distributions do.  Data
    are one of the 1 + n experiments everywhere, in the medians too: without a signal they are as likely to have any
    rank as the toys, so that P(p <= alpha) <= alpha for any number of toys, whatever the scale, and however windows
    depend on each other.

    Args:
        observed: Test statistics of the data, shape (windows,).
        toys: Of the toys, shape (n, windows), n > 0.

    Returns:
        The share of the 1 + n experiments that stand out at least as much as the data, which are one of them.

    Raises:
        InputError: There are no toys, or they have other windows.
    """
    _require_toys(observed, toys)
    together = np.concatenate([observed[None], toys])
    distance = together - np.median(together, axis=0)
    scale = np.median(np.abs(distance), axis=0)
    largest = (distance / np.where(scale > 0, scale, 1.0)).max(axis=1)
    return float(np.mean(largest >= largest[0]))


def gross_vitells(observed: Array, toys: Array, *, level: float = LEVEL) -> GrossVitells:
    """Bound of the global p-value from up-crossings of a low level (arXiv:1005.1891, eq. 3 and 5).

    p <= P(Z > z) + <N(z)>, where <N(z)>, the mean number of up-crossings of z, is that of the level times
    exp(-(z^2 - level^2) / 2) for a smooth Gaussian field.  Windows that hardly depend on their neighbours are no smooth
    field: their crossings become rare faster, and the bound is too large, by a factor of three at z = 5.

    Args:
        observed: Local significances of the data in neighbouring windows, shape (windows,).
        toys: Of the toys, shape (n, windows), n > 0.
        level: Significance whose up-crossings are counted.

    Raises:
        InputError: There are no toys, or they have other windows.
    """
    _require_toys(observed, toys)
    counted = int(np.sum((toys[:, :-1] < level) & (toys[:, 1:] >= level)))
    z = float(np.max(observed))
    crossings, error = counted / len(toys), max(counted, 1) ** 0.5 / len(toys)
    factor = float(np.exp(0.5 * (level**2 - max(z, level) ** 2)))  # below the level nothing is extrapolated
    return GrossVitells(
        level=level,
        crossings=crossings,
        crossings_error=error,
        z=z,
        p_global=min(1.0, float(norm.sf(z)) + crossings * factor),
        p_global_error=error * factor,
    )


def _require_toys(observed: Array, toys: Array) -> None:
    if not len(toys) or toys.shape[1:] != observed.shape:
        raise InputError.from_parts(
            expected=f"toys with {len(observed)} windows each",
            got=f"an array of shape {toys.shape}",
            do="scan the toys as the data",
        )


def scan_result(
    windows: Sequence[tuple[float, float]], n_events: Sequence[int], t: Array, toys: Array, *, seed: int
) -> WindowScan:
    """Local and global p-values of a scan.

    Args:
        windows: Their edges.
        n_events: Events in each.
        t: Test statistics of the data, shape (windows,).
        toys: Of the toys, shape (n, windows); NaN stands for all that needs toys where there are none.
        seed: Of the scan.
    """
    n, nan = len(toys), float("nan")
    local, far = np.full(len(t), nan), np.full(len(t), nan)
    p_global = p_far = nan
    best, crossings = int(np.argmax(t)), None
    if n:
        local, p_global = (1.0 + np.sum(toys >= t, axis=0)) / (1.0 + n), global_p_value(t, toys)
        best = min(range(len(t)), key=lambda k: (local[k], -t[k]))
    if n >= LEAST:
        location, scale, good = np.array([gumbel_tail(column) for column in toys.T]).T
        score, scores = (t - location) / scale, (toys - location) / scale
        far, best = np.where(good > GOOD, gumbel_r.sf(score), nan), int(np.argmax(score))
        *largest, fits = gumbel_tail(scores.max(axis=1))
        p_far = float(gumbel_r.sf(score[best], *largest)) if fits > GOOD else nan
        # the smallest of many tests' p-values is small by chance
        if good.min() * len(good) > GOOD:
            crossings = gross_vitells(*(norm.isf(gumbel_r.sf(each)) for each in (score, scores)))
    numbers = zip(t, local, norm.isf(local), far, norm.isf(far), strict=True)
    return WindowScan(
        windows=tuple(
            ScannedWindow(window, events, *map(float, own))
            for window, events, own in zip(windows, n_events, numbers, strict=True)
        ),
        best=best,
        n_toys=n,
        p_global=p_global,
        z_global=float(norm.isf(p_global)),
        p_global_extrapolated=p_far,
        z_global_extrapolated=float(norm.isf(p_far)),
        trials=p_far / float(far[best]) if p_far > 0 and far[best] > 0 else p_global / float(local[best]),
        gross_vitells=crossings,
        t_toys=toys,
        seed=seed,
    )
