"""Parton shower, hadronisation and decays with Pythia 8 (arXiv:2203.11601); no multi-parton interactions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pythia8mc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import awkward as ak

COMMON = (
    "Beams:eCM = 14000.",
    "PDF:pSet = 13",  # as in parton_densities
    "Random:setSeed = on",
    "Print:quiet = on",
    *(f"Next:number{what} = 0" for what in ("Count", "ShowEvent", "ShowInfo", "ShowProcess", "ShowLHA")),
    "PartonLevel:MPI = off",
    "25:m0 = 125.",
    "5:m0 = 4.8",
    "111:mayDecay = off",  # a neutral pion is one cluster in the calorimeter, not two photons
    "ParticleDecays:limitTau0 = on",
    "ParticleDecays:tau0Max = 10.",  # mm
)
HIGGS_TO_PHOTONS = ("25:onMode = off", "25:onIfMatch = 22 22")
BUILT_IN = {
    "zh": ("HiggsSM:ffbar2HZ = on", "23:onMode = off", "23:onIfAny = 5", *HIGGS_TO_PHOTONS),
    "tth": ("HiggsSM:gg2Httbar = on", "HiggsSM:qqbar2Httbar = on", *HIGGS_TO_PHOTONS),
}


class Shower:
    """A configured generator.

    Args:
        process: A process of Pythia's own ("zh" or "tth"), or the path of a Les Houches file.
        seed: Of Pythia's random numbers.
    """

    def __init__(self, process: str | Path, seed: int) -> None:
        specific = (
            BUILT_IN[process]
            if isinstance(process, str)
            # matrix elements are massless, quarks put on shell after: the momenta do not add up exactly
            else ("Beams:frameType = 4", f"Beams:LHEF = {process}", "LesHouches:matchInOut = off")
        )
        self._pythia = pythia8mc.Pythia("", False)
        for line in (*COMMON, f"Random:seed = {seed}", *specific):
            if not self._pythia.readString(line):
                raise RuntimeError(f"Pythia does not know the setting {line!r}")
        if not self._pythia.init():
            raise RuntimeError("Pythia could not be initialised")

    def batches(self, n: int, size: int = 500) -> Iterator[ak.Array]:
        """N events, or as many as the Les Houches file holds, in batches of at most `size`."""
        while n > 0:
            events = self._pythia.nextBatch(min(size, n))
            if len(events) == 0:
                return
            yield events
            n -= len(events)

    @property
    def sigma_pb(self) -> float:
        """Cross-section as Pythia knows it, decays chosen in the settings included."""
        return float(self._pythia.infoPython().sigmaGen()) * 1e9
