"""Pseudo-experiments of 40,200 events per second and core: `python benchmarks/toys_rate.py`.

A toy is drawn, fitted, and fitted twice more with the signal yield held at zero and at its true value, for significance
and coverage.
"""

from __future__ import annotations

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"})

import argparse
import time

import example
import numpy as np
import zfit

from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.toys.toy_fits import ToyPlan, fit_toys
from hisigma_zfit.toys.toys import make_pool, run_toys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=500, help="toys (default 500)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="for the second figure")
    options = parser.parse_args()

    model = example.model()
    loss = ExtendedNLL(model, zfit.Data.from_numpy(obs=model.space, array=example.events(model)))
    begin = time.process_time()
    pool = make_pool(loss, "n_sig", example.N_SIGNAL, seed=1)
    print(f"events of the pool: {time.process_time() - begin:.2f} CPU s")
    plan = ToyPlan(pool, pool.parameters.index("n_sig"), seed=1)
    fit_toys(plan, 0, 2)
    rates = []
    for start in range(0, options.n, 50):
        begin = time.process_time()
        fit_toys(plan, start, start + 50)
        rates.append(50.0 / (time.process_time() - begin))
    print(
        f"one process: {np.median(rates):.0f} toys per CPU second "
        f"({min(rates):.0f} - {max(rates):.0f} in batches of 50)"
    )
    begin = time.perf_counter()
    run_toys(pool, "n_sig", n=options.n, seed=1, processes=options.processes)
    wall = time.perf_counter() - begin
    print(f"{options.processes} processes: {options.n / wall:.0f} toys per second of wall time, with their start")


if __name__ == "__main__":
    main()
