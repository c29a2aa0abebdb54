"""Data sets in memory and one HI-SIGMA fit of them, for the comparisons of this study: no envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import zfit
from samples import MASS, N_BACKGROUND, N_SIGNAL, RANGE, SIGNAL_REGION

import hisigma_zfit as hz
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.results.strategies import StrategyResult

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["REGION", "SPACE", "mean_with_error", "pseudo_data", "quick_fit"]

SPACE = zfit.Space(MASS, *RANGE)
REGION = hz.SignalRegion(*SIGNAL_REGION)


def mean_with_error(values: np.ndarray, digits: int = 1) -> str:
    """Mean over data sets and its standard error, as text."""
    return f"{values.mean():.{digits}f} +- {values.std(ddof=1) / np.sqrt(values.size):.{digits}f}"


def pseudo_data(background: hz.Dataset, signal: hz.Dataset, dataset: int) -> hz.Dataset:
    """Events of one of the disjoint data sets: its block of the background and its block of the signal."""
    return background.select(np.arange(len(background)) // N_BACKGROUND == dataset).concatenate(
        signal.select(np.arange(len(signal)) // N_SIGNAL == dataset)
    )


def quick_fit(
    name: str,
    data: hz.Dataset,
    signal: hz.Dataset,
    more: hz.Dataset,
    features: Sequence[str],
    *,
    dataset: int = 0,
    members: int = 2,
    seed: int = 1,
    preset: str = "standard",
) -> StrategyResult:
    """Train on the sidebands and on simulated signal, fit the data.

    Args:
        name: What the result is called.
        data: The events to be fitted.
        signal: Simulated signal.
        more: Further events, of which the sidebands are used for the training.
        features: Columns that the densities see.
        dataset: Number of the data set, for the result.
        members: Seeds of each density.
        seed: Seed of the training.
        preset: Length of the training, see `train_flow`.
    """
    names = hz.feature_space(*features)
    sidebands = data.sidebands(SPACE, REGION).concatenate(more.sidebands(SPACE, REGION))
    p_b = hz.train_flow(sidebands, names, given=SPACE, members=members, seed=seed, preset=preset, name="background")
    p_s = hz.train_flow(signal, names, given=SPACE, members=members, seed=seed + 1, preset=preset, name="signal")
    peak = hz.fit_shape(zfit.pdf.DoubleCB, signal, SPACE)
    falling = hz.ExpQuadratic(obs=SPACE, p1=zfit.Parameter("p1", 1.0), p2=zfit.Parameter("p2", 0.0))
    model = hz.signal_plus_background(
        hz.FlowProductPDF(peak, p_s), hz.FlowProductPDF(falling, p_b), poi="n_sig", region=REGION
    )
    inside = data.select(p_b.inside(data.array(features)), reason="outside the domain of the background")
    profiler = Profiler(hz.ExtendedNLL(model, inside), "n_sig")
    z = hz.discovery(profiler, "n_sig").z
    return StrategyResult(name, dataset, profiler.best, profiler.error, z, len(inside))
