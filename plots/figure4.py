"""Fits of the mass, of the mass after a cut, and of the score: ``python plots/figure4.py RUNS --out FOLDER``."""

from __future__ import annotations

import argparse
from pathlib import Path

from dihiggs_samples import SIMULATION

from hisigma_zfit.report import plotting
from hisigma_zfit.report.style import presented
from hisigma_zfit.results import Projection

LABELS = {"mass": None, "cut": None, "score": "Bin of the classifier score"}


@presented(SIMULATION)
def main() -> None:
    """Read what analyses/dihiggs/strategies.py wrote and draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, help="folder with figure4_*.json")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder of the figures")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, xlabel in LABELS.items():
        shown = Projection.from_json((options.runs / f"figure4_{name}.json").read_text())
        figure = plotting.projection(shown, xlabel=xlabel, logy=name == "score", signal_scale=0)
        plotting.save(figure, options.out / f"figure4_{name}")


if __name__ == "__main__":
    main()
