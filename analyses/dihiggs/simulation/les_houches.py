"""Writes parton-level events in the Les Houches format (J. Alwall et al., hep-ph/0609017) for the shower."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kinematics import BEAM_ENERGY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

INCOMING, FINAL, INTERMEDIATE = -1, 1, 2


class Particle(NamedTuple):
    """One line of an event: PDG code, status, mothers (1-based), colour lines, (E, px, py, pz) and mass in GeV."""

    code: int
    status: int
    mothers: tuple[int, int]
    colours: tuple[int, int]
    momentum: Sequence[float]
    mass: float

    def line(self) -> str:
        """As the format wants it: proper lifetime zero, spin unknown (9)."""
        e, x, y, z = self.momentum
        head = (self.code, self.status, *self.mothers, *self.colours)
        return " ".join(map(str, head)) + f" {x:.9e} {y:.9e} {z:.9e} {e:.9e} {self.mass:.5e} 0. 9."


class Event(NamedTuple):
    """The particles of an event and the scale in GeV at which its shower starts."""

    particles: Sequence[Particle]
    scale: float


def write(path: Path, events: Iterable[Event], sigma_pb: float, sigma_error_pb: float) -> None:
    """Write unweighted events of one process with its cross-section."""
    beams = f"2212 2212 {BEAM_ENERGY} {BEAM_ENERGY} 0 0 247000 247000 3 1"  # 3: unit weights
    with path.open("w") as out:
        out.write(
            f'<LesHouchesEvents version="1.0">\n<init>\n{beams}\n{sigma_pb:.6e} {sigma_error_pb:.3e} 1. 1\n</init>\n'
        )
        for event in events:
            # the couplings of the header are for information: the shower has its own
            head = f"{len(event.particles)} 1 1.0 {event.scale:.4f} 0.0072973 0.118"
            lines = "\n".join(p.line() for p in event.particles)
            out.write(f"<event>\n{head}\n{lines}\n</event>\n")
        out.write("</LesHouchesEvents>\n")
