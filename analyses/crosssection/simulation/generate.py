r"""Simulate one process of the cross-section example: hard events, tau decays, underlying events, detector, selection.

    python -m analyses.crosssection.simulation.generate --process htautau --seconds 60 --libraries libraries.npz \\
        --seed 1 --out raw/htautau_1.root

Writes the tree `events`, whose weights are relative, and beside it a JSON file with the cutflow.  Run it several times
with different seeds, in as many processes as there are cores, and put the files together with `to_root`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import uproot

from analyses.crosssection.simulation.detector import HADRON
from analyses.crosssection.simulation.hard_events import PROCESSES, HardEvents, Process
from analyses.crosssection.simulation.libraries import SoftEvents
from analyses.crosssection.simulation.objects import Objects
from analyses.crosssection.simulation.particles import Particles, ranges, wrapped
from analyses.crosssection.simulation.reconstruction import WEIGHT, reconstruct
from analyses.crosssection.simulation.tau_decays import ANY, HADRONIC, LEPTONIC, TauLibrary, Taus, random_helicities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Integers, Mask

    Columns = dict[str, Array]

__all__ = ["Simulation"]

BATCH = 400  # hard events
LEPTON_REACH, TAU_REACH = (18.0, 2.55), (10.0, 2.6)  # pT above, abs(eta) below: what may be selected


class Simulation:
    """Everything after the hard process.

    Args:
        process: What is simulated.
        taus: Library of decays.
        soft: Library of underlying events.
        rng: Of everything.
    """

    def __init__(self, process: Process, taus: TauLibrary, soft: SoftEvents, rng: np.random.Generator) -> None:
        self._process, self._taus, self._soft, self._rng = process, taus, soft, rng
        self.cutflow: Counter[str] = Counter()

    def rows(self, particles: Particles, taus: Taus, weights: Array) -> tuple[Columns, Integers]:
        """Selected rows of a batch of hard events, and which hard event each comes from.

        Args:
            particles: Visible ones but taus.
            taus: Not decayed.
            weights: Of the hard events, shape (n,).
        """
        copies, n = self._process.copies, len(weights)
        # event n t + v is copy t of hard event v
        of_copies = _repeated(taus.event, n, copies)
        taus = taus.take(of_copies[0], of_copies[1])
        decays = self._taus.draw(random_helicities(taus, n * copies, self._rng), self._wanted(taus, n), self._rng)
        products, tau = self._taus.products(taus, decays)
        visible = _sums(products, tau, taus.event, decays.hadronic)
        self.cutflow["events"] += n * copies
        possible = np.ones(n * copies, dtype=np.bool_)
        if self._process.resonance:
            possible = self._possible(particles, visible, n)
        self.cutflow["lepton and tau within reach"] += int(possible.sum())
        number = np.cumsum(possible) - 1  # of the events that are left
        index, event = _repeated(particles.event, n, copies)
        own = particles.take(index)
        parts = [
            Particles(event, own.px, own.py, own.pz, own.e, own.code),
            products,
        ]
        kept = [part.take(possible[part.event]) for part in parts]
        everything = Particles.joined(
            [
                *(Particles(number[part.event], part.px, part.py, part.pz, part.e, part.code) for part in kept),
                self._soft.draw(int(possible.sum()), self._rng),
            ]
        )
        hadronic = visible.take((visible.kind == HADRON) & possible[visible.event])
        hadronic = Objects(
            number[hadronic.event], *(getattr(hadronic, name) for name in ("pt", "eta", "phi", "charge", "kind"))
        )
        columns, selected = reconstruct(
            everything, hadronic, int(possible.sum()), self._process.fakes, self._rng, self.cutflow
        )
        hard = np.flatnonzero(possible)[selected] % n
        if copies > 1:
            self._turn(columns)
        return columns | {WEIGHT: columns[WEIGHT] * weights[hard]}, hard

    def _wanted(self, taus: Taus, n: int) -> Integers:
        """One tau of a resonance decays leptonically, the other one hadronically; which one is drawn for each copy."""
        if not self._process.resonance:
            return np.full(len(taus.event), ANY)
        first = self._rng.random(n * self._process.copies) < 0.5
        forced = np.isin(taus.origin, (22, 23, 25))
        return np.where(forced, np.where(taus.minus == first[taus.event], LEPTONIC, HADRONIC), ANY)

    def _possible(self, particles: Particles, visible: Objects, n: int) -> Mask:
        """Events that have a lepton and a hadronic tau where they can be selected."""
        leptons = np.isin(np.abs(particles.code), (11, 13)) & (particles.pt > 200.0**0.5)
        lepton = np.tile(np.bincount(particles.event[leptons], minlength=n) > 0, self._process.copies)
        hadronic = visible.kind == HADRON
        within = [(visible.pt > pt) & (np.abs(visible.eta) < eta) for pt, eta in (LEPTON_REACH, TAU_REACH)]
        size = n * self._process.copies
        lepton |= np.bincount(visible.event[~hadronic & within[0]], minlength=size) > 0
        return lepton & (np.bincount(visible.event[hadronic & within[1]], minlength=size) > 0)

    def _turn(self, columns: Columns) -> None:
        """Turn and mirror whole rows, so that no two of one hard event share an angle."""
        rows = len(columns[WEIGHT])
        turn, side = 2.0 * np.pi * self._rng.random(rows), np.where(self._rng.random(rows) < 0.5, 1.0, -1.0)
        for name, values in columns.items():
            there = values > -20.0  # a jet that is not there has no angles
            if name.endswith("_phi"):
                columns[name] = np.where(there, wrapped(values + turn), values)
            elif name.endswith("_eta"):
                columns[name] = np.where(there, side * values, values)


def _repeated(event: Integers, n: int, copies: int) -> tuple[Integers, Integers]:
    """Index and new event of everything in every copy, sorted by event."""
    counts = np.bincount(event, minlength=n)
    index, which = ranges(np.tile(np.cumsum(counts) - counts, copies), np.tile(counts, copies))
    return index, which


def _sums(products: Particles, tau: Integers, event: Integers, hadronic: Mask) -> Objects:
    """Visible momenta of the taus; of kind HADRON where they decay to hadrons, else -1."""
    x, y, z = (np.bincount(tau, weights=of, minlength=len(event)) for of in (products.px, products.py, products.pz))
    pt = np.hypot(x, y)
    eta = np.arcsinh(z / np.maximum(pt, 1e-9))
    return Objects(event, pt, eta, np.arctan2(y, x), np.zeros(len(event)), np.where(hadronic, HADRON, -1))


def simulate(process: str, libraries: Path, *, seconds: float, seed: int) -> tuple[Columns, dict[str, Any]]:
    """Simulate for a while.

    Args:
        process: One of `PROCESSES`.
        libraries: What `libraries` wrote.
        seconds: CPU time after Pythia has started; at least one batch is made.
        seed: Of everything.

    Returns:
        The columns of the tree, and what goes into the JSON file.
    """
    with np.load(libraries) as file:
        arrays = dict(file)
    known = PROCESSES[process]
    hard = HardEvents(known, seed)
    rng = np.random.default_rng([seed, *process.encode()])
    simulation = Simulation(known, TauLibrary.from_arrays(arrays), SoftEvents.from_arrays(arrays), rng)
    parts: list[Columns] = []
    events, start = 0, time.process_time()
    while not parts or time.process_time() - start < seconds:
        particles, taus, weights = hard.batch(BATCH)
        columns, event = simulation.rows(particles, taus, weights)
        parts.append(columns | {"event": event + events})
        events += len(weights)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    facts = {
        "process": process,
        "seed": seed,
        "hard processes": hard.seen,
        "hard events": events,
        "cutflow": dict(simulation.cutflow),
        "cpu_s": round(time.process_time() - start, 1),
    }
    return columns, facts


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--process", choices=PROCESSES, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="CPU time to spend")
    parser.add_argument("--libraries", type=Path, required=True, help="the .npz file that `libraries` wrote")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="the .root file to write")
    options = parser.parse_args(arguments)
    if not options.libraries.is_file():
        parser.error(f"expected libraries in {options.libraries}, got no file; make them with libraries.py")
    columns, facts = simulate(options.process, options.libraries, seconds=options.seconds, seed=options.seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(options.out) as file:
        file.mktree("events", {name: values.dtype for name, values in columns.items()}).extend(columns)
    options.out.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{options.out}: {len(columns[WEIGHT])} rows of {facts['hard events']} hard events in {facts['cpu_s']} CPU s")


if __name__ == "__main__":
    main()
