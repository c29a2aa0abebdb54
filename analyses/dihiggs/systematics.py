"""Add a jet-energy-like nuisance that signal and background share (arXiv:2506.06438, section 4.4 and figure 9).

python analyses/dihiggs/systematics.py --dataset 0 --out runs/systematics

The transverse momentum of the two b-jets is scaled by 1 + 0.1 nu in simulation and sidebands; the features at nu = +-1
train densities of their own, between which the likelihood interpolates with one constrained nuisance ``jes``.  Writes
two run folders, ``plain`` and ``jes``, that differ in the nuisance only; plots/figure9.py draws the figure.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import uproot
from measure import add_options, measure
from samples import COLUMNS, write_dataset

import hisigma_zfit as hz

SHIFT = 0.1


def shifted(sources: list[Path], target: Path, factor: float) -> Path:
    """Write the events of some files, one after the other, with the b-jets' momentum scaled."""
    if not target.exists():
        columns = [COLUMNS[name] for name in COLUMNS if COLUMNS[name].isidentifier()]
        events = uproot.concatenate([f"{source}:events" for source in sources], [*columns, "Hgg_pt"], library="np")
        events["Hbb_pt"] = (events["Hbb_pt"] * factor).astype(events["Hbb_pt"].dtype)
        with uproot.recreate(target) as file:
            file["events"] = events
    return target


def main() -> None:
    """Measure with and without the nuisance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=int, default=0, help="data set 0 to 4 (default 0)")
    parser.add_argument("--out", type=Path, default=Path("runs/systematics"), help="folder of the two run folders")
    add_options(parser)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    paths = write_dataset(options.dataset, options.out / f"dataset{options.dataset}")
    # the background's variations hold the same rows in the same order as its nominal training, that is the data and
    # then the other sidebands: resamples and starts agree then, and the noise of the training cancels in the ratios
    sources = {"signal": [paths["signal"]], "background": [paths["data"], paths["sideband_training"]]}
    pairs = {
        name: tuple(
            shifted(files, paths["data"].with_name(f"{name}_{label}.root"), 1.0 + sign * SHIFT)
            for sign, label in ((1.0, "up"), (-1.0, "down"))
        )
        for name, files in sources.items()
    }
    systematic = {
        "plain": {},
        "jes": {
            "systematic": {"jes": pairs["signal"]},
            "background_systematic": {"jes": pairs["background"]},
            "interpolation": "quadratic",  # the simpler form that the paper takes for this shift
        },
    }
    for name, more in systematic.items():
        measurement = measure(options.dataset, options.out / name, options, **more)
        print(f"{name}\n{hz.tables.measurement(measurement)}\n")


if __name__ == "__main__":
    main()
