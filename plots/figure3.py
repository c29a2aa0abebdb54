"""The b-jets' momentum at -1, 0 and +1 standard deviation of its nuisance: ``python plots/figure3.py --out FOLDER``."""

from __future__ import annotations

import argparse
from pathlib import Path

from dihiggs_samples import SIMULATION, read

from hisigma_zfit.report import plotting, study_figures
from hisigma_zfit.report.style import presented

SHIFT = 0.1  # paper section 4.4


@presented(SIMULATION)
def main() -> None:
    """Draw signal and background."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder of the figures")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in ("signal", "background"):
        values = read(name)["pt_bb"]
        samples = {
            rf"{name.capitalize()}, $\nu = {nu:+d}$" if nu else f"{name.capitalize()}, nominal": (1 + SHIFT * nu)
            * values
            for nu in (1, -1, 0)
        }
        plotting.save(study_figures.distributions(samples, "pt_bb", limits=(0, 450)), options.out / f"figure3_{name}")


if __name__ == "__main__":
    main()
