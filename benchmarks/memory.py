"""What a whole measurement needs in memory, stage by stage, beside what it said before: `python benchmarks/memory.py`.

Events of a known truth (`tests/truth.py`) are written piece by piece to ROOT files: as many data as sideband events,
and a tenth of them as simulated signal.  `hisigma measure` runs in a process of its own, whose memory is looked at ten
times a second: all of it that is resident, and the part that no file stands behind.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
import truth
import uproot

ROOT = Path(__file__).resolve().parents[1]
PIECE = 250_000
SIGNAL = truth.Toy(falloff=1.2, centre=2.2, peak=(125.0, 2.0))


def write_events(path: Path, n: int, *, toy: truth.Toy, seed: int, region: str = "all") -> None:
    """Write `n` events of the mass and four features, with fresh random numbers in every piece."""
    with uproot.recreate(path, compression=uproot.ZSTD(1)) as file:
        tree = None
        for k, start in enumerate(range(0, n, PIECE)):
            columns = toy.columns(min(PIECE, n - start), seed=seed + 1000 * k, region=region)
            columns = {name: values.astype(np.float32) for name, values in columns.items()}
            if tree is None:
                tree = file.mktree("events", dict.fromkeys(columns, "float32"))
            tree.extend(columns)


def memory_of(pid: int) -> tuple[float, float]:
    """Resident memory and the part of it that no file stands behind, in GiB; Linux only."""
    found = dict(re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    return int(found["VmRSS"]) / 2**20, int(found["RssAnon"]) / 2**20


def watched(command: list[str]) -> dict[str, object]:
    """Run a command, and the largest memory in each stage that it announces on stderr."""
    begin, stage, said = time.perf_counter(), ["read"], []
    child = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=ROOT)
    order = ("read", "train", "score", "fit", "draw", "end")

    def listen() -> None:
        assert child.stderr is not None
        for line in child.stderr:
            said.append(line.rstrip())
            if ended := re.search(r"\] (\w+) done", line):
                stage[0] = order[order.index(ended[1]) + 1]

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    peaks: dict[str, list[float]] = {}
    while child.poll() is None:
        try:
            now = memory_of(child.pid)
        except (OSError, KeyError):
            break
        peaks[stage[0]] = [max(pair) for pair in zip(now, peaks.get(stage[0], now), strict=True)]
        time.sleep(0.1)
    child.wait()
    listener.join()
    if child.returncode:
        raise SystemExit("\n".join(said))
    promise = next((line for line in said if "will need" in line), "")
    return {"peaks": peaks, "said": promise, "seconds": time.perf_counter() - begin}


def run(n: int, options: list[str]) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_events(folder / "data.root", n, toy=truth.BACKGROUND, seed=1)
        write_events(folder / "sidebands.root", n, toy=truth.BACKGROUND, seed=2, region="sidebands")
        write_events(folder / "signal.root", max(n // 10, 2000), toy=SIGNAL, seed=3)
        command = [sys.executable, "-m", "hisigma_zfit.cli", "measure", "--out", str(folder / "run")]
        files = {"data": "data", "sideband-training": "sidebands", "signal": "signal"}
        for option, name in files.items():
            command += [f"--{option}", str(folder / f"{name}.root")]
        low, high = truth.MASS_RANGE
        command += ["--mass", truth.MASS, "--range", str(low), str(high), "--features", ",".join(truth.FEATURES)]
        command += ["--signal-region", *map(str, truth.REGION), *options]
        return {"events": n, **watched(command)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[100_000, 400_000], help="data; as many in sidebands")
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--bootstraps", type=int, default=2, help="of each training, two at a time on two cores")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    options = parser.parse_args()
    more = ["--members", str(options.members), "--bootstraps", str(options.bootstraps), "--preset", options.preset]
    more += ["--combine", "mixture"] if options.bootstraps == 1 else []
    found = []
    print(f"{'events':>10s} {'stage':8s}{'resident':>10s}{'without files':>15s}  (GiB)", flush=True)
    for n in options.events:
        found.append(run(n, more))
        for stage, (resident, anonymous) in found[-1]["peaks"].items():
            print(f"{2 * n:10d} {stage:8s}{resident:10.2f}{anonymous:15.2f}", flush=True)
        print(f"{'':10s} {found[-1]['said']}  ({found[-1]['seconds']:.0f} s)", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
