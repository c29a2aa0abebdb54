"""Memory and time of scoring more events than memory holds: `python benchmarks/stream.py --events 100000000`.

A density of four features is learned from 100,000 events of a known truth (`tests/truth.py`).  A file of a tenth of the
events stands under ten names; its pieces are read, scored and forgotten.  After each name the largest memory so far is
printed: it must not grow.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import hisigma_zfit as hz

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import truth
from memory import write_events
from read_memory import peak_mib

NAMES = 10
TRAINED_WITH = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000_000)
    parser.add_argument("--members", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_events(folder / "trained.root", TRAINED_WITH, toy=truth.BACKGROUND, seed=1)
        write_events(folder / "file0.root", options.events // NAMES, toy=truth.BACKGROUND, seed=2)
        for k in range(1, NAMES):
            (folder / f"file{k}.root").hardlink_to(folder / "file0.root")
        events = hz.read(folder / "trained.root", progress=False)
        flow = hz.train_flow(events, truth.FEATURES, given=truth.MASS, members=options.members, preset="quick", seed=1)
        print(f"{'events':>12s}{'seconds':>10s}{'CPU s':>10s}{'largest memory, GiB':>22s}", flush=True)
        print(f"{'before':>12s}{'':20s}{peak_mib() / 1024:22.2f}", flush=True)
        start, used, n, total = time.perf_counter(), time.process_time(), 0, 0.0
        for k in range(NAMES):
            for batch in hz.read_batches(folder / f"file{k}.root", columns=[truth.MASS, *truth.FEATURES]):
                log_prob = flow.log_prob_array(batch.array(truth.FEATURES), batch[truth.MASS])
                total += float(log_prob[log_prob > -float("inf")].sum())
                n += len(batch)
            seconds, cpu = time.perf_counter() - start, time.process_time() - used
            print(f"{n:12d}{seconds:10.1f}{cpu:10.1f}{peak_mib() / 1024:22.2f}", flush=True)
        print(f"mean log p {total / n:.4f}; {n / cpu:,.0f} events by CPU second")


if __name__ == "__main__":
    main()
