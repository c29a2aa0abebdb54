"""Training, scoring, sampling and a whole quick measurement on whatever device there is: `python benchmarks/device.py`.

TensorFlow takes a GPU where it finds one; nothing has to be told.  Wall times count here, because the work of a GPU is
not in the CPU seconds.  ``CUDA_VISIBLE_DEVICES=`` hides the GPUs, for the same on the CPU of the machine.
"""

from __future__ import annotations

import os

os.environ.update({"TF_CPP_MIN_LOG_LEVEL": "3", "ZFIT_DISABLE_TF_WARNINGS": "1"})

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
import tensorflow as tf
import truth

import hisigma_zfit as hz


def device() -> dict[str, Any]:
    """What TensorFlow computes on."""
    names = [
        tf.config.experimental.get_device_details(found).get("device_name", found.name)
        for found in tf.config.list_physical_devices("GPU")
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"gpu": names, "cores": cores, "tensorflow": tf.__version__}


def densities(events: int, members: int, epochs: float) -> dict[str, float]:
    columns = truth.BACKGROUND.columns(events, seed=1, region="sidebands")
    region = hz.SignalRegion(*truth.REGION)
    data, times = hz.Dataset.from_arrays(columns).sidebands(truth.MASS, region), []
    begin = time.perf_counter()
    flow = hz.train_flow(
        data,
        truth.FEATURES,
        given=truth.MASS,
        members=members,
        seed=1,
        epochs=epochs,
        progress=lambda done, _: times.append((done, time.perf_counter())),
    )
    whole = time.perf_counter() - begin
    steps, at = np.array(times, dtype=np.float64).T
    step = float(np.median(np.diff(at) / np.diff(steps)))
    x, m = truth.stack(truth.BACKGROUND.columns(100_000, seed=2, region="signal"))
    found = {"training_s": whole, "first_call_s": at[0] - begin - steps[0] * step, "events_per_s": 512 * members / step}
    for name, run in (
        ("evaluated_per_s", lambda: flow.log_prob_array(x, m)),
        ("sampled_per_s", lambda: flow.sample(m, seed=1)),
    ):
        run()
        begin = time.perf_counter()
        run()
        found[name] = len(m) / (time.perf_counter() - begin)
    inside = flow.inside(x)
    found["kl"] = float((truth.BACKGROUND.log_prob(x, m) - flow.log_prob_array(x, m))[inside].mean())
    return found


def measurement() -> dict[str, float]:
    example = hz.examples
    files = {"data": example.path("events.root"), "signal": example.path("simulation.root")}
    columns = {"mass": "m", "range": example.MASSES, "features": example.FEATURES, "signal_region": (118, 132)}
    with tempfile.TemporaryDirectory() as folder:
        found = hz.measure(out=f"{folder}/out", **files, **columns, preset="quick", members=1, bootstraps=2)
    return {"value": found.value, "error": found.error, **found.timings_s}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--epochs", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    here = device()
    print(f"{', '.join(here['gpu']) or 'no GPU'}; {here['cores']} cores; TensorFlow {here['tensorflow']}")
    rows = {}
    for members in options.members:
        rows[members] = densities(options.events, members, options.epochs)
        words = ", ".join(f"{name} {value:.4g}" for name, value in rows[members].items())
        print(f"{members} members: {words}", flush=True)
    whole = measurement()
    print("hisigma measure, quick: " + ", ".join(f"{name} {value:.4g}" for name, value in whole.items()))
    if options.json:
        options.json.write_text(json.dumps({"device": here, "densities": rows, "measurement": whole}, indent=1) + "\n")


if __name__ == "__main__":
    main()
