"""Time and memory of fits of up to ten million events: `python benchmarks/large.py`.

Events are drawn, evaluated and forgotten piece by piece, and only the columns of the likelihood are kept.  Every size
is fitted in a process of its own, so that its peak memory is that of this size alone.
"""

from __future__ import annotations

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"})

import argparse
import json
import resource
import subprocess
import sys
import time

SIZES = (1.0, 10.0, 50.0, 250.0)  # in units of 40,200 events
PIECE = 500_000


def peak_gib() -> float:
    """Largest resident memory of this process so far; Linux reports KiB, macOS bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20


def measure(scale: float) -> dict[str, float]:
    import example
    import numpy as np
    import zfit

    from hisigma_zfit.fitting.newton import minimise
    from hisigma_zfit.likelihood.cached import Columns
    from hisigma_zfit.likelihood.columns import build_columns, terms_of
    from hisigma_zfit.likelihood.recipes import likelihood_recipe

    model = example.model()
    terms, n = terms_of(model), 0
    total = round(scale * (example.N_SIGNAL + example.N_BACKGROUND))
    mass, ratio = np.empty(total), np.empty((len(terms), total))
    begin = time.process_time()
    pieces = -(-total // PIECE)
    for k in range(pieces):
        events = example.events(model, scale=scale / pieces, seed=k)[: total - n]
        columns = build_columns(terms, zfit.Data.from_numpy(obs=model.space, array=events))
        mass[n : n + len(events)], ratio[:, n : n + len(events)] = columns.mass, columns.ratio
        n += len(events)
    columns = Columns(mass[:n], None, ratio[:, :n], 0.0, float(n), (None,) * len(terms))
    parameters = tuple(model.get_params(floating=None, is_yield=None, extract_independent=True))
    evaluator = likelihood_recipe(terms, columns, parameters)(columns)
    scored = time.process_time()
    names = [p.name for p in parameters]
    start = np.array([float(p.value()) for p in parameters])
    for name, value in example.START.items():
        start[names.index(name)] = value * (scale if name.startswith("n_") else 1.0)
    found = minimise(evaluator, start, [names.index(name) for name in example.START])
    fitted = time.process_time()
    assert found.converged
    index = names.index("n_sig")
    return {
        "events": n,
        "columns_s": scored - begin,
        "fit_s": fitted - scored,
        "calls": found.calls,
        "peak_gib": peak_gib(),
        "n_sig": float(found.theta[index]) / scale,
        "error": float(np.sqrt(found.covariance()[index, index])) / scale,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.scale:
        print(json.dumps(measure(options.scale)))
        return
    print(
        f"{'events':>10s}{'columns CPU s':>15s}{'fit CPU s':>11s}"
        f"{'us/event/call':>15s}{'peak GiB':>10s}{'n_sig / scale':>20s}"
    )
    for scale in SIZES:
        command = [sys.executable, __file__, "--scale", str(scale)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        per_call = 1e6 * found["fit_s"] / found["events"] / found["calls"]
        result = f"{found['n_sig']:.1f} +- {found['error']:.1f}"
        print(
            f"{found['events']:10d}{found['columns_s']:15.1f}{found['fit_s']:11.3f}{per_call:15.4f}"
            f"{found['peak_gib']:10.2f}{result:>20s}"
        )


if __name__ == "__main__":
    main()
