"""What the precision of a density costs and what it is worth: `python benchmarks/precision.py`.

The default density learns 200,000 events of a known truth (`tests/truth.py`) and is evaluated by XLA, features prepared
ahead, on one thread: its nets alone; as it is, with ends of bins and distances to them in double; all behind the nets
in double; and in single precision.  Rates are medians of turns in one process.  Log-densities are compared with those
that are double behind the nets; the last row is what nets in double change beside them, so what their rounding is.
"""

from __future__ import annotations

import os

# before TensorFlow is imported: one thread for all, so that CPU seconds are comparable
os.environ.update({"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"})

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
import tensorflow as tf
import truth

import hisigma_zfit as hz
from hisigma_zfit.density.kernel import log_warped_density
from hisigma_zfit.density.warped import BOUND
from hisigma_zfit.learn.splines import knot_vector

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK, TURNS = 4096, 7
DOUBLE = "double behind the nets"


def splined(flow: Any, outputs: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """Log-density of outputs of the nets, shape (E, d, outputs, n), and normal quantiles, shape (d, n)."""
    config = flow.config
    knots = knot_vector(config.knots, config.degree)
    each = log_warped_density(outputs, z, knots=knots, degree=config.degree, bins=config.bins, bound=BOUND)
    return tf.reduce_sum(each, axis=1)


def variants(flow: Any) -> dict[str, Callable[..., tf.Tensor]]:
    """Log-densities of prepared features, shape (E, n), by name."""
    config, parameters = flow.config, tf.constant(flow.parameters)

    def nets(inputs: tf.Tensor) -> tf.Tensor:
        return config.outputs(parameters, tf.transpose(inputs), n_features=len(flow.features))

    def behind_nets(dtype: tf.DType) -> Callable[..., tf.Tensor]:
        return lambda inputs, z: splined(flow, tf.cast(nets(inputs), dtype), tf.cast(tf.transpose(z), dtype))

    return {
        "nets alone": lambda inputs, _: tf.reduce_sum(nets(inputs), axis=(1, 2)),
        "as it is": lambda inputs, z: config.log_prob(parameters, (inputs, z)),
        DOUBLE: behind_nets(tf.float64),
        "single": behind_nets(tf.float32),
    }


def exact_outputs(flow: Any, inputs: tf.Tensor) -> tf.Tensor:
    """Outputs of the nets, shape (E, d, outputs, n), in double."""
    parts = [np.asarray(part, dtype=np.float64) for part in flow.config.net_arrays(flow.parameters, len(flow.features))]
    h: Any = np.asarray(inputs, dtype=np.float64)
    for layer, (weight, bias) in enumerate(zip(parts[:-2:2], parts[1:-2:2], strict=True)):
        raw = h @ weight + bias[:, :, None]
        step = raw / (1.0 + np.exp(-raw))
        h = step if layer < 2 else h + step
    return tf.constant(np.swapaxes(h @ parts[-2] + parts[-1][:, :, None], 2, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000, help="that the density learns (default 200000)")
    options = parser.parse_args()
    columns = truth.BACKGROUND.columns(options.events, seed=1, region="sidebands")
    data = hz.Dataset.from_arrays(columns).sidebands(truth.MASS, hz.SignalRegion(*truth.REGION))
    flow = hz.train_flow(data, truth.FEATURES, given=truth.MASS, seed=1)
    x, m = truth.stack(truth.BACKGROUND.columns(50_000, seed=2, region="signal"))
    inside = flow.inside(x)
    u, c = flow.transform.forward(x[inside])[0], flow.mass_scale(m[inside])
    starts = range(0, len(u) - BLOCK + 1, BLOCK)
    blocks = [
        flow.config.prepare(tf.constant(u[start : start + BLOCK]), tf.constant(c[start : start + BLOCK]))
        for start in starts
    ]

    compiled = {name: tf.function(own, jit_compile=True, autograph=False) for name, own in variants(flow).items()}
    found = {name: np.concatenate([own(*block)[0] for block in blocks]) for name, own in compiled.items()}
    seconds: dict[str, list[float]] = {name: [] for name in compiled}
    for _ in range(TURNS):
        for name, own in compiled.items():
            begin = time.process_time()
            for block in blocks:
                np.asarray(own(*block))
            seconds[name].append((time.process_time() - begin) / (len(blocks) * BLOCK))

    exact = [splined(flow, exact_outputs(flow, inputs), tf.transpose(z)) for inputs, z in blocks]
    found["nets in double too"] = np.concatenate([own[0] for own in exact])
    n = len(blocks) * BLOCK
    print(f"{'':26s}{'us each':>9s}{'log p off, median':>20s}{'99 %':>10s}{'most':>10s}   of {n} events")
    for name, log_p in found.items():
        cost = f"{1e6 * np.median(seconds[name]):9.2f}" if name in seconds else f"{'':9s}"
        off = np.abs(log_p - found[DOUBLE])
        words = f"{np.median(off):20.1e}{np.quantile(off, 0.99):10.1e}{off.max():10.1e}"
        print(f"{name:26s}{cost}{'' if name in {'nets alone', DOUBLE} else words}")


if __name__ == "__main__":
    main()
