"""The training step of the default density against its nets alone: `python benchmarks/training_step.py`.

"Nets alone" is the same step, with Adam and all, of an objective that takes the sum of squares of the nets' outputs for
a log-density: no implementation of the density can be quicker.  Both run in this process, in turns, and CPU seconds of
one thread are quoted: other load on the machine touches both alike.  The ratio is the median of those of neighbouring
turns.
"""

from __future__ import annotations

import os

# before TensorFlow is imported: one thread for all, so that CPU seconds are comparable
os.environ.update({"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"})
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from hisigma_zfit.density.objective import LogDensity
from hisigma_zfit.density.warped import WarpedSplineConfig
from hisigma_zfit.learn import optimiser
from hisigma_zfit.learn.schedule import BATCH

if TYPE_CHECKING:
    from hisigma_zfit.learn.objective import Objective

SEED = 1


@dataclass(frozen=True)
class NetsAlone:
    """An `Objective` that costs what the nets cost."""

    config: WarpedSplineConfig
    xla: bool = True

    def log_likelihood(self, parameters: tf.Tensor, events: Any) -> tf.Tensor:
        """Minus the mean square of the nets' outputs, shape (E, n)."""
        inputs, z = (tf.transpose(array) for array in events)
        outputs = self.config.outputs(parameters, inputs, n_features=z.shape[0])
        return -tf.reduce_sum(outputs**2, axis=(1, 2)) / outputs.shape[2]


class Step:
    """One compiled chunk of the optimiser, and what compiling it took."""

    def __init__(self, objective: Objective, start: np.ndarray, events: tuple[np.ndarray, ...]) -> None:
        self._steps, shape = optimiser.CHUNK, (optimiser.CHUNK, BATCH)
        chunk = tuple(tf.constant(array.reshape(*shape, *array.shape[1:])) for array in events)
        zero = np.zeros_like(start)
        adam = optimiser.AdamStack(*(tf.constant(array) for array in (start, zero, zero, start)))
        weights, rates = tf.ones((self._steps, BATCH)), tf.fill([self._steps], 1e-3)
        self._arguments = (adam, chunk, weights, rates, tf.constant(0), tf.constant(self._steps))
        self._run = optimiser.compiled_chunk(objective)
        began = time.process_time()
        self._run.get_concrete_function(*self._arguments)
        self.trace = time.process_time() - began
        self.seconds()
        self.first_call = time.process_time() - began

    def seconds(self) -> float:
        """CPU seconds of one step."""
        began = time.process_time()
        np.asarray(self._run(*self._arguments)[1])
        return (time.process_time() - began) / self._steps


def compared(members: int, n_features: int, turns: int) -> dict[str, float]:
    """Rates and compile times of both with some number of members."""
    config, rng = WarpedSplineConfig(), np.random.default_rng(SEED)
    n = optimiser.CHUNK * BATCH
    u, c = rng.random((n, n_features)).astype(np.float32), rng.uniform(-1.0, 1.0, n).astype(np.float32)
    events = tuple(np.asarray(array) for array in config.prepare(tf.constant(u), tf.constant(c)))
    start = np.stack([config.init(rng, n_features) for _ in range(members)])
    ours, nets = (Step(objective, start, events) for objective in (LogDensity(config), NetsAlone(config)))
    times = np.array([(ours.seconds(), nets.seconds()) for _ in range(turns)])
    rate_ours, rate_nets = BATCH * members / np.median(times, axis=0)
    return {
        "members": members,
        "features": n_features,
        "member_events_per_s": rate_ours,
        "nets_alone_per_s": rate_nets,
        "ratio": float(np.median(times[:, 1] / times[:, 0])),
        "trace_s": ours.trace,
        "first_call_s": ours.first_call,
        "nets_alone_first_call_s": nets.first_call,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--features", type=int, default=4)
    parser.add_argument("--turns", type=int, default=15, help="of each, one after the other")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    options = parser.parse_args()
    rows = [compared(members, options.features, options.turns) for members in options.members]
    for row in rows:
        print(
            f"{row['members']} members, {row['features']} features: {row['member_events_per_s']:,.0f} events/s, "
            f"nets alone {row['nets_alone_per_s']:,.0f}, ratio {row['ratio']:.2f}; first call "
            f"{row['first_call_s']:.1f} CPU s, of which tracing {row['trace_s']:.1f}; "
            f"nets alone {row['nets_alone_first_call_s']:.1f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
