"""Hard processes with Pythia 8 (arXiv:2203.11601): vetoes that save time, and batches of particles as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
import pythia8mc

from analyses.crosssection.simulation.particles import NEUTRINOS, Particles
from analyses.crosssection.simulation.tau_decays import Taus

if TYPE_CHECKING:
    from typing import Any

    from hisigma_zfit.arrays import Array, Integers

__all__ = ["PROCESSES", "HardEvents", "Process", "configured", "visible"]

COMMON = (
    *("Print:quiet = on", "Beams:eCM = 13000.", "Random:setSeed = on", "Check:epTolErr = 1e-2"),
    *(f"Next:number{what} = 0" for what in ("Count", "ShowEvent", "ShowInfo", "ShowProcess")),
    "Main:timesAllowErrors = 300",
)
TAU, HIGGS, Z = 15, 25, 23
HARD_PROCESS = 23  # status of what leaves it


@dataclass(frozen=True)
class Process:
    """How a process is simulated.

    Attributes:
        settings: Of Pythia.
        resonance: What decays to the two taus, of which one must be leptonic and one hadronic; 0 if nothing must.
        prescale: One in so many events without what makes them interesting is kept, with that weight.
        copies: Tau decays, underlying events and detectors for each hard event.
        fakes: Factor on the probability of fake taus, undone in the weight.
    """

    settings: tuple[str, ...]
    resonance: int
    prescale: float
    copies: int
    fakes: float


PROCESSES = {
    "htautau": Process(("HiggsSM:all = on", "25:onMode = off", "25:onIfMatch = 15 15"), HIGGS, 1.0, 5, 1.0),
    "ztautau": Process(
        ("WeakSingleBoson:ffbar2gmZ = on", "WeakZ0:gmZmode = 2", "23:onMode = off", "23:onIfMatch = 15 15"),
        *(Z, 3.0, 5, 1.0),
    ),
    "ttbar": Process(("Top:all = on",), 0, 6.0, 1, 36.0),
    "diboson": Process(("WeakDoubleBoson:all = on", "WeakZ0:gmZmode = 0"), 0, 8.0, 1, 48.0),
}
SOFT_Z = 20.0  # GeV: below, Z bosons are prescaled
SELECTED_PT, SELECTED_ETA = 17.0, 2.75  # of both taus of a resonance, after the shower
REACH_TAU, REACH_LEPTON, REACH_PT = 3.3, 3.0, 12.0  # abs(eta) and pT of what may be seen, in the hard process


def configured(settings: tuple[str, ...], seed: int, hook: pythia8mc.UserHooks | None = None) -> pythia8mc.Pythia:
    """A generator that is ready; taus stay as they are unless the settings say otherwise.

    Raises:
        RuntimeError: Pythia does not know a setting, or cannot start.
    """
    pythia = pythia8mc.Pythia("", False)
    for line in (*COMMON, "15:mayDecay = off", *settings, f"Random:seed = {seed}"):
        if not pythia.readString(line):
            raise RuntimeError(f"Pythia does not know the setting {line!r}")
    if hook is not None:
        pythia.setUserHooksPtr(hook)
    if not pythia.init():
        raise RuntimeError("Pythia could not be initialised")
    return pythia


def visible(code: Integers, status: Integers) -> Any:
    """Final particles without neutrinos."""
    return (status > 0) & ~np.isin(np.abs(code), NEUTRINOS)


class _Vetoes(pythia8mc.UserHooks):
    """Ends events that cannot be selected, or are too many, before they cost time."""

    def __init__(self, process: Process, seed: int) -> None:
        pythia8mc.UserHooks.__init__(self)
        self._process = process
        self._random = np.random.default_rng(seed).random
        self.seen = 0

    def canVetoProcessLevel(self) -> bool:  # noqa: N802 - Pythia's names, here and below
        return True

    def doVetoProcessLevel(self, event: Any) -> bool:  # noqa: N802
        self.seen += 1
        outgoing = [event[i] for i in range(5, event.size()) if abs(event[i].status()) == HARD_PROCESS]
        taus = [one for one in outgoing if abs(one.id()) == TAU]
        if self._process.resonance:
            return sum(abs(one.eta()) < REACH_TAU for one in taus) < 2
        light = [one for one in outgoing if abs(one.id()) in {11, 13}]
        reach = any(abs(one.eta()) < REACH_LEPTON for one in taus)
        reach |= any(abs(one.eta()) < REACH_LEPTON and one.pT() > REACH_PT for one in light)
        # flavours alone decide, of which the record tells later
        weight = _flavour_weight(len(taus), len(light), self._process.prescale)
        return not reach or self._random() * weight >= 1.0

    def canVetoPartonLevel(self) -> bool:  # noqa: N802
        return bool(self._process.resonance)

    def doVetoPartonLevel(self, event: Any) -> bool:  # noqa: N802
        for i in range(3, min(12, event.size())):
            if event[i].id() != self._process.resonance:
                continue
            boson = event[event[i].iBotCopyId()]
            for k in (boson.daughter1(), boson.daughter2()):
                tau = event[event[k].iBotCopyId()]
                if tau.pT() < SELECTED_PT or abs(tau.eta()) > SELECTED_ETA:
                    return True
            soft = self._process.resonance == Z and boson.pT() < SOFT_Z
            return bool(soft and self._random() * self._process.prescale >= 1.0)
        return False


def _flavour_weight(taus: int, light: int, prescale: float) -> float:
    """What an event of top pairs or dibosons stands for: 1 with a tau and another lepton."""
    if taus >= 1 and taus + light >= 2:
        return 1.0
    return prescale if light else prescale / 2.0


class HardEvents:
    """Showered and hadronised events of a process, without an underlying event; their taus have not decayed.

    Args:
        process: What to simulate.
        seed: Of Pythia and of the prescales.
    """

    def __init__(self, process: Process, seed: int) -> None:
        self._process = process
        self._vetoes = _Vetoes(process, seed)
        self._pythia = configured((*process.settings, "PartonLevel:MPI = off"), seed, self._vetoes)

    @property
    def seen(self) -> int:
        """Hard processes so far, vetoed ones included."""
        return self._vetoes.seen

    def batch(self, size: int) -> tuple[Particles, Taus, Array]:
        """Visible particles but taus, taus, and the weight of each of the events.

        Args:
            size: Number of events.
        """
        record = self._pythia.nextBatch(size).prt
        counts = ak.to_numpy(ak.num(record.id))
        event = np.repeat(np.arange(len(counts)), counts)
        code, status, mother = (
            ak.to_numpy(ak.flatten(record[name])).astype(int) for name in ("id", "status", "mother1")
        )
        momentum = [ak.to_numpy(ak.flatten(record.p[name])).astype(float) for name in ("px", "py", "pz", "e")]
        everything = Particles(event, *momentum, code)
        final = visible(code, status)
        is_tau = final & (np.abs(code) == TAU)
        central = np.abs(everything.pz) <= 250.0 * everything.pt
        rows = np.flatnonzero(is_tau)
        first = (np.cumsum(counts) - counts)[event[rows]]
        taus = Taus(
            event[rows],
            np.stack(momentum[:3], axis=1)[rows],
            everything.e[rows],
            code[rows] > 0,
            _origin(rows, first, code, mother),
        )
        return everything.take(final & ~is_tau & central), taus, self._weights(everything, status, len(counts))

    def _weights(self, record: Particles, status: Integers, events: int) -> Array:
        """The prescales undone, from what the record says."""
        prescale = self._process.prescale
        if self._process.resonance == HIGGS:
            return np.ones(events)
        if self._process.resonance == Z:
            last = np.zeros(events)
            last[record.event[record.code == Z]] = record.pt[record.code == Z]
            return np.where(last < SOFT_Z, prescale, 1.0)
        hard = np.abs(status) == HARD_PROCESS
        taus, light = (
            np.bincount(record.event[hard & np.isin(np.abs(record.code), kinds)], minlength=events)
            for kinds in ((TAU,), (11, 13))
        )
        return np.array([_flavour_weight(*numbers, prescale) for numbers in zip(taus, light, strict=True)])


def _origin(rows: Integers, first: Integers, code: Integers, mother: Integers) -> Integers:
    """abs(PDG code) of the first ancestor that is no tau; 0 at the beams."""
    at = mother[rows]
    while np.any(again := (at > 0) & (np.abs(code[first + at]) == TAU)):
        at = np.where(again, mother[first + at], at)
    return np.where(at > 0, np.abs(code[first + at]), 0)
