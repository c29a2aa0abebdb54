"""Write the configuration of `hisigma cross-section` for a folder of H -> tau tau events and their backgrounds.

    python -m analyses.crosssection.make_config FOLDER --out htautau.yaml
    python -m analyses.crosssection.make_config FAIR_Universe_HiggsML_data.parquet --out runs/challenge/htautau.yaml

A folder holds fair_htautau.root and the three others, as `data` beside this script does.  What the challenge has
published (see `challenge_files`), which tells the processes apart by `detailed_labels`, is first split into four such
files beside the configuration.
"""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import uproot

from analyses.crosssection.challenge_files import LABELS, WEIGHTS, Published, published
from analyses.crosssection.systematics import PRIMARY
from hisigma_zfit.errors import InputError

PROCESSES = ("htautau", "ztautau", "ttbar", "diboson")
IDENTITY = "event"
HERE = Path(__file__).resolve().parent

TEMPLATE = """\
# H -> tau tau with one lepton and one hadronic tau: the signal strength mu, with the six nuisances of the HiggsML
# uncertainty challenge (arXiv:2410.02867).  Written by analyses/crosssection/make_config.py.
luminosity: 10.0  # fb-1; the weights are expected events in it
experiment: HI-SIGMA
label: simulation
energy: 13  # TeV
units: {{PRI_met: GeV, PRI_lep_pt: GeV, PRI_had_pt: GeV, PRI_jet_leading_pt: GeV, PRI_jet_all_pt: GeV}}
tree: events
columns:
{columns}
weight: weights
{identity}
processes:
  htautau: {{files: {htautau}, poi: mu}}
  ztautau: {{files: {ztautau}}}
  ttbar: {{files: {ttbar}}}
  diboson: {{files: {diboson}}}

selection: {{apply: "{systematics}:thresholds"}}  # after every shift, and at the nominal
derived: "{features}:counting_columns"
features: "{features}:learning_features"

nuisances:
  tes: {{shift: "{systematics}:tes", unit: 0.01, points: [-3, -2, -1, 1, 2, 3]}}
  jes: {{shift: "{systematics}:jes", unit: 0.01, points: [-3, -2, -1, 1, 2, 3]}}
  soft_met:  # GeV
    shift: "{systematics}:soft_met"
    points: [1, 2, 3, 4, 5]
    coordinate: {{square: 2.0}}  # a smearing has the same effect for both signs of its width
    constraint: {{lognormal: [1.0, 1.0]}}
    limits: [0.007, 5.0]  # where the simulation ends, and as the challenge clips it
    stochastic: true
    sets: 3
  ttbar: {{norm: {{ttbar: 0.02}}}}
  diboson: {{norm: {{diboson: 0.25}}}}
  bkg: {{norm: {{ztautau: 0.001, ttbar: 0.001, diboson: 0.001}}}}

joint_points:
  - {{tes: -1.5, jes: -1.5}}
  - {{tes: -1.5, jes: 1.5}}
  - {{tes: 1.5, jes: -1.5}}
  - {{tes: 1.5, jes: 1.5}}
  - {{tes: -1.5, soft_met: 2.5}}
  - {{tes: 1.5, soft_met: 2.5}}
  - {{jes: -1.5, soft_met: 2.5}}
  - {{jes: 1.5, soft_met: 2.5}}
  - {{tes: -2, jes: -2, soft_met: 3.5}}
  - {{tes: -2, jes: 2, soft_met: 3.5}}
  - {{tes: 2, jes: -2, soft_met: 3.5}}
  - {{tes: 2, jes: 2, soft_met: 3.5}}
  # far out too: one draw of the nuisances in four is there, and a polynomial carried outside of its points is wrong
  - {{tes: -2.7, jes: -2.7}}
  - {{tes: -2.7, jes: 2.7}}
  - {{tes: 2.7, jes: -2.7}}
  - {{tes: 2.7, jes: 2.7}}
  - {{tes: -2.5, soft_met: 5}}
  - {{tes: 2.5, soft_met: 5}}
  - {{jes: -2.5, soft_met: 5}}
  - {{jes: 2.5, soft_met: 5}}
  - {{tes: -1.5, jes: -1.5, soft_met: 5}}
  - {{tes: -1.5, jes: 1.5, soft_met: 5}}
  - {{tes: 1.5, jes: -1.5, soft_met: 5}}
  - {{tes: 1.5, jes: 1.5, soft_met: 5}}

regions:
  U: {{unbinned: "score.htautau > 0.003"}}
  # everything else fixes the nuisances
  C:
    counting: else
    bins: {{m_T: [0, 60, .inf], n_jets: [0, 1, 2, .inf], m_vis: [0, 50, 60, 65, 70, 75, 80, 90, .inf]}}
    merge_below: 200  # effective events

held_back: 0.1
asimov: {{mu: 1}}
inference:
  compare: [counting, binned-8, binned-20, binned-60, unbinned-uncalibrated]
"""


def file_of(folder: Path, process: str) -> Path:
    """Where the events of a process are.

    Raises:
        InputError: There is no such file.
    """
    path = folder / f"fair_{process}.root"
    if not path.is_file():
        raise InputError.from_parts(
            expected=f"the events of {process} in {path}", got="no such file", do="check FOLDER"
        )
    return path


def configuration(folder: Path, out: Path) -> str:
    """The text of the configuration.

    Args:
        folder: With the four files.
        out: Where the text is going to be written: it names all files by their path from there.

    Raises:
        InputError: A file or a column is missing.
    """
    files = {process: file_of(folder, process) for process in PROCESSES}
    identified = True
    for process, path in files.items():
        with uproot.open(path) as file:
            names = set(file["events"].keys())
        if missing := [name for name in (*PRIMARY, WEIGHTS) if name not in names]:
            raise InputError.from_parts(
                expected=f"a column {missing[0]} of {process} in {path}", got="none", do="give the challenge's columns"
            )
        identified &= IDENTITY in names

    def from_there(path: Path) -> str:
        return os.path.relpath(path.resolve(), out.resolve().parent)

    return TEMPLATE.format(
        columns="\n".join(f"  - {name}" for name in PRIMARY),
        identity=f"identity: {IDENTITY}  # several rows may come of one hard event\n" if identified else "",
        features=from_there(HERE / "features.py"),
        systematics=from_there(HERE / "systematics.py"),
        **{process: from_there(path) for process, path in files.items()},
    )


def split(table: Published, folder: Path) -> None:
    """Write the rows of each process of the challenge's table to a file of its own.

    Args:
        table: The table.
        folder: Where fair_<process>.root go to.

    Raises:
        InputError: A column is missing, or a process without rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    types = dict.fromkeys((*PRIMARY, WEIGHTS), np.float32) | {"PRI_n_jets": np.int32}
    rows = dict.fromkeys(PROCESSES, 0)
    with ExitStack() as files:
        trees = {}
        for process in PROCESSES:
            file = files.enter_context(uproot.recreate(folder / f"fair_{process}.root"))
            trees[process] = file.mktree("events", types)
        for chunk in table.chunks((*types, LABELS)):
            labels = chunk[LABELS].astype(str)
            for process, tree in trees.items():
                own = labels == process
                if own.any():
                    tree.extend({name: chunk[name][own].astype(kind) for name, kind in types.items()})
                    rows[process] += int(own.sum())
    if empty := [process for process in PROCESSES if not rows[process]]:
        raise InputError.from_parts(
            expected=f"rows with {LABELS} {empty[0]!r} in {table.path}",
            got="none",
            do="give a table of all four processes",
        )


def main(arguments: list[str] | None = None) -> None:
    """Write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "source", type=Path, nargs="?", default=HERE / "data", help="folder or table (default: the shipped sample)"
    )
    parser.add_argument("--out", type=Path, default=Path("htautau.yaml"), help="the file to write")
    options = parser.parse_args(arguments)
    folder = options.source
    try:
        table = published(folder)
        if table is not None:
            folder = options.out.parent / "data"
            split(table, folder)
        text = configuration(folder, options.out)
    except InputError as error:
        parser.error(str(error))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text)
    print(f"{options.out}: hisigma cross-section check {options.out}")


if __name__ == "__main__":
    main()
