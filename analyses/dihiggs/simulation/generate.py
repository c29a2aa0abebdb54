"""Simulate one process of the di-Higgs study: parton level, shower, detector, selection.

    python analyses/dihiggs/simulation/generate.py --process hh --events 2000 --kappa-lambda 1 --seed 1 --out hh.root

Writes a ROOT file with the tree `events` (float32 branches) and, beside it, a JSON file with cutflow and cross-section.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import detector
import les_houches
import numpy as np
import selection
import uproot
from continuum_events import Continuum
from dihiggs import BRANCHING_RATIO, DiHiggs, coupling_terms, pair_variables, squared
from shower import Shower

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Columns = dict[str, npt.NDArray[np.float64]]

PROCESSES = ("continuum", "hh", "zh", "tth")
KAPPAS = (0.0, 1.0, 2.45, 5.0)  # couplings whose weights are written out
HARD_INTERMEDIATE = -22  # Pythia's status code of a resonance in the hard process


def coupling_columns(events: ak.Array, kappa: float) -> Columns:
    """Weights that move events generated at `kappa` to another coupling.

    The hard process is read off each event's own record, so that a weight cannot end up at another event.
    """
    prt = events.prt
    higgses = prt[(prt.id == 25) & (prt.status == HARD_INTERMEDIATE)]
    first, second = (np.array([ak.to_numpy(higgses.p[part][:, i]) for part in ("e", "px", "py", "pz")]) for i in (0, 1))
    mass, cosine = pair_variables(first, second)
    terms = coupling_terms(mass, cosine)
    terms = terms / squared(terms, kappa)
    columns = {f"w_kl_{k:g}".replace(".", "p"): squared(terms, k) for k in KAPPAS}
    return columns | dict(zip(("w_A", "w_B", "w_C"), terms, strict=True)) | {"gen_mhh": mass, "gen_costh": cosine}


def shower_and_select(
    process: str | Path, n: int, seed: int, kappa: float | None
) -> tuple[Columns, Counter[str], float]:
    """Columns of the selected events, cutflow, and Pythia's cross-section in fb; `kappa` for Higgs pairs only."""
    shower = Shower(process, seed)
    rng = np.random.default_rng(seed + 10**6)
    cutflow: Counter[str] = Counter()
    parts = []
    for events in shower.batches(n):
        columns, index = selection.select(events, rng, cutflow)
        if kappa is not None:
            columns |= coupling_columns(events[index], kappa)
        parts.append(columns)
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}, cutflow, shower.sigma_pb * 1e3


def simulate(
    process: str, n: int, *, seed: int, kappa: float = 1.0, points: int = 80_000
) -> tuple[Columns, dict[str, Any]]:
    """Simulate n parton-level events of a process.

    Args:
        process: One of PROCESSES.
        n: Number of showered events; for "continuum" and "hh" after the generator cuts.
        seed: Of everything.
        kappa: Trilinear coupling relative to the standard model, for "hh".
        points: Points per training iteration of the continuum's samplers.

    Returns:
        The columns of the tree, and what goes into the JSON file.
    """
    is_pair = process == "hh"
    if process in ("zh", "tth"):
        columns, cutflow, sigma = shower_and_select(process, n, seed, None)
        error = None
    else:
        source = DiHiggs(seed, kappa) if is_pair else Continuum(seed, points)
        to_pb = 1e-3 if is_pair else 1.0
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "events.lhe"
            les_houches.write(path, source.generate(n), source.sigma * to_pb, source.error * to_pb)
            columns, cutflow, _ = shower_and_select(path, n, seed, kappa if is_pair else None)
        factor = BRANCHING_RATIO * source.acceptance if is_pair else 1e3
        sigma, error = source.sigma * factor, source.error * factor
    rows = cutflow["selected"]
    selected_fb = sigma * detector.EFFICIENCY * rows / cutflow["showered"]
    columns["weight"] = np.ones(rows)
    columns["xs_weight_fb"] = np.full(rows, selected_fb / max(rows, 1))
    facts = {
        "process": process,
        "seed": seed,
        "rows": rows,
        "cutflow": dict(cutflow),
        "xs_generated_fb": sigma,
        "xs_generated_error_fb": error,
        "max_efficiency": detector.EFFICIENCY,
        "xs_selected_fb": selected_fb,
    }
    if is_pair:
        facts |= {"kappa_lambda": kappa, "xs_inclusive_fb": source.sigma, "generator_acceptance": source.acceptance}
    return columns, facts


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--process", choices=PROCESSES, required=True)
    parser.add_argument("--events", type=int, required=True, help="parton-level events to shower")
    parser.add_argument("--kappa-lambda", type=float, default=1.0, help="trilinear coupling, for hh (default 1)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--points", type=int, default=80_000, help="points per training iteration of the continuum's sampler"
    )
    parser.add_argument("--out", type=Path, required=True, help="the .root file to write")
    args = parser.parse_args(arguments)
    if args.events < 1:
        parser.error(f"--events: expected a positive number, got {args.events}")
    columns, facts = simulate(args.process, args.events, seed=args.seed, kappa=args.kappa_lambda, points=args.points)
    with uproot.recreate(args.out) as file:
        file.mktree("events", dict.fromkeys(columns, np.float32)).extend(
            {k: v.astype(np.float32) for k, v in columns.items()}
        )
    args.out.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{args.out}: {facts['rows']} of {args.events} events, {facts['xs_selected_fb']:.4g} fb")


if __name__ == "__main__":
    main()
