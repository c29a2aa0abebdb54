"""One call of the likelihood against one exp and one log an event in numpy: `python benchmarks/value_call.py`.

That is what a likelihood of one exponential shape cannot do without, so the ratio says how much the rest costs.  The
calls take turns in this process, and CPU time is quoted.
"""

from __future__ import annotations

import os

# before numpy is imported: one thread for all
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"})

import argparse
import time
from typing import TYPE_CHECKING

import example
import numpy as np
import zfit

from hisigma_zfit.likelihood.columns import terms_of
from hisigma_zfit.likelihood.graph import GraphEvaluator
from hisigma_zfit.likelihood.nll import ExtendedNLL

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=500, help="turns that medians are taken of (default 500)")
    parser.add_argument("--scale", type=float, default=1.0, help="events, in units of 40,200")
    options = parser.parse_args()

    model = example.model()
    events = example.events(model, scale=options.scale)
    loss = ExtendedNLL(model, zfit.Data.from_numpy(obs=model.space, array=events))
    quick, theta = loss.evaluator(), loss.theta()
    generic = GraphEvaluator(terms_of(model), loss.columns()[0], loss.parameters)
    x = np.random.default_rng(1).random(len(events))
    calls: dict[str, Callable[[], object]] = {
        "numpy: log(exp(x))": lambda: np.log(np.exp(x)),
        "quick: value": lambda: quick.value(theta),
        "quick: value, gradient, Hessian": lambda: quick.evaluate(theta),
        "generic: value": lambda: generic.value(theta),
        "generic: value, gradient, Hessian": lambda: generic.evaluate(theta),
    }
    nanoseconds: dict[str, list[int]] = {name: [] for name in calls}
    for call in calls.values():
        call()  # compiles
    for _ in range(options.turns):
        for name, call in calls.items():
            begin = time.process_time_ns()
            call()
            nanoseconds[name].append(time.process_time_ns() - begin)
    reference = np.array(next(iter(nanoseconds.values())))
    print(f"{len(events)} events; medians of {options.turns} turns\n\n{'':36s}{'CPU ms':>10s}{'ratio':>8s}")
    for name, times in nanoseconds.items():
        print(f"{name:36s}{np.median(times) / 1e6:10.3f}{np.median(np.array(times) / reference):8.2f}")


if __name__ == "__main__":
    main()
