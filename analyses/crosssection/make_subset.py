"""Make the sample of simulated H -> tau tau events and their backgrounds that the example runs on.

    python analyses/crosssection/make_subset.py FOLDER --out analyses/crosssection/data

takes from the four files of FOLDER, made by `simulation/`, a part of the hard events of each, with all of their rows,
and raises the weights, so that the yields stay.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import uproot

if TYPE_CHECKING:
    from collections.abc import Mapping

    Columns = Mapping[str, npt.NDArray[Any]]

PARTS = {"htautau": 0.35, "ztautau": 0.27, "ttbar": 0.40, "diboson": 0.40}  # of the hard events
MAX_BYTES = 6_000_000  # of all files together, to be shipped
TRUTH = "true_tau"  # not for learning, and not kept
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def chosen(event: npt.NDArray[np.integer[Any]], part: float) -> npt.NDArray[np.bool_]:
    """Which rows are of the part of the hard events: the same for all rows of one.

    Args:
        event: Number of the hard event of every row, shape (n,).
        part: Share of them, in steps of 1e-4.
    """
    bits = ((event.astype(np.uint64) + np.uint64(777)) * GOLDEN) >> np.uint64(40)
    return bits % np.uint64(10_000) < part * 10_000


def subset(columns: Columns, part: float) -> dict[str, npt.NDArray[Any]]:
    """A part of the hard events, whose weights add up to those of all of them.

    Args:
        columns: With `event` and `weights`, each of shape (n,).
        part: As for `chosen`.
    """
    kept = chosen(columns["event"], part)
    weights = columns["weights"].astype(np.float64)
    new = {name: values[kept] for name, values in columns.items() if name != TRUTH}
    return new | {"weights": (weights[kept] * weights.sum() / weights[kept].sum()).astype(np.float32)}


def main() -> None:
    """Read, choose, write, and print what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with fair_htautau.root and the three others")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data", help="folder to write to")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    size = 0
    for process, part in PARTS.items():
        name = f"fair_{process}.root"
        with uproot.open(options.source / name) as file:
            columns = subset(file["events"].arrays(library="np"), part)
        with uproot.recreate(options.out / name, compression=uproot.LZMA(9)) as file:
            file.mktree("events", {key: values.dtype for key, values in columns.items()}).extend(columns)
        weights = columns["weights"].astype(np.float64)
        size += (options.out / name).stat().st_size
        print(
            f"{process:8s} {len(weights):8,d} rows of {len(np.unique(columns['event'])):,d} hard events, "
            f"{weights.sum():.1f} expected, {weights.sum() ** 2 / (weights**2).sum():.0f} effective"
        )
    print(f"{size / 1e6:.2f} MB")
    if size > MAX_BYTES:
        raise SystemExit(f"expected at most {MAX_BYTES / 1e6:g} MB, got {size / 1e6:.2f}; take smaller parts")


if __name__ == "__main__":
    main()
