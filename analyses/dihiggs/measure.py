"""Measure HH -> bb gamma gamma in one of five disjoint data sets, as in arXiv:2506.06438, section 4.

    python analyses/dihiggs/measure.py --out runs/dihiggs

prints the table and leaves it, the figures and result.json in the run folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from samples import COLUMNS, FEATURES, MASS, N_SIGNAL, RANGE, SIGNAL_REGION, write_dataset

import hisigma_zfit as hz


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=int, default=0, help="data set 0 to 4 (default 0)")
    parser.add_argument("--preset", default="standard", help="training: quick, standard or paper")
    parser.add_argument("--bootstraps", type=int, default=5)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/dihiggs"), help="run folder to be made")
    arguments = parser.parse_args()

    measurement = hz.measure(
        **write_dataset(arguments.dataset, arguments.out.parent / f"dataset{arguments.dataset}"),
        mass=MASS,
        range=RANGE,
        signal_region=SIGNAL_REGION,
        features=FEATURES,
        columns=COLUMNS,
        bootstraps=arguments.bootstraps,
        members=arguments.members,
        preset=arguments.preset,
        seed=arguments.seed,
        out=arguments.out,
        quiet=False,
    )
    print(hz.tables.measurement(measurement))
    print(f"\ninjected: {N_SIGNAL} signal events; figures and result.json are in {arguments.out}")


if __name__ == "__main__":
    main()
