"""The world of `experiments.py`: its truth, its signal, and what its experiments have learned."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hisigma_zfit as hz
from hisigma_zfit.density.gaussianised import drawn_background, window_transform
from hisigma_zfit.density.loading import unpacked
from hisigma_zfit.inference.retrained import NullModel, Procedure
from hisigma_zfit.learn.streams import Purpose, seed_for, stream

if TYPE_CHECKING:
    from hisigma_zfit.model.spectrum import Spectrum

SHARES = (0.001, 0.0017, 0.003, 0.0053)
PURPOSE = Purpose.COMPARISON_SCORES


class Stream(IntEnum):
    """Of random numbers."""

    TRUTH, TOYS, SIGNAL, STARTS, FOLD, REGION, JUDGES, WINDOW, MORE, RESPONSE, FAMILY = range(30, 41)


@dataclass(frozen=True)
class World:
    """Everything that the experiments share, as plain numbers for other processes."""

    truth: NullModel
    signal: hz.Dataset
    simulation: hz.Dataset
    window: tuple[float, float]
    how: Procedure
    masses: tuple[float, float]
    shares: tuple[float, ...]
    seed: int
    out: Path

    @property
    def region(self) -> hz.SignalRegion:
        return hz.SignalRegion(*self.window)

    @property
    def expected(self) -> float:
        """Background events of the window."""
        return self.truth.spectrum.expected(*self.window)

    def signal_of(self, share: float) -> float:
        """Mean number of signal events in the window that are a share of all its events."""
        return share / (1.0 - share) * self.expected


def place_of(out: Path, kind: str, number: int) -> Path:
    return out / f"{kind}-{number:04d}.json"


@lru_cache(maxsize=2)
def _flow(out: Path, origin: int) -> Any:
    return hz.load_flow(out / f"background-{origin}")


def learned(world: World, origin: int) -> tuple[Any, Spectrum]:
    """What a null has learned: its density is on disk, its spectrum in its record."""
    raw = json.loads(place_of(world.out, "null", origin).read_text())["spectrum"]
    raw["coefficients"] = np.array(raw["coefficients"])
    return _flow(world.out, origin), replace(world.truth.spectrum, **raw)


_KNOWN: dict[Any, Any] = {}


def once(function: Any, world: World) -> Any:
    """What a process needs to make only once."""
    if function not in _KNOWN:
        _KNOWN[function] = function(world)
    return _KNOWN[function]


def truth_of(world: World, origin: int) -> Any:
    """The density that a null is drawn from: each of the truth's bootstraps in turn, for sidebands and windows."""
    flows = once(truth_flow, world).bootstraps
    return flows[origin % len(flows)]


def drawn_window(world: World, origin: int, n: int, *numbers: int) -> hz.Dataset:
    """Background events of the window of a null."""
    return events_of(world, truth_of(world, origin), world.truth.spectrum, n, (world.seed, Stream.WINDOW, *numbers))


def events_of(world: World, flow: Any, spectrum: Spectrum, n: int, numbers: tuple[int, ...]) -> hz.Dataset:
    mass = window_transform(spectrum.density, world.window, name=flow.given)
    seed, *rest = numbers
    rng, own = stream(seed, PURPOSE, *rest), seed_for(seed, PURPOSE, *rest)
    x, m = drawn_background(flow, mass, n, rng, seed=own)
    return hz.Dataset.from_arrays({flow.given: m, **dict(zip(flow.features, x.T, strict=True))})


def truth_flow(world: World) -> Any:
    return unpacked(*world.truth.background)


def world_of(options: argparse.Namespace) -> World:
    flow = hz.load_flow(options.truth)
    names = (*flow.features, flow.given)
    with np.load(options.data) as stored:
        m = stored[flow.given]
    window, limits = tuple(options.window), tuple(options.range)
    region = hz.SignalRegion(*window)
    signal = hz.read(options.signal, columns={name: name for name in names})
    signal = signal.select(region.contains(signal[flow.given]))
    half = stream(options.seed, PURPOSE, Stream.SIGNAL).random(len(signal)) < 0.5
    return World(
        truth=NullModel(flow.pack(), hz.fit_spectrum(m, limits, window, degree=options.degree)),
        signal=signal.select(half),
        simulation=signal.select(~half),
        window=window,
        how=Procedure(
            features=flow.features,
            given=flow.given,
            limits={},
            mass_range=limits,
            degree=None,
            members=options.members,
            preset=options.preset,
            components=1,
            centres=400,
        ),
        masses=tuple(options.masses),
        shares=SHARES,
        seed=options.seed,
        out=options.out,
    )


def arguments(description: str) -> argparse.ArgumentParser:
    """What decides the world."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, required=True, help="folder of the density that is the truth")
    parser.add_argument("--data", type=Path, required=True, help="npz archive with the mass of its events")
    parser.add_argument("--signal", type=Path, required=True, help="ROOT file of signal events")
    parser.add_argument("--range", nargs=2, type=float, default=(2500.0, 4500.0), help="of the mass")
    parser.add_argument("--window", nargs=2, type=float, default=(3300.0, 3700.0), help="that is searched")
    parser.add_argument("--masses", nargs=2, type=float, default=(100.0, 500.0), help="m_y and m_x of the signal")
    parser.add_argument("--degree", type=int, default=3, help="of the true spectrum's polynomial")
    parser.add_argument("--members", type=int, default=2, help="nets of each training, as in a search (default 2)")
    parser.add_argument("--preset", default="standard", help="of each training, as in a search")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is random")
    parser.add_argument("--out", type=Path, default=Path("runs/experiments"), help="folder of the study")
    return parser
