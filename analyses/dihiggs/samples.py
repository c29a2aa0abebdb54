"""Data sets of the di-Higgs study (arXiv:2506.06438, section 4) from the simulated sample beside this file.

Data set k holds the k-th block of 40,000 continuum events and the k-th block of 200 HH events.  Every other continuum
event may train the background (its sidebands only), every HH event outside the injected blocks trains the signal, so
no signal event is seen twice.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import uproot

SAMPLES = Path(__file__).parent / "data"
N_BACKGROUND, N_SIGNAL, N_DATASETS = 40_000, 200, 5

MASS, RANGE, SIGNAL_REGION = "m_gg", (90, 180), (115, 135)  # GeV, paper eq. 4.2
COLUMNS = {  # paper eq. 4.1
    "m_gg": "Hgg_mass",
    "pt_bb": "Hbb_pt",
    "pt_gg_over_m": "Hgg_pt / Hgg_mass",
    "dr_bb": "dR_bb",
    "dr_gg": "dR_gg",
}
FEATURES = ("pt_bb", "pt_gg_over_m", "dr_bb", "dr_gg")
# above and beside every figure: simulated events, energies in GeV
WORDS = {"experiment": "HI-SIGMA", "label": "simulation", "units": {"m_gg": "GeV", "pt_bb": "GeV"}}


def load(name: str) -> dict[str, np.ndarray]:
    """Read the branches of a sample by their names in the file."""
    with uproot.open(SAMPLES / name) as file:
        return file["events"].arrays(["Hgg_mass", "Hbb_pt", "Hgg_pt", "dR_bb", "dR_gg"], library="np")


def _write(path: Path, events: dict[str, np.ndarray], mask: np.ndarray) -> None:
    with uproot.recreate(path) as file:
        file["events"] = {name: values[mask] for name, values in events.items()}


def write_dataset(index: int, folder: Path) -> dict[str, Path]:
    """Write one data set and its training samples.

    Args:
        index: Which of the `N_DATASETS` disjoint data sets.
        folder: Where to write.

    Returns:
        Paths named like the options of `hz.measure`.
    """
    if not 0 <= index < N_DATASETS:
        raise SystemExit(f"expected a data set from 0 to {N_DATASETS - 1}, got {index}; choose one of them")
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.root" for name in ("data", "signal", "sideband_training")}
    if all(path.exists() for path in paths.values()):
        return paths  # ROOT files hold a date: written again, they would count as other inputs
    background, signal = load("background.root"), load("signal.root")
    row = np.arange(len(background["Hgg_mass"]))
    in_data = row // N_BACKGROUND == index
    signal_row = np.arange(len(signal["Hgg_mass"]))
    injected = signal_row // N_SIGNAL == index
    events = {name: np.concatenate([values[in_data], signal[name][injected]]) for name, values in background.items()}
    _write(paths["data"], events, np.random.default_rng(index).permutation(len(events["Hgg_mass"])))
    _write(paths["sideband_training"], background, ~in_data)
    _write(paths["signal"], signal, signal_row >= N_SIGNAL * N_DATASETS)
    return paths
