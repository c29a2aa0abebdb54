"""The angle of the b-jets before and after smearing by 0.2 widths: ``python plots/figure2.py --out FOLDER``."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from dihiggs_samples import SIMULATION, read

from hisigma_zfit.report import plotting, study_figures
from hisigma_zfit.report.style import presented

SMEARING = 0.2  # standard deviations, paper section 4.1
FEATURE = "dr_bb"


@presented(SIMULATION)
def main() -> None:
    """Draw both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder of the figures")
    parser.add_argument("--seed", type=int, default=1, help="seed of the smearing (default 1)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(options.seed)
    before, after = {}, {}
    for name in ("signal", "background"):
        values = read(name)[FEATURE]
        before[name.capitalize()] = values
        after[name.capitalize()] = values + SMEARING * values.std() * rng.normal(size=values.size)
    for name, samples in (("before", before), ("after", after)):
        figure = study_figures.distributions(samples, FEATURE, limits=(0.0, 5.0), right_label=f"{name} smearing")
        plotting.save(figure, options.out / f"figure2_{name}")


if __name__ == "__main__":
    main()
