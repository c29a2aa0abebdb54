"""Envelope of the bootstrapped models of one data set: ``python plots/figure8.py RUN --out FOLDER``."""

from __future__ import annotations

import argparse
from pathlib import Path

from dihiggs_samples import SIMULATION

from hisigma_zfit.measurement.stored import load_results
from hisigma_zfit.report import plotting
from hisigma_zfit.report.style import presented


@presented(SIMULATION)
def main() -> None:
    """Read a run folder and draw its likelihoods."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run folder that `hisigma measure` wrote")
    parser.add_argument("--truth", type=float, help="true yield, to be marked")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder of the figure")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = load_results(options.run)
    figure = plotting.scan(results.scan, interval=results.measurement.interval_68, truth=options.truth)
    plotting.save(figure, options.out / "figure8")


if __name__ == "__main__":
    main()
