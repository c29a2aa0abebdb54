"""Coverage of profiled intervals with exact ratios, on experiments that shift functions make and no likelihood.

True nuisances are drawn from their priors, observations of auxiliary measurements around them.  Run by hand:

    python benchmarks/crosssection/coverage.py --toys 2000
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import numpy as np
from ratio_toy import PARAMETERS, Toy

from hisigma_zfit.fitting.profiler import Profiler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toys", type=int, default=2000)
    parser.add_argument("--random", action="store_true", help="draw the true nuisances from their priors")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    toy, start = Toy(), time.process_time()
    t, pulls = np.zeros((2, options.toys))
    for k in range(options.toys):
        rng = np.random.default_rng([options.seed, k])
        nuisances = np.clip(rng.standard_normal(3), -3.0, 1.5) if options.random else np.zeros(3)
        auxiliary = dict(zip(PARAMETERS[1:], (nuisances + rng.standard_normal(3)).tolist(), strict=True))
        mu = rng.uniform(0.1, 3.0) if options.random else 1.0
        likelihood = toy.likelihood(toy.draw(np.array([mu, *nuisances]), rng), auxiliary=auxiliary)
        profiler = Profiler(likelihood, "mu", quick=True)
        t[k], pulls[k] = profiler.t(mu), (profiler.best - mu) / profiler.error
    seconds = (time.process_time() - start) / options.toys
    print(f"{options.toys} toys, {1e3 * seconds:.1f} CPU ms each")
    for cl, level in ((0.6827, 1.0), (0.9545, 4.0)):
        share = float((t < level).mean())
        print(f"coverage of {cl:.4f}: {share:.4f} +- {np.sqrt(share * (1 - share) / options.toys):.4f}")
    print(f"pull of mu: mean {pulls.mean():.3f}, rms {pulls.std():.3f}")


if __name__ == "__main__":
    main()
