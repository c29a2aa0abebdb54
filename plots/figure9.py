"""The likelihood with and without the shared nuisance: ``python plots/figure9.py RUNS --truth 200 --out FOLDER``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dihiggs_samples import SIMULATION

from hisigma_zfit.report import plotting, study_figures
from hisigma_zfit.report.style import presented
from hisigma_zfit.results import LikelihoodScan

NAMES = {"measurement": "Bootstraps only", "jes": r"With shape uncertainty of $p_T^{bb}$"}


@presented(SIMULATION)
def main() -> None:
    """Read what analyses/dihiggs/systematics.py wrote, average over the data sets and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, help="folder with systematics.json")
    parser.add_argument("--truth", type=float, help="true yield, to be marked")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder of the figure")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    stored = json.loads((options.runs / "systematics.json").read_text())["scans"]
    scans = {
        words: LikelihoodScan.average([LikelihoodScan.from_json(json.dumps(scan)) for scan in stored[name]])
        for name, words in NAMES.items()
    }
    text = f"average of {len(stored['jes'])} data sets"
    plotting.save(study_figures.scans(scans, truth=options.truth, right_label=text), options.out / "figure9")


if __name__ == "__main__":
    main()
