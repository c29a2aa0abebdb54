"""Put files of `generate` together: one for each process, normalised to the challenge's yields in 10 fb-1.

    python -m analyses.crosssection.simulation.to_root raw/*.root --out sample [--held-back held_back --part 5]

With --held-back one in so many hard events goes to files of its own, which nothing should learn from.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import uproot

from analyses.crosssection.systematics import DECIMALS, PRIMARY

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Columns = dict[str, npt.NDArray[Any]]

EXPECTED = {"htautau": 1015.365, "ztautau": 1_002_395.0, "ttbar": 44_190.174, "diboson": 3_782.638}  # in 10 fb-1
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def merged(files: Sequence[Columns]) -> Columns:
    """All rows, those of a hard event together; the numbers of hard events count on from file to file."""
    events, first = [], 0
    for columns in files:
        events.append(columns["event"].astype(np.int64) + first)
        first += int(columns["event"].max(initial=-1)) + 1
    event = np.unique(np.concatenate(events), return_inverse=True)[1]
    order = np.argsort(event, kind="stable")
    names = [name for name in files[0] if name != "event"]
    return {name: np.concatenate([columns[name] for columns in files])[order] for name in names} | {
        "event": event[order]
    }


def written(columns: Columns, expected: float) -> Columns:
    """Rounded and normalised columns, as the files have them."""
    new: Columns = {name: columns[name].round(DECIMALS).astype(np.float32) for name in PRIMARY}
    new["PRI_n_jets"] = columns["PRI_n_jets"].astype(np.int32)
    new["weights"] = (columns["weights"] * expected / columns["weights"].sum()).astype(np.float32)
    return new | {"event": columns["event"].astype(np.int32), "true_tau": columns["true_tau"].astype(np.int8)}


def held_back(event: npt.NDArray[np.integer[Any]], part: int) -> npt.NDArray[np.bool_]:
    """Rows of one in `part` hard events."""
    bits = ((event.astype(np.uint64) + np.uint64(12_345)) * GOLDEN) >> np.uint64(33)
    return bits % np.uint64(part) == 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, merge, write, and print what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="of `generate`, each with its JSON file beside it")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--held-back", type=Path, help="folder for the hard events that are held back")
    parser.add_argument("--part", type=int, default=5, help="one in so many of them (default 5)")
    options = parser.parse_args(arguments)
    by_process: dict[str, list[Columns]] = {}
    for path in sorted(options.files):
        with uproot.open(path) as file:
            columns = file["events"].arrays(library="np")
        by_process.setdefault(json.loads(path.with_suffix(".json").read_text())["process"], []).append(columns)
    for process, files in by_process.items():
        columns = merged(files)
        held = held_back(columns["event"], options.part) & (options.held_back is not None)
        for folder, kept in ((options.out, ~held), (options.held_back, held)):
            if folder is None:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            rows = written({name: values[kept] for name, values in columns.items()}, EXPECTED[process])
            with uproot.recreate(folder / f"fair_{process}.root", compression=uproot.LZMA(6)) as file:
                file.mktree("events", {name: values.dtype for name, values in rows.items()}).extend(rows)
            weights = rows["weights"].astype(np.float64)
            effective = weights.sum() ** 2 / (weights**2).sum()
            print(f"{folder} {process}: {len(weights)} rows, {effective:.0f} effective")


if __name__ == "__main__":
    main()
