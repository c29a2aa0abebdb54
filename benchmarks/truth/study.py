"""Retrained pseudo-experiments in worlds whose truth is known: shift, width and coverage of every way of combining.

    python benchmarks/truth/study.py --worlds small edges --experiments 40 --out runs/truth

Every pseudo-experiment is one small file in the folder, so that an interrupted study goes on and a longer one begins
with a shorter one's.  Prints the table and draws the figure of all that is there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from report import draw, load, table
from worlds import WORLDS

from hisigma_zfit.files import write_bytes


def _one(name: str, extra: int, number: int, folder: Path, halves_only: bool) -> str:
    from experiment import run, run_halves  # in the worker, which has TensorFlow to itself

    record = (run_halves if halves_only else run)(name, extra=extra, number=number)
    path = folder / f"{name}-{extra}-{number:04d}.json"
    write_bytes(path, json.dumps(record).encode())
    return path.name


def _missing(options: argparse.Namespace) -> list[tuple[str, int, int, Path, bool]]:
    tasks = [
        (name, extra, number, options.out, options.halves_only)
        for number in range(options.experiments)  # all worlds alike, if time runs out
        for extra in options.extra
        for name in options.worlds
    ]
    return [task for task in tasks if not (options.out / f"{task[0]}-{task[1]}-{task[2]:04d}.json").exists()]


def _run(tasks: list[tuple[str, int, int, Path, bool]], options: argparse.Namespace) -> None:
    if options.scheduler:
        import distributed

        client: Any = distributed.Client(options.scheduler)
        for future in distributed.as_completed([client.submit(_one, *task) for task in tasks]):
            print(future.result(), flush=True)
        return
    # spawned: TensorFlow does not survive a fork
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(_one, *task) for task in tasks]):
            print(future.result(), flush=True)


def main() -> None:
    """Run what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), choices=list(WORLDS), help="which worlds")
    parser.add_argument(
        "--extra", nargs="+", type=int, default=[0], help="sideband events for the training beyond the data's"
    )
    parser.add_argument("--experiments", type=int, default=40, help="of each world and size (default 40)")
    parser.add_argument(
        "--halves-only",
        action="store_true",
        help="train what the default's value needs, a third of the work; its width is that of the other experiments",
    )
    parser.add_argument("--processes", type=int, default=1, help="worker processes (default 1)")
    parser.add_argument("--scheduler", help="Dask scheduler to be used instead, such as tcp://host:8786")
    parser.add_argument("--out", type=Path, default=Path("runs/truth"), help="folder of the study")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tasks = _missing(options)
    if tasks:
        _run(tasks, options)
    records = load(options.out)
    print(table(records))
    draw(records, options.out / "truth.png")


if __name__ == "__main__":
    main()
