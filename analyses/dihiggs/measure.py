"""Measure HH -> bb gamma gamma in one of five disjoint data sets, as in arXiv:2506.06438, section 4.

python analyses/dihiggs/measure.py --out runs/dihiggs

prints the table and leaves it, the figures and result.json in the run folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from samples import COLUMNS, FEATURES, MASS, N_SIGNAL, RANGE, SIGNAL_REGION, WORDS, write_dataset

import hisigma_zfit as hz


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the training, shared by the scripts of this study."""
    parser.add_argument("--flow", default="spline", help="density: spline or maf")
    parser.add_argument("--preset", default="standard", help="training: quick, standard or paper")
    parser.add_argument("--bootstraps", type=int, default=5, help="trainings on redrawn events (default 5)")
    parser.add_argument("--members", type=int, default=5, help="seeds of each model (default 5)")
    parser.add_argument("--combine", default="nuisance", help="how bootstraps are combined (default nuisance)")
    parser.add_argument("--seed", type=int, default=1, help="seed of every random step (default 1)")


def measure(dataset: int, out: Path, options: argparse.Namespace, **more: Any) -> hz.results.Measurement:
    """Measure one data set, with more options of `hz.measure`; its files are written beside the run folder."""
    out.parent.mkdir(parents=True, exist_ok=True)
    return hz.measure(
        **write_dataset(dataset, out.parent / f"dataset{dataset}"),
        mass=MASS,
        range=RANGE,
        signal_region=SIGNAL_REGION,
        features=FEATURES,
        columns=COLUMNS,
        bootstraps=options.bootstraps,
        members=options.members,
        flow=options.flow,
        preset=options.preset,
        combine=options.combine,
        **WORDS,
        seed=options.seed,
        out=out,
        quiet=False,
        **more,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=int, default=0, help="data set 0 to 4 (default 0)")
    parser.add_argument("--out", type=Path, default=Path("runs/dihiggs"), help="run folder to be made")
    add_options(parser)
    options = parser.parse_args()
    print(hz.tables.measurement(measure(options.dataset, options.out, options)))
    print(f"\ninjected: {N_SIGNAL} signal events; figures and result.json are in {options.out}")


if __name__ == "__main__":
    main()
