"""Add a jet-energy-like nuisance that signal and background share (arXiv:2506.06438, section 4.4 and figure 9).

    python analyses/dihiggs/systematics.py --out runs/five

The transverse momentum of the two b-jets is scaled by 1 + 0.1 nu in simulation and sidebands; the features at nu = +-1
train densities of their own, between which the likelihood interpolates with one constrained nuisance ``jes``.  Every
data set is measured without it (``measurement0`` ...; those of five_datasets.py are read back) and with it (``jes0``
..., from the same nominal members).  Prints what the nuisance changes and keeps it in ``systematics.json``, with the
envelopes over the bootstraps of all data sets on one grid, which plots/figure9.py averages and draws.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import uproot
from measure import add_options, measure
from samples import COLUMNS, FEATURES, N_DATASETS, N_SIGNAL, write_dataset

import hisigma_zfit as hz
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.combine import bootstrap_profilers, combination
from hisigma_zfit.measurement import load_model

SHIFT = 0.1
GRID = np.linspace(0.25 * N_SIGNAL, 2.0 * N_SIGNAL, 141)


def shifted(sources: list[Path], target: Path, factor: float) -> Path:
    """Write the events of some files, one after the other, with the b-jets' momentum scaled."""
    if not target.exists():
        columns = [COLUMNS[name] for name in COLUMNS if COLUMNS[name].isidentifier()]
        events = uproot.concatenate([f"{source}:events" for source in sources], [*columns, "Hgg_pt"], library="np")
        events["Hbb_pt"] = (events["Hbb_pt"] * factor).astype(events["Hbb_pt"].dtype)
        with uproot.recreate(target) as file:
            file["events"] = events
    return target


def with_nuisance(index: int, folder: Path, options: argparse.Namespace) -> hz.results.Measurement:
    """Measure with the nuisance; the nominal members are those of the measurement without it."""
    paths = write_dataset(index, folder / f"dataset{index}")
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
    return measure(
        index,
        folder / f"jes{index}",
        options,
        reuse=folder / f"measurement{index}",
        systematic={"jes": pairs["signal"]},
        background_systematic={"jes": pairs["background"]},
        interpolation="quadratic",  # the simpler form that the paper takes for this shift
    )


def envelope(run: Path, data: hz.Dataset) -> hz.results.LikelihoodScan:
    """Combined likelihood of a stored run on the common grid, which its own scan does not reach."""
    model = load_model(run)
    flow = next(c.pdf.flow for c in model.components if not c.is_signal)
    inside = data.select(flow.inside(data.array(FEATURES)), reason="outside the domain of the background")
    nominal = Profiler(hz.ExtendedNLL(model, inside), "n_sig")
    return combination("envelope", nominal, bootstrap_profilers(model, inside)).scan(GRID)


def compare(plain: hz.results.Measurement, jes: hz.results.Measurement) -> dict[str, float]:
    """What the nuisance changes in one data set."""
    return {
        "s": plain.value,
        "error": plain.error,
        "stat.": plain.parameters[plain.poi].error,
        "s, jes": jes.value,
        "error, jes": jes.error,
        "stat., jes": jes.parameters[jes.poi].error,
        "shift of s": jes.value - plain.value,
        "error ratio": jes.error / plain.error,
        "jes": jes.parameters["jes"].value,
        "its error": jes.parameters["jes"].error,
    }


def table(rows: list[dict[str, float]]) -> str:
    """One line for each data set, then the mean and its error from the spread of the data sets."""
    values = np.array([list(row.values()) for row in rows])
    last = {"mean": values.mean(axis=0), "+-": values.std(axis=0, ddof=1) / np.sqrt(len(rows))}
    lines = {str(k + 1): line for k, line in enumerate(values)} | last
    head = f"{'data set':<9}" + "".join(f"{name:>12}" for name in rows[0])
    return "\n".join([head, *(f"{name:<9}" + "".join(f"{v:12.3f}" for v in line) for name, line in lines.items())])


def main() -> None:
    """Measure every data set with and without the nuisance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/five"), help="folder of five_datasets.py")
    parser.add_argument(
        "--datasets", type=int, choices=range(2, N_DATASETS + 1), default=N_DATASETS, help="how many (default 5)"
    )
    add_options(parser)
    parser.set_defaults(combine="envelope")  # as published
    options = parser.parse_args()
    rows, scans = [], {"measurement": [], "jes": []}
    for k in range(options.datasets):
        plain = measure(k, options.out / f"measurement{k}", options)
        rows.append(compare(plain, with_nuisance(k, options.out, options)))
        data = hz.read(options.out / f"dataset{k}" / "data.root", columns=COLUMNS)
        for name, found in scans.items():
            found.append(json.loads(envelope(options.out / f"{name}{k}", data).to_json()))
        print(f"data set {k + 1} of {options.datasets} done", flush=True)
    (options.out / "systematics.json").write_text(json.dumps({"rows": rows, "scans": scans}) + "\n")
    (options.out / "systematics.txt").write_text(table(rows) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
