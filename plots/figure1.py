"""Features of signal, and of background in and outside the signal region: ``python plots/figure1.py --out FOLDER``."""

from __future__ import annotations

import argparse
from pathlib import Path

from dihiggs_samples import FEATURES, MASS, REGION, SIMULATION, read

from hisigma_zfit.report import plotting, study_figures
from hisigma_zfit.report.style import presented


@presented(SIMULATION)
def main() -> None:
    """Draw one figure for the mass and one for each feature."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder of the figures")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    signal, background = read("signal"), read("background")
    inside = REGION.contains(background[MASS])
    for name in FEATURES:
        samples = {
            "Signal": signal[name],
            "Background, sidebands": background[name][~inside],
            "Background, signal region": background[name][inside],
        }
        plotting.save(study_figures.distributions(samples, name), options.out / f"figure1_{name}")
    masses = {"Signal": signal[MASS], "Background": background[MASS]}
    plotting.save(study_figures.distributions(masses, MASS, limits=(90, 180)), options.out / f"figure1_{MASS}")


if __name__ == "__main__":
    main()
