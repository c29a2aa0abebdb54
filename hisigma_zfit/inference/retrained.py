"""A window that is searched with everything learned from its own sidebands, and experiments without a signal.

Toys mean something only if the same is done with them as with the data.  So there is one function that searches a
window, one that draws an experiment, and one that repeats experiments and keeps them on disk.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hisigma_zfit.data import Dataset, SignalRegion, feature_space
from hisigma_zfit.density.gaussianised import drawn_background, window_transform
from hisigma_zfit.density.loading import unpacked
from hisigma_zfit.density.training import train_flow
from hisigma_zfit.errors import InputError
from hisigma_zfit.files import write_text
from hisigma_zfit.inference.search import VERSION, best_lumps
from hisigma_zfit.inference.search_scene import scene
from hisigma_zfit.learn.streams import Purpose, seed_for, stream
from hisigma_zfit.model.spectrum import fit_spectrum
from hisigma_zfit.stored_files import read_json
from hisigma_zfit.workers import finished
from hisigma_zfit.zfit_internals import require_one_range

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    import zfit

    from hisigma_zfit.model.spectrum import Spectrum

__all__ = ["NullModel", "Procedure", "SearchedWindow", "repeated", "search_window"]

_LENGTH, _MASS, _FEATURES, _TRAINING, _STARTS = range(5)  # streams of an experiment and of its windows

Range = tuple[float, float]


@dataclass(frozen=True)
class Procedure:
    """How a window is searched, as plain numbers for other processes.

    Attributes:
        features: Names of the features.
        given: Name of the mass.
        limits: Hard edges of features, as the training takes them.
        mass_range: Range of the mass.
        degree: Of the polynomial of the spectrum.
        members: Nets of each training.
        preset: Of each training.
        components: Lumps.
        centres: Starts of the matched filter.
    """

    features: tuple[str, ...]
    given: str
    limits: dict[str, Range]
    mass_range: Range
    degree: int | None
    members: int
    preset: str
    components: int
    centres: int

    @classmethod
    def of(cls, features: zfit.Space | Sequence[str], mass: zfit.Space, **options: Any) -> Self:
        """Take names and limits from spaces, and check the options.

        Args:
            features: Space of the features, with their hard edges as limits, or names.
            mass: Space of the mass with its range.
            options: The other attributes.

        Raises:
            InputError: The mass has no range, or an option is out of its own.
        """
        for option in ("degree", "members", "components", "centres"):
            if options[option] is not None and options[option] < 1:
                raise InputError.from_parts(expected=f"{option} >= 1", got=str(options[option]), do=f"raise {option}")
        if len(mass.obs) != 1 or not mass.has_limits:
            raise InputError.from_parts(
                expected="a one-dimensional mass space with limits",
                got=str(mass),
                do='write zfit.Space("m", lower, upper)',
            )
        require_one_range(mass)
        require_one_range(features)
        space: Any = features
        names = (space,) if isinstance(space, str) else tuple(getattr(space, "obs", space))
        edges = zip(space.v1.lower, space.v1.upper, strict=True) if getattr(features, "has_limits", False) else ()
        bounds = {name: (float(lower), float(upper)) for name, (lower, upper) in zip(names, edges, strict=False)}
        low, high = (np.asarray(edge).item() for edge in (mass.v1.lower, mass.v1.upper))
        return cls(
            features=names,
            given=mass.obs[0],
            limits={name: pair for name, pair in bounds.items() if np.isfinite(pair).any()},
            mass_range=(low, high),
            **options,
        )

    def require(self, data: Dataset) -> None:
        """Check that data can be searched like this.

        Raises:
            InputError: They are weighted, or a column is missing.
        """
        if data.weights is not None:
            raise InputError.from_parts(
                expected="events without weights", got="weighted ones", do="search data, not weighted simulation"
            )
        data.array((self.given, *self.features))


@dataclass(frozen=True)
class NullModel:
    """A background alone, from which whole experiments are drawn.

    Attributes:
        background: Its density, packed: each of its bootstraps in turn.
        spectrum: Its masses: how many there are and where.
    """

    background: tuple[dict[str, Any], dict[str, Any]]
    spectrum: Spectrum

    def draw(self, seed: int, purpose: Purpose, k: int) -> Dataset:
        """One experiment: a Poisson number of events in the whole range of the mass."""
        flows, spectrum = unpacked(*self.background).bootstraps, self.spectrum
        flow = flows[k % len(flows)]
        n = int(stream(seed, purpose, k, _LENGTH).poisson(spectrum.events))
        whole = window_transform(spectrum.density, spectrum.limits, name=flow.given)
        rng, own = stream(seed, purpose, k, _MASS), seed_for(seed, purpose, k, _FEATURES)
        x, m = drawn_background(flow, whole, n, rng, seed=own)
        return Dataset.from_arrays({flow.given: m, **dict(zip(flow.features, x.T, strict=True))})

    def fingerprint(self, *options: Any) -> str:
        """Hash of the model and of what else decides the experiments."""
        structure, arrays = self.background
        digest = hashlib.sha256(json.dumps(structure, sort_keys=True, default=str).encode())
        for name, array in sorted(arrays.items()):
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        digest.update(self.spectrum.coefficients.tobytes())
        digest.update(repr((VERSION, self.spectrum.limits, self.spectrum.events, *options)).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class SearchedWindow:
    """What a search of one window gives, and what it was made with.

    Attributes:
        t: Test statistic.
        n_events: Events of the window.
        null: Background that was learned from the sidebands.
    """

    t: float
    n_events: int
    null: NullModel


def search_window(
    data: Dataset,
    window: Range,
    how: Procedure,
    *,
    seed: int,
    purpose: Purpose,
    numbers: tuple[int, ...],
    blind: Range | None = None,
    checkpoint: Path | None = None,
) -> SearchedWindow:
    """Learn the background beside a window, fit its spectrum there, and search the window.

    Args:
        data: Events of the whole range of the mass.
        window: Its edges.
        how: Everything that data and toys have in common.
        seed: Of everything that is random, together with `purpose` and `numbers`.
        purpose: What it is for.
        numbers: Which one of its kind.
        blind: Another window, whose events are not looked at.
        checkpoint: Folder of the training.
    """
    region, m = SignalRegion(*window), data[how.given]
    if blind is not None:
        data = data.select(~SignalRegion(*blind).contains(m), reason="blind")
        m = data[how.given]
    spectrum = fit_spectrum(m, how.mass_range, window, degree=how.degree, without=() if blind is None else (blind,))
    free = (name for name in how.features if name not in how.limits)
    background = train_flow(
        data.select(~region.contains(m)),
        feature_space(*free, **how.limits).with_obs(how.features),
        given=how.given,
        members=how.members,
        seed=seed_for(seed, purpose, *numbers, _TRAINING),
        preset=how.preset,
        checkpoint=checkpoint,
    )
    here = scene(data, background, spectrum, region=region, components=how.components, folds=2, strict=False)
    rng = stream(seed, purpose, *numbers, _STARTS)
    found = best_lumps(here.points, rng, components=how.components, centres=how.centres)
    return SearchedWindow(float(found.statistic[0]), len(here), NullModel(background.pack(), spectrum))


def repeated(
    experiment: Callable[[Any, int], Any],
    recipe: Any,
    n: int,
    *,
    fingerprint: str,
    name: str,
    words: str,
    checkpoint: str | os.PathLike[str] | None,
    processes: int,
    scheduler: Any,
) -> list[Any]:
    """What ``experiment(recipe, k)`` gives for k = 0 ... n - 1; those that a folder knows are not repeated.

    Args:
        experiment: Of a module; returns numbers that JSON can hold.
        recipe: What all have in common.
        n: How many.
        fingerprint: Hash of all that they depend on.
        name: Of their files.
        words: What they are, for the words on stderr about how long they take.
        checkpoint: Folder with one small file for each.
        processes: See `hisigma_zfit.workers`.
        scheduler: See `hisigma_zfit.workers`.

    Raises:
        InputError: The folder has other experiments.
    """
    folder = None if checkpoint is None else Path(checkpoint)
    known = {} if folder is None else _read(folder, name, fingerprint)
    missing = [(k,) for k in range(n) if k not in known]
    for (k,), t in finished(experiment, recipe, missing, processes=processes, scheduler=scheduler, name=words):
        known[k] = t
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            content = {"fingerprint": fingerprint, "toy": k, "t": t}
            write_text(folder / f"{name}-{k:06d}.json", json.dumps(content))
    return [known[k] for k in range(n)]


def _read(folder: Path, name: str, fingerprint: str) -> dict[int, Any]:
    known = {}
    for path in sorted(folder.glob(f"{name}-*.json")):
        stored = read_json(path)
        if stored["fingerprint"] != fingerprint:
            raise InputError.from_parts(
                expected="toys of the same background, options and seed",
                got=f"others in {folder}",
                do="give another checkpoint folder",
            )
        known[int(stored["toy"])] = stored["t"]
    return known
