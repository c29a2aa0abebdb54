"""Errors of all strategies: ``python plots/figure7.py RUNS/strategies.json --out FOLDER``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dihiggs_samples import SIMULATION

from hisigma_zfit.report import plotting, study_figures
from hisigma_zfit.report.style import presented
from hisigma_zfit.results.strategies import StrategySummary


@presented(SIMULATION)
def main() -> None:
    """Read what analyses/dihiggs/strategies.py wrote and draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="strategies.json")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder of the figure")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    summaries = json.loads(options.results.read_text())["summaries"]
    figure = study_figures.strategies([StrategySummary.from_json(json.dumps(s)) for s in summaries])
    plotting.save(figure, options.out / f"figure7_{options.results.stem}")


if __name__ == "__main__":
    main()
