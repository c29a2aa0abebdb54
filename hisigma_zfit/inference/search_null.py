"""What a search finds where there is nothing: background-only experiments in which everything is trained again.

A density that is kept fixed would be too optimistic: the sidebands' fluctuations are in the density, and a search finds
them (arXiv:2506.00119; measured: a mean test statistic of 25 with a fixed density, 33 with a retrained one).  Each toy
draws the whole mass range from the fitted background, trains on its own sidebands, fits its own spectrum and searches
its own window.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import gumbel_r, kstest, norm

from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.retrained import NullModel, Procedure, repeated, search_window
from hisigma_zfit.learn.streams import Purpose, stream
from hisigma_zfit.results.search import NullToys, SearchPValue

if TYPE_CHECKING:
    import os

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.inference.search import FoundSignal
    from hisigma_zfit.model.spectrum import Spectrum

__all__ = ["GOOD", "LEAST", "gumbel_tail", "null_toys", "search_pvalue"]

LEAST = 20  # toys for a fit of the tail
GOOD = 0.05  # of its Kolmogorov-Smirnov test
RESAMPLES = 200
_TAIL, _DISTANCES = 5, 6  # streams of the tail's resamples, behind those of a toy


@dataclass(frozen=True)
class _Recipe:
    """Everything that a toy needs."""

    null: NullModel
    window: tuple[float, float]
    how: Procedure
    seed: int


def null_toys(
    found: FoundSignal,
    spectrum: Spectrum,
    *,
    n: int,
    seed: int,
    degree: int | None = None,
    limits: dict[str, tuple[float, float]] | None = None,
    members: int | None = None,
    preset: str = "standard",
    processes: int = 1,
    scheduler: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> NullToys:
    """Search background-only experiments, retrained from nothing.

    Args:
        found: The search; its background is drawn from, each of its bootstraps in turn.
        spectrum: The background's masses, from `fit_spectrum`: how many there are and where.
        n: Toys.
        seed: Same seed, same toys; more of them begin with the same ones.
        degree: As it was given to `fit_spectrum`; each experiment chooses its own by default.
        limits: Hard edges of features, as they were given to the training.
        members: Nets of each training; as many as the background has by default.
        preset: Of each training, as that of the background.
        processes: Worker processes on this machine.
        scheduler: Dask scheduler to be used instead.
        checkpoint: Folder with one small file for each toy: an interrupted study goes on, a longer one begins with a
            shorter one's.

    Raises:
        InputError: `n` is negative, or the checkpoint is of other toys.

    Example:
        >>> data, window = hz.examples.events(), (hz.examples.REGION.lower, hz.examples.REGION.upper)
        >>> spectrum = hz.fit_spectrum(data["m"], hz.examples.MASSES, window, degree=1)
        >>> options = {"region": hz.examples.REGION, "folds": 2, "centres": 100, "seed": 1}
        >>> found = hz.find_signal(data, hz.examples.flow("background"), spectrum, **options)
        >>> quick = {"preset": "quick", "limits": hz.examples.LIMITS}
        >>> toys = hz.null_toys(found, spectrum, n=1, seed=2, **quick)  # doctest: +SKIP
        >>> len(toys.t)  # doctest: +SKIP
        1
    """
    if n < 0:
        raise InputError.from_parts(expected="n >= 0", got=str(n), do="give a number of toys")
    background = found.scene.background
    how = Procedure(
        features=background.features,
        given=background.given,
        limits=dict(limits or {}),
        mass_range=spectrum.limits,
        degree=degree,
        members=members or len(background.members),
        preset=preset,
        components=len(found.result.lumps),
        centres=found.centres,
    )
    recipe = _Recipe(NullModel(background.pack(), spectrum), found.result.region, how, seed)
    t = repeated(
        _toy,
        recipe,
        n,
        fingerprint=recipe.null.fingerprint(recipe.window, how, seed),
        name="null",
        words="background-only experiments",
        checkpoint=checkpoint,
        processes=processes,
        scheduler=scheduler,
    )
    return NullToys(t=np.array(t, dtype=np.float64), seed=seed)


def _toy(recipe: _Recipe, k: int) -> float:
    """Test statistic of one background-only experiment."""
    seeds: dict[str, Any] = {"seed": recipe.seed, "purpose": Purpose.NULL_TOY}
    return search_window(recipe.null.draw(**seeds, k=k), recipe.window, recipe.how, **seeds, numbers=(k,)).t


def search_pvalue(found: FoundSignal | float, null: NullToys) -> SearchPValue:
    """Local p-value of a window: how often the toys find as much.

    Args:
        found: The search, or its test statistic.
        null: Retrained toys.

    Returns:
        (1 + toys at or above) / (1 + toys); and, where a Gumbel distribution describes the toys, its tail with the
        error of its fit: an extrapolation, which is told as such.

    Raises:
        InputError: There are no toys.

    Example:
        >>> toys = hz.results.NullToys(t=np.random.default_rng(1).gumbel(25.0, 4.0, 99), seed=1)
        >>> p = hz.search_pvalue(50.0, toys)
        >>> p.p, p.z
        (0.01, 2.3)
    """
    t, toys = float(found if isinstance(found, float | int) else found.t), np.asarray(null.t)
    if not len(toys):
        raise InputError.from_parts(expected="toys", got="none", do="run hz.null_toys with n > 0")
    p = (1.0 + float(np.sum(toys >= t))) / (1.0 + len(toys))
    location, scale, good = gumbel_tail(toys)
    tail, band = float("nan"), (0.0, 1.0)
    if good > GOOD:
        tail = float(gumbel_r.sf(t, location, scale))
        rng = stream(null.seed, Purpose.NULL_TOY, _TAIL)
        fits = [gumbel_r.fit(gumbel_r.rvs(location, scale, len(toys), random_state=rng)) for _ in range(RESAMPLES)]
        again = [float(gumbel_r.sf(t, *fit)) for fit in fits]
        low, high = np.quantile(again, [0.16, 0.84])
        band = (float(low), float(high))
    return SearchPValue(
        t=t,
        n=len(toys),
        p=p,
        z=float(norm.isf(p)),
        location=location,
        scale=scale,
        ks=good,
        p_extrapolated=tail,
        p_extrapolated_68=band,
        z_extrapolated=float(norm.isf(tail)),
    )


def gumbel_tail(toys: Array) -> tuple[float, float, float]:
    """Gumbel distribution of toys: location, scale, p-value of its Kolmogorov-Smirnov test; NaN with too few toys.

    Args:
        toys: Test statistics, shape (n,).
    """
    if len(toys) < LEAST:
        return (float("nan"),) * 3
    location, scale = map(float, gumbel_r.fit(toys))
    distance = float(kstest(toys, gumbel_r(location, scale).cdf).statistic)
    return location, scale, float((1 + np.sum(_distances(len(toys)) >= distance)) / (1 + RESAMPLES))


@lru_cache
def _distances(n: int) -> Array:
    """Of n events from Gumbel distributions fitted to them: smaller than those from the true one, whatever it is."""
    rng = stream(0, Purpose.NULL_TOY, _DISTANCES, n)
    samples = gumbel_r.rvs(size=(RESAMPLES, n), random_state=rng)
    return np.array([kstest(own, gumbel_r(*gumbel_r.fit(own)).cdf).statistic for own in samples])
