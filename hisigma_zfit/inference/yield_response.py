"""What a search returns of a signal like the one that it learned, and the interval that follows.

The learned yield is neither unbiased nor asymptotic: the folds learn the signal anew, miss some of it or find more.
Experiments with the learned lump at several strengths over backgrounds from the bootstraps of the density, scored by
the density itself so that its error is in them, are searched as the data are.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.density.gaussianised import Gaussianised, drawn_background
from hisigma_zfit.density.loading import unpacked
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.blobs import Points, maximise
from hisigma_zfit.inference.lump_yields import learned_yield
from hisigma_zfit.inference.retrained import repeated
from hisigma_zfit.inference.search import VERSION, cross_fit
from hisigma_zfit.learn.streams import Purpose, seed_for, stream
from hisigma_zfit.results.search import ShareProfile, YieldResponse
from hisigma_zfit.statistics.intervals import ONE_SIGMA
from hisigma_zfit.statistics.response_interval import censored_normal, response_interval

if TYPE_CHECKING:
    import os

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.inference.blobs import Blobs
    from hisigma_zfit.inference.search import FoundSignal
    from hisigma_zfit.learn.preprocess import FeatureTransform

__all__ = ["Injections", "injected_yield", "share_profile", "yield_response"]

STRENGTHS = (0.0, 0.5, 1.0, 2.0)  # of the learned yield, or of half its upper limit where that is larger
LEAST = 5  # experiments of each
POINTS = 41  # of the profile
_LENGTH, _MASS, _FEATURES, _SIGNAL, _FOLDS, _STARTS = range(6)  # streams of an experiment


@dataclass(frozen=True)
class Injections:
    """Everything that an experiment with injected copies needs, as plain numbers for other processes."""

    background: tuple[dict[str, Any], dict[str, Any]]
    mass: FeatureTransform
    blobs: Blobs
    events: int
    expected: float
    folds: int
    truths: tuple[float, ...]
    seed: int

    @property
    def fingerprint(self) -> str:
        """Hash of all of it."""
        digest = hashlib.sha256(json.dumps(self.background[0], sort_keys=True, default=str).encode())
        arrays = [*(a for _, a in sorted(self.background[1].items())), self.mass.marginals[0].levels]
        for array in (*arrays, self.blobs.shares, self.blobs.means, self.blobs.covariances):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(repr((VERSION, self.events, self.expected, self.folds, self.truths, self.seed)).encode())
        return digest.hexdigest()


def yield_response(
    found: FoundSignal,
    *,
    n: int = 20,
    seed: int,
    processes: int = 1,
    scheduler: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> YieldResponse:
    """Inject the learned signal at four strengths, search, and invert what is returned.

    Args:
        found: The search.
        n: Experiments of each strength.
        seed: Same seed, same experiments; more of them begin with the same ones.
        processes: Worker processes on this machine.
        scheduler: Dask scheduler to be used instead.
        checkpoint: Folder with one small file for each experiment: an interrupted study goes on.

    Returns:
        The response and the interval of the signal (Neyman's construction, arXiv:physics/9711021): for a signal like
        the learned one; a part of a signal that looks like background is not in it.

    Raises:
        InputError: Fewer than 5 experiments, or the checkpoint is of others.

    Example:
        >>> shape = hz.ExpQuadratic(hz.examples.mass(), p1=2.0, p2=0.0)
        >>> options = {"region": hz.examples.REGION, "folds": 2, "centres": 100, "seed": 1}
        >>> found = hz.find_signal(hz.examples.events(), hz.examples.flow("background"), shape, **options)
        >>> response = hz.yield_response(found, n=5, seed=2)
        >>> response.truths.shape, response.found.shape
        ((4,), (4, 5))
    """
    if n < LEAST:
        raise InputError.from_parts(expected=f"n >= {LEAST}", got=str(n), do="make more experiments")
    learned, here = found.learned, found.scene
    reference = max(learned.value, 0.5 * learned.interval_95[1], 1.0)
    truths = np.array(STRENGTHS) * reference
    recipe = Injections(
        here.background.pack(),
        here.place.mass,
        found.blobs,
        len(here),
        learned.value,
        len(found.parts),
        tuple(map(float, truths)),
        seed,
    )
    rows = repeated(
        injected_yield,
        recipe,
        n * len(truths),
        fingerprint=recipe.fingerprint,
        name="response",
        words="experiments with injected signal",
        checkpoint=checkpoint,
        processes=processes,
        scheduler=scheduler,
    )
    values = np.array(rows).reshape(n, len(truths)).T
    means, widths = np.array([censored_normal(row) for row in values]).T
    best, *one = response_interval(truths, means, widths, learned.value, cl=ONE_SIGMA, experiments=n)
    _, *two = response_interval(truths, means, widths, learned.value, cl=0.95, experiments=n)
    return YieldResponse(
        truths=truths,
        found=values,
        means=means,
        widths=widths,
        value=learned.value,
        best=best,
        interval_68=(one[0], one[1]),
        interval_95=(two[0], two[1]),
        seed=seed,
    )


def injected_yield(recipe: Injections, number: int) -> float:
    """Learned yield of one experiment with the learned lump injected; the strengths take turns."""
    k, strength = divmod(number, len(recipe.truths))
    signal = recipe.truths[strength]

    def source(part: int) -> np.random.Generator:
        return stream(recipe.seed, Purpose.YIELD_RESPONSE, strength, k, part)

    background = unpacked(*recipe.background)
    place = Gaussianised.of(background, recipe.mass)
    rng = source(_LENGTH)
    n, s = int(rng.poisson(recipe.events - recipe.expected)), int(rng.poisson(signal))
    flow = background.bootstraps[k % len(background.bootstraps)]
    own = seed_for(recipe.seed, Purpose.YIELD_RESPONSE, strength, k, _FEATURES)
    x, m = drawn_background(flow, place.mass, n, source(_MASS), seed=own)
    inside = background.inside(x, m)
    x, m = x[inside], m[inside]
    lump_x, lump_m = place.inverse(recipe.blobs.sample(s, source(_SIGNAL)))
    inside = background.inside(lump_x, lump_m)
    x, m = np.concatenate([x, lump_x[inside]]), np.concatenate([m, lump_m[inside]])
    y, log_jacobian = place.forward(x, m)
    points = Points.of(y, place.log_background(background, x, m, log_jacobian=log_jacobian))
    folds = source(_FOLDS).integers(recipe.folds, size=len(m))
    starts = (stream(recipe.seed, Purpose.YIELD_RESPONSE, strength, k, _STARTS, fold) for fold in range(recipe.folds))
    _, scores = cross_fit(points, folds, starts, components=recipe.blobs.shares.shape[1])
    return learned_yield(scores).value


def share_profile(found: FoundSignal, *, points: int = POINTS) -> ShareProfile:
    """Test statistic against the signal's share of the events, with the best lumps of each share.

    Args:
        found: The search.
        points: Of the curve, from zero to three times the best share.
    """
    best = float(found.blobs.total[0])
    share = np.linspace(0.0, 3.0 * max(best, 3.0 / len(found.scene)), points)
    profiled: Array = np.zeros(points)
    start = found.blobs.take(np.zeros(points - 1, dtype=np.intp))
    scaled = replace(start, shares=start.shares * (share[1:] / best)[:, None])
    profiled[1:] = maximise(found.scene.points, scaled, share=share[1:]).gain
    return ShareProfile(share, profiled, best, len(found.scene))
