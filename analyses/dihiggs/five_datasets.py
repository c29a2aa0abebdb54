"""Measure all five disjoint data sets and compare: the spread of the results is their true error.

python analyses/dihiggs/five_datasets.py --out runs/five
"""

from __future__ import annotations

import argparse
from pathlib import Path

from measure import add_options, measure
from samples import N_DATASETS, N_SIGNAL

import hisigma_zfit as hz


def main() -> None:
    """Measure, print the table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/five"), help="folder of the five run folders")
    add_options(parser)
    parser.set_defaults(combine="envelope")  # as published
    options = parser.parse_args()
    measurements = [measure(k, options.out / f"measurement{k}", options) for k in range(N_DATASETS)]
    table = hz.tables.comparison(measurements, truth=N_SIGNAL)
    (options.out / "table.txt").write_text(f"{table}\n")
    print(table)


if __name__ == "__main__":
    main()
