"""What a search finds where there is nothing: background-only experiments in which everything is trained again.

A density that is kept fixed would be too optimistic: the sidebands' fluctuations are in the density, and a search finds
them (arXiv:2506.00119; measured: a mean test statistic of 25 with a fixed density, 33 with a retrained one).  Each toy
draws the whole mass range from the fitted background, trains on its own sidebands, fits its own spectrum and searches
its own window.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import gumbel_r, kstest, norm

from hisigma_zfit.data import Dataset, SignalRegion, feature_space
from hisigma_zfit.density.base import unpack
from hisigma_zfit.density.gaussianised import window_transform
from hisigma_zfit.density.training import train_flow
from hisigma_zfit.errors import InputError
from hisigma_zfit.files import write_text
from hisigma_zfit.inference.search import best_lumps
from hisigma_zfit.inference.search_scene import scene
from hisigma_zfit.learn.streams import Purpose, seed_for, stream
from hisigma_zfit.model.spectrum import fit_spectrum
from hisigma_zfit.results.search import NullToys, SearchPValue
from hisigma_zfit.workers import finished

if TYPE_CHECKING:
    import os

    from hisigma_zfit.inference.search import FoundSignal
    from hisigma_zfit.model.spectrum import Spectrum

__all__ = ["null_toys", "search_pvalue"]

LEAST = 20  # toys for a fit of the tail
GOOD = 0.05  # of its Kolmogorov-Smirnov test
RESAMPLES = 200
_LENGTH, _MASS, _FEATURES, _TRAINING, _STARTS, _TAIL = range(6)  # streams of a toy


@dataclass(frozen=True)
class _Recipe:
    """Everything that a toy needs, as plain numbers for other processes."""

    background: tuple[dict[str, Any], dict[str, Any]]
    spectrum: Spectrum
    region: tuple[float, float]
    limits: dict[str, tuple[float, float]]
    members: int
    components: int
    centres: int
    training: dict[str, Any]
    seed: int

    @property
    def fingerprint(self) -> str:
        """Hash of all of it."""
        digest = hashlib.sha256(json.dumps(self.background[0], sort_keys=True, default=str).encode())
        for name, array in sorted(self.background[1].items()):
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        digest.update(self.spectrum.coefficients.tobytes())
        own = (self.spectrum.limits, self.spectrum.events, self.region, self.limits, self.members, self.components)
        digest.update(repr((*own, self.centres, sorted(self.training.items()), self.seed)).encode())
        return digest.hexdigest()


def null_toys(
    found: FoundSignal,
    spectrum: Spectrum,
    *,
    n: int,
    seed: int,
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
        >>> toys = hz.null_toys(found, spectrum, n=1, seed=2, preset="quick", limits=hz.examples.LIMITS)
        >>> len(toys.t)
        1
    """
    if n < 0:
        raise InputError.from_parts(expected="n >= 0", got=str(n), do="give a number of toys")
    background = found.scene.background
    recipe = _Recipe(
        background.pack(),
        spectrum,
        found.result.region,
        dict(limits or {}),
        members or len(background.members),
        len(found.result.lumps),
        found.centres,
        {"preset": preset},
        seed,
    )
    folder = None if checkpoint is None else Path(checkpoint)
    known = {} if folder is None else _read(folder, recipe.fingerprint)
    missing = [(k,) for k in range(n) if k not in known]
    for (k,), t in finished(_toy, recipe, missing, processes=processes, scheduler=scheduler):
        known[k] = t
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            content = {"fingerprint": recipe.fingerprint, "toy": k, "t": t}
            write_text(folder / f"null-{k:06d}.json", json.dumps(content))
    return NullToys(t=np.array([known[k] for k in range(n)]), seed=seed)


def _read(folder: Path, fingerprint: str) -> dict[int, float]:
    known = {}
    for path in sorted(folder.glob("null-*.json")):
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["fingerprint"] != fingerprint:
            raise InputError.from_parts(
                expected="toys of the same background, options and seed",
                got=f"others in {folder}",
                do="give another checkpoint folder",
            )
        known[int(stored["toy"])] = float(stored["t"])
    return known


def _toy(recipe: _Recipe, k: int) -> float:
    """Test statistic of one background-only experiment."""
    background = unpack(*recipe.background)
    region, spectrum = SignalRegion(*recipe.region), recipe.spectrum
    flows = background.bootstraps
    flow = flows[k % len(flows)]
    n = int(stream(recipe.seed, Purpose.NULL_TOY, k, _LENGTH).poisson(spectrum.events))
    whole = window_transform(spectrum.density, spectrum.limits, name=flow.given)
    m = whole.inverse(stream(recipe.seed, Purpose.NULL_TOY, k, _MASS).random((n, 1)))[:, 0]
    x = flow.sample(m, seed=seed_for(recipe.seed, Purpose.NULL_TOY, k, _FEATURES))
    data = Dataset.from_arrays({flow.given: m, **dict(zip(flow.features, x.T, strict=True))})
    beside = data.select(~region.contains(m))
    space = feature_space(*(name for name in flow.features if name not in recipe.limits), **recipe.limits)
    ordered = space.with_obs(flow.features)
    learned = train_flow(
        beside,
        ordered,
        given=flow.given,
        members=recipe.members,
        seed=seed_for(recipe.seed, Purpose.NULL_TOY, k, _TRAINING),
        **recipe.training,
    )
    shape = fit_spectrum(m, spectrum.limits, recipe.region, degree=len(spectrum.coefficients))
    here = scene(data, learned, shape, region=region, components=recipe.components, folds=2)
    rng = stream(recipe.seed, Purpose.NULL_TOY, k, _STARTS)
    return float(best_lumps(here.points, rng, components=recipe.components, centres=recipe.centres).gain[0])


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
    location, scale, good, tail, band = float("nan"), float("nan"), float("nan"), float("nan"), (0.0, 1.0)
    if len(toys) >= LEAST:
        location, scale = map(float, gumbel_r.fit(toys))
        good = float(kstest(toys, gumbel_r(location, scale).cdf).pvalue)
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
