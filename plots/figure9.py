"""The likelihood with and without the shared nuisance: ``python plots/figure9.py RUNS --truth 200 --out FOLDER``."""

from __future__ import annotations

import argparse
from pathlib import Path

from hisigma_zfit.report import plotting, study_figures
from hisigma_zfit.report.run import load_results


def main() -> None:
    """Read what analyses/dihiggs/systematics.py wrote and draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, help="folder with the run folders plain and jes")
    parser.add_argument("--truth", type=float, help="true yield, to be marked")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder of the figure")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = {"plain": "Bootstraps only", "jes": r"With shape uncertainty of $p_T^{bb}$"}
    scans = {words: load_results(options.runs / name).scan for name, words in names.items()}
    plotting.save(study_figures.scans(scans, truth=options.truth), options.out / "figure9")


if __name__ == "__main__":
    main()
