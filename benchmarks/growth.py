"""How time grows: `python benchmarks/growth.py --json growth.json`, then `python plots/growth.py growth.json`.

One thing grows at a time, everything else stays as in the example of `tests/truth.py`.  CPU seconds, but for toys by
workers, whose wall time counts.  The exponent is the slope of log(time) against log(size) over the larger half of the
sizes, where what is constant no longer matters; of members and features it is that of a training step, of which the
first, which compiles, is listed apart.
"""

from __future__ import annotations

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"})
os.environ.update({"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "ZFIT_DISABLE_TF_WARNINGS": "1"})

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import example
import fit_rivals
import numpy as np
import truth
import zfit

import hisigma_zfit as hz
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.toys.toys import make_pool, run_toys

CPU = time.process_time
CHUNKS = 5  # compiled calls of 24 steps of which the median counts


class _EnoughError(Exception):
    """The training has shown what a step takes."""


def step_time(data: hz.Dataset, features: tuple[str, ...], *, members: int) -> tuple[float, float]:
    """CPU seconds of a training step, and those of the first call beyond it: compiling, and what comes before it."""
    times, begin = [], CPU()

    def note(done: int, _: int) -> None:
        times.append((done, CPU()))
        if len(times) > CHUNKS:
            raise _EnoughError

    with contextlib.suppress(_EnoughError):
        hz.train_flow(data, features, given=truth.MASS, members=members, seed=1, preset="quick", progress=note)
    steps, at = np.array(times, dtype=np.float64).T
    step = float(np.median(np.diff(at) / np.diff(steps)))
    return step, at[0] - begin - steps[0] * step


def correlated(n: int, d: int) -> tuple[hz.Dataset, tuple[str, ...]]:
    """Events with d features, each of which moves with the one before and with the mass."""
    rng = np.random.default_rng(1)
    m = truth.BACKGROUND.sample_mass(n, rng)
    columns = {truth.MASS: m}
    last = (m - 135.0) / 45.0
    for j in range(d):
        last = 0.6 * last + 0.8 * rng.normal(size=n)
        columns[f"x{j}"] = last
    data = hz.Dataset.from_arrays(columns).sidebands(truth.MASS, hz.SignalRegion(*truth.REGION))
    return data, tuple(f"x{j}" for j in range(d))


def by_events(sizes: list[int]) -> list[dict[str, Any]]:
    rows = []
    region = hz.SignalRegion(*truth.REGION)
    small = truth.BACKGROUND.columns(20_000, seed=1, region="sidebands")
    flow = hz.train_flow(
        hz.Dataset.from_arrays(small).sidebands(truth.MASS, region),
        truth.FEATURES,
        given=truth.MASS,
        seed=1,
        preset="quick",
    )
    for n in sizes:
        columns = truth.BACKGROUND.columns(n, seed=1, region="sidebands")
        data = hz.Dataset.from_arrays(columns).sidebands(truth.MASS, region)
        times: list[float] = []
        begin = CPU()
        hz.train_flow(
            data, truth.FEATURES, given=truth.MASS, seed=1, epochs=1.0, progress=lambda *_, t=times: t.append(CPU())
        )
        whole = CPU() - begin
        compiling = max(times[0] - begin - float(np.median(np.diff(times))), 0.0)
        rows.append({"what": "training, one pass", "size": n, "seconds": whole - compiling})
        x, m = truth.stack(columns)
        flow.log_prob_array(x[:8192], m[:8192])
        begin = CPU()
        flow.log_prob_array(x, m)
        rows.append({"what": "scoring", "size": n, "seconds": CPU() - begin})
        model = example.model()
        loss = ExtendedNLL(model, zfit.Data.from_numpy(obs=model.space, array=example.events(model, scale=n / 40_200)))
        loss.columns()
        example.start(model, scale=n / 40_200)
        begin = CPU()
        profiler = Profiler(loss, model.poi)
        profiler.scan(profiler.best + profiler.error * np.linspace(-3, 3, 60))
        rows.append({"what": "fit and profile", "size": n, "seconds": CPU() - begin})
    return rows


def by_features(sizes: list[int]) -> list[dict[str, Any]]:
    rows = []
    for d in sizes:
        step, first = step_time(*correlated(20_000, d), members=1)
        rows += [
            {"what": "training step", "size": d, "seconds": step},
            {"what": "before the first step", "size": d, "seconds": first},
        ]
    return rows


def by_members(sizes: list[int]) -> list[dict[str, Any]]:
    rows = []
    data, features = correlated(20_000, 4)
    for members in sizes:
        step, first = step_time(data, features, members=members)
        rows += [
            {"what": "training step", "size": members, "seconds": step},
            {"what": "before the first step", "size": members, "seconds": first},
        ]
    return rows


def by_nuisances(sizes: list[int]) -> list[dict[str, Any]]:
    rows = []
    for n in sizes:
        model, data, points = fit_rivals.problem(n, 1.0)
        loss, taken = ExtendedNLL(model, data), []
        example.start_all(model)
        start = loss.theta()
        for _ in range(3):
            begin = CPU()
            profiler = Profiler(loss, model.poi, start=start)
            profiler.scan(points)
            taken.append(CPU() - begin)
        rows.append({"what": "fit and profile", "size": n, "seconds": min(taken)})
    return rows


def by_workers(sizes: list[int], toys: int) -> list[dict[str, Any]]:
    from distributed import LocalCluster

    model = example.model()
    loss = ExtendedNLL(model, zfit.Data.from_numpy(obs=model.space, array=example.events(model)))
    pool, rows = make_pool(loss, "n_sig", example.N_SIGNAL, seed=1), []
    for workers in sizes:
        begin = time.perf_counter()
        run_toys(pool, "n_sig", n=toys, seed=1, processes=workers)
        seconds = time.perf_counter() - begin
        rows.append({"what": f"{toys} toys, processes", "size": workers, "seconds": seconds})
        with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster:
            begin = time.perf_counter()
            run_toys(pool, "n_sig", n=toys, seed=1, scheduler=cluster.scheduler_address)
            seconds = time.perf_counter() - begin
        rows.append({"what": f"{toys} toys, Dask", "size": workers, "seconds": seconds})
    return rows


def exponents(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Slope over the larger half of the sizes, by what was measured."""
    found = {}
    for what in dict.fromkeys(row["what"] for row in rows):
        points = [(row["size"], row["seconds"]) for row in rows if row["what"] == what and row["size"] > 0]
        size, seconds = np.log(np.array(points[len(points) // 2 - (len(points) % 2 == 0) :])).T
        if len(size) > 1:
            found[what] = float(np.polyfit(size, seconds, 1)[0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 30_000, 100_000, 300_000, 1_000_000])
    parser.add_argument("--many", action="store_true", help="also 10,000,000 events")
    parser.add_argument("--features", type=int, nargs="+", default=[2, 4, 8, 14, 20])
    parser.add_argument("--members", type=int, nargs="+", default=[1, 3, 10, 30, 100])
    parser.add_argument("--nuisances", type=int, nargs="+", default=[0, 1, 3, 10, 20])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--toys", type=int, default=2000)
    parser.add_argument(
        "--only", nargs="+", default=["events", "features", "members", "nuisances", "workers"], metavar="WHAT"
    )
    parser.add_argument("--json", type=Path, help="where the numbers go, for plots/growth.py")
    options = parser.parse_args()
    measured = {
        "events": lambda: by_events(options.events + [10_000_000] * options.many),
        "features": lambda: by_features(options.features),
        "members": lambda: by_members(options.members),
        "nuisances": lambda: by_nuisances(options.nuisances),
        "workers": lambda: by_workers(options.workers, options.toys),
    }
    content: dict[str, Any] = {}
    for name in options.only:
        rows = measured[name]()
        content[name] = {"rows": rows, "exponents": exponents(rows)}
        for row in rows:
            print(f"{name:12s}{row['size']:10d} {row['what']:34s}{row['seconds']:12.4f} s", flush=True)
        for what, exponent in content[name]["exponents"].items():
            print(f"{name:12s}{'':10s} {what:34s}   exponent {exponent:.2f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
