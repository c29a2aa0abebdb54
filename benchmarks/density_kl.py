"""Quality and cost of the default density on a known truth.

Prints the Kullback-Leibler divergence, in nats, in the signal region that training never saw and in the sidebands, and
the CPU seconds of training and evaluation.  Run by hand:

    python benchmarks/density_kl.py --events 200000
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
import truth

import hisigma_zfit as hz


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=200_000, help="training events in the sidebands")
    parser.add_argument("--test-events", type=int, default=200_000)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--bootstraps", type=int, default=1)
    parser.add_argument("--flow", choices=("spline", "maf"), default="spline")
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    region = hz.SignalRegion(*truth.REGION)
    columns = truth.BACKGROUND.columns(options.events, seed=options.seed, region="sidebands")
    data = hz.Dataset.from_arrays(columns).sidebands(truth.MASS, region)
    train = hz.train_flow  # importing TensorFlow is no part of the training
    flow_config = {"spline": hz.spline_flow, "maf": hz.maf}[options.flow]()

    start = time.process_time()
    flow = train(
        data,
        truth.FEATURES,
        given=truth.MASS,
        members=options.members,
        bootstraps=options.bootstraps,
        seed=options.seed,
        flow=flow_config,
        preset=options.preset,
    )
    print(f"{options.events} events, {options.flow}, {options.bootstraps} x {options.members} members")
    print(f"training    {time.process_time() - start:8.1f} CPU s with compilation")
    for name, masses in (("signal region", "signal"), ("sidebands", "sidebands")):
        x, m = truth.stack(truth.BACKGROUND.columns(options.test_events, seed=options.seed + 1000, region=masses))
        start = time.process_time()
        log_prob = flow.log_prob_array(x, m)
        seconds = time.process_time() - start
        inside = np.isfinite(log_prob)
        difference = (truth.BACKGROUND.log_prob(x, m) - log_prob)[inside]
        error = difference.std() / np.sqrt(len(difference))
        print(
            f"{name:14s} KL {difference.mean():.5f} +- {error:.5f} nats, {np.sum(~inside)} of {len(x)} events outside, "
            f"evaluation {seconds:.1f} CPU s"
        )


if __name__ == "__main__":
    main()
