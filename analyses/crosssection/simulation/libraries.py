"""Make the libraries that save most of the time: tau decays of fixed helicity, and soft underlying events.

    python -m analyses.crosssection.simulation.libraries --out libraries.npz

takes fifteen to twenty CPU minutes with the default numbers: 5 ms a tau decay, 50 ms an underlying event.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pythia8mc

from analyses.crosssection.simulation.hard_events import TAU, configured
from analyses.crosssection.simulation.particles import NEUTRINOS, Particles, ranges

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from hisigma_zfit.arrays import Float32, Integers

__all__ = ["SoftEvents", "soft_events", "tau_decays"]

DRELL_YAN = ("WeakSingleBoson:ffbar2gmZ = on", "WeakZ0:gmZmode = 2", "23:onMode = off")
TAUS = (
    *("23:onIfMatch = 15 15", "15:mayDecay = on", "TauDecays:mode = 3", "TauDecays:tauMother = 23"),
    *(f"PartonLevel:{what} = off" for what in ("MPI", "ISR", "FSR", "Remnants")),
    *("HadronLevel:Hadronize = off", "PhaseSpace:mHatMin = 60.", "Check:event = off"),
)
QUIET_PT = 5.0  # GeV: what an underlying event may recoil against
SOFTEST = 0.05  # GeV


def tau_decays(n: int, seed: int) -> dict[str, npt.NDArray[Any]]:
    """Decays of n tau- of each helicity, see `tau_decays.TauLibrary`."""
    products: list[tuple[float, ...]] = []
    offsets, hadronic, positive = [0], [], []
    for helicity in (-1, 1):
        pythia = configured((*DRELL_YAN, *TAUS, f"TauDecays:tauPolarization = {helicity}"), seed + helicity)
        done = 0
        while done < n:
            if not pythia.next():
                continue
            for tau in pythia.event:
                # tau- alone: those of tau+ follow by charge conjugation
                if tau.id() != TAU or tau.status() > 0 or abs(pythia.event[tau.daughter1()].id()) == TAU:
                    continue
                decay = _products(pythia.event, tau)
                products += decay
                offsets.append(len(products))
                # a pair of electrons from a neutral pion makes no leptonic decay
                daughters = range(tau.daughter1(), tau.daughter2() + 1)
                hadronic.append(not any(abs(pythia.event[k].id()) in {11, 13} for k in daughters))
                positive.append(helicity > 0)
                done += 1
    table = np.array(products)
    return {
        "tau_offsets": np.array(offsets),
        "tau_code": table[:, 0].astype(np.int32),
        "tau_momentum": table[:, 1:].astype(np.float32),
        "tau_hadronic": np.array(hadronic),
        "tau_positive": np.array(positive),
    }


def _products(event: Any, tau: Any) -> list[tuple[float, ...]]:
    """Code, momentum and energy of the visible products in the rest frame, z along the flight."""
    flight = np.array([tau.px(), tau.py(), tau.pz()])
    size = np.linalg.norm(flight)
    z_axis = flight / size
    helper = np.eye(3)[0 if abs(z_axis[0]) < 0.8 else 1]
    x_axis = np.cross(z_axis, helper)
    x_axis /= np.linalg.norm(x_axis)
    y_axis = np.cross(z_axis, x_axis)
    gamma, beta = tau.e() / tau.m(), size / tau.e()
    waiting = [*range(tau.daughter1(), tau.daughter2() + 1)]
    found: list[tuple[float, ...]] = []
    while waiting:
        one = event[waiting.pop()]
        if not one.isFinal():
            waiting += range(one.daughter1(), one.daughter2() + 1)
        elif abs(one.id()) not in NEUTRINOS:
            momentum = np.array([one.px(), one.py(), one.pz()])
            z = momentum @ z_axis
            boosted = gamma * (z - beta * one.e()), gamma * (one.e() - beta * z)
            found.append((one.id(), float(momentum @ x_axis), float(momentum @ y_axis), *boosted))
    return found


class _Quiet(pythia8mc.UserHooks):
    """Vetoes events in which the boson recoils against something."""

    def __init__(self) -> None:
        pythia8mc.UserHooks.__init__(self)

    def canVetoPartonLevel(self) -> bool:  # noqa: N802 - Pythia's name
        return True

    def doVetoPartonLevel(self, event: Any) -> bool:  # noqa: N802
        return bool(event[event[5].iBotCopyId()].pT() > QUIET_PT)


def soft_events(n: int, seed: int) -> dict[str, npt.NDArray[Any]]:
    """Visible particles of n events with Z -> nu nu of little transverse momentum, see `SoftEvents`."""
    hook = _Quiet()  # Pythia keeps no reference to it
    pythia = configured((*DRELL_YAN, "23:onIfAny = 12 14 16"), seed, hook)
    counts, columns, done = [], [], 0
    while done < n:
        record = pythia.nextBatch(200).prt
        pt = np.hypot(record.p.px, record.p.py)
        kept = record[(record.status > 0) & (pt > SOFTEST) & (np.abs(record.p.pz) < 200.0 * pt)]
        for neutrino in NEUTRINOS:
            kept = kept[np.abs(kept.id) != neutrino]
        done += len(kept)
        counts.append(ak.to_numpy(ak.num(kept.id)))
        columns.append(
            [ak.to_numpy(ak.flatten(values)) for values in (kept.p.px, kept.p.py, kept.p.pz, kept.p.e, kept.id)]
        )
    *momentum, code = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return {
        "soft_offsets": np.concatenate([[0], np.cumsum(np.concatenate(counts))]),
        "soft_momentum": np.stack(momentum, axis=1).astype(np.float32),
        "soft_code": code.astype(np.int32),
    }


@dataclass(frozen=True)
class SoftEvents:
    """Underlying events.

    Attributes:
        offsets: First particle of each, shape (events + 1,).
        momentum: px, py, pz and energy in GeV, shape (particles, 4).
        code: PDG codes, shape (particles,).
    """

    offsets: Integers
    momentum: Float32
    code: Integers

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> SoftEvents:
        """From what `soft_events` returned."""
        return cls(arrays["soft_offsets"], arrays["soft_momentum"], arrays["soft_code"])

    def draw(self, n: int, rng: np.random.Generator) -> Particles:
        """One for each of n events, turned around the beam and mirrored at random."""
        number = rng.integers(len(self.offsets) - 1, size=n)
        at, event = ranges(self.offsets[number], np.diff(self.offsets)[number])
        x, y, z, e = self.momentum[at].T.astype(np.float64)
        turn, side = 2.0 * np.pi * rng.random(n)[event], np.where(rng.random(n) < 0.5, 1.0, -1.0)[event]
        cos, sin = np.cos(turn), np.sin(turn)
        return Particles(event, cos * x - sin * y, sin * x + cos * y, side * z, e, self.code[at].astype(np.int64))


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decays", type=int, default=20_000, help="tau decays of each helicity (default 20,000)")
    parser.add_argument("--soft-events", type=int, default=18_000, help="underlying events (default 18,000)")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--out", type=Path, required=True, help="the .npz file to write")
    options = parser.parse_args(arguments)
    if options.decays < 1 or options.soft_events < 1:
        parser.error("expected at least one decay and one underlying event")
    arrays = tau_decays(options.decays, options.seed) | soft_events(options.soft_events, options.seed)
    np.savez_compressed(options.out, **arrays)
    share = arrays["tau_hadronic"].mean()
    particles = np.diff(arrays["soft_offsets"]).mean()
    print(f"{options.out}: {share:.3f} of the tau decays hadronic, {particles:.0f} particles an underlying event")


if __name__ == "__main__":
    main()
