"""Peak memory and time of reading a large ROOT file: `python benchmarks/read_memory.py --events 10000000`.

The file is made in a temporary folder from smooth random columns and removed afterwards.  Each measurement runs in a
process of its own, so that its peak is that of the reading alone; the imports' share is measured and printed too.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import uproot

from hisigma_zfit.data import read

COLUMNS = ("m_gg", "pt_bb", "pt_gg", "dr_bb", "dr_gg")
BASKET = 250_000


def write_events(path: Path, n_events: int, *, seed: int) -> None:
    """Write `n_events` rows of five float32 branches, with fresh random numbers in every basket."""
    rng = np.random.default_rng(seed)
    with uproot.recreate(path, compression=uproot.ZSTD(1)) as file:
        tree = file.mktree("events", dict.fromkeys(COLUMNS, "float32"))
        for start in range(0, n_events, BASKET):
            n = min(BASKET, n_events - start)
            tree.extend({name: rng.gamma(4.0, 30.0, n).astype(np.float32) for name in COLUMNS})


def peak_mib() -> float:
    """Largest resident memory of this process so far; Linux reports KiB, macOS bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def measure(path: Path, max_events: int | None, cut: str | None) -> dict[str, float]:
    start = time.perf_counter()
    data = read(path, columns=COLUMNS, cut=cut, max_events=max_events, progress=False)
    return {"events": len(data), "seconds": time.perf_counter() - start, "peak_mib": peak_mib()}


def in_own_process(path: Path, *options: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", str(path), *options]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--max-events", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--cut", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.max_events, options.cut)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.root"
        write_events(path, options.events, seed=options.seed)
        print(
            f"{options.events} events, {len(COLUMNS)} float32 branches, {path.stat().st_size / 2**20:.0f} MiB on disk"
        )
        print(f"columns in memory: {options.events * len(COLUMNS) * 8 / 2**20:.0f} MiB")
        for words, extra in (
            ("one event (imports)", ("--max-events", "1")),
            ("all events", ()),
            ("with a cut", ("--cut", "(m_gg > 90) & (m_gg < 180)")),
        ):
            found = in_own_process(path, *extra)
            print(f"{words:22s}{found['events']:12d} events{found['seconds']:8.2f} s{found['peak_mib']:8.0f} MiB peak")


if __name__ == "__main__":
    main()
