"""Make the compact sample of simulated bb gamma gamma events that the di-Higgs analysis runs on.

    python analyses/dihiggs/make_sample.py --source FULL_SAMPLES --out analyses/dihiggs/data

Keeps the mass, the four features of arXiv:2506.06438 and, for the signal, the three weights that move the trilinear
coupling; values are those of the source files, float32, unchanged.  Writes one ROOT file per process, ``sample.json``
with the cross-sections, and the data card ``README.md``.  The output folder must stay below 8 MB to be shipped.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import uproot
from scipy import stats

TREE = "events"
BRANCHES = ("Hgg_mass", "Hbb_pt", "Hgg_pt", "dR_bb", "dR_gg")
COUPLING_WEIGHTS = ("w_A", "w_B", "w_C")
BLOCK = 40_000  # rows of one pseudo-data set
MAX_BYTES = 8_000_000
LUMINOSITY = 3000.0  # fb^-1
SEED = 1

Columns = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Process:
    """One file of the sample: its source, what it is, and whether its rows are shuffled."""

    source: str
    words: str
    branches: tuple[str, ...] = BRANCHES
    shuffle: bool = True


PROCESSES = {
    # Copies of one parton-level event lie within one generation block of about 10,000 rows.  The source order keeps
    # them inside one pseudo-data set; shuffling would spread them over all of them.
    "background": Process("bbgg_background", "continuum pp -> b bbar gamma gamma", shuffle=False),
    "signal": Process(
        "hh_signal",
        "gg -> HH -> b bbar gamma gamma, one-loop with full top mass, kappa_lambda = 1",
        (*BRANCHES, *COUPLING_WEIGHTS),
    ),
    "hh_kl0": Process("hh_kl0", "the same, kappa_lambda = 0"),
    "hh_kl5": Process("hh_kl5", "the same, kappa_lambda = 5"),
    "vh": Process("vh_background", "q qbar -> ZH, Z -> b bbar, H -> gamma gamma"),
    "tth": Process("tth_background", "ttH, H -> gamma gamma"),
}


def load(path: Path, branches: tuple[str, ...]) -> Columns:
    """Read branches as float32, as they are stored."""
    with uproot.open(path) as file:
        return {name: file[TREE][name].array(library="np").astype(np.float32) for name in branches}


def write(path: Path, columns: Columns) -> None:
    """Write one compact ROOT file."""
    with uproot.recreate(path, compression=uproot.LZMA(9)) as file:
        file.mktree(TREE, dict.fromkeys(columns, "float32")).extend(columns)


def block_p_values(columns: Columns) -> dict[str, float]:
    """Kruskal-Wallis p-value, by branch, of consecutive blocks being drawn from one distribution."""
    n_blocks = len(columns[BRANCHES[0]]) // BLOCK
    return {
        name: float(stats.kruskal(*columns[name][: n_blocks * BLOCK].reshape(n_blocks, BLOCK)).pvalue)
        for name in BRANCHES
    }


def describe(process: Process, columns: Columns, source: dict[str, Any]) -> dict[str, Any]:
    """Collect what the sample says about one process, from its columns and the JSON beside its source."""
    mass = columns["Hgg_mass"]
    rows = len(mass)
    if rows != source["rows"]:
        raise SystemExit(f"expected {source['rows']} rows of {process.source}, got {rows}; the source is incomplete")
    return {
        "process": process.words,
        "rows": rows,
        "cross_section_fb": source["xs_fid_fb"],
        "events_at_3000_fb": source["xs_fid_fb"] * LUMINOSITY,
        "fraction_115_135": float(np.mean((mass >= 115) & (mass < 135))),
        "showered": source["showered"],
        "cutflow": source["cutflow"],
        "branches": list(process.branches),
        "shuffled": process.shuffle,
    }


CARD = """\
# Simulated bb gamma gamma events at 14 TeV

Made by `make_sample.py` from larger simulated files. One ROOT file per process, TTree `events`, float32 branches.
`sample.json` holds the table below, and the cutflows, for programs.

| file | rows | process | cross-section after selection | events in 3 ab^-1 | in 115-135 GeV |
|---|---|---|---|---|---|
{table}

## Branches

| branch | meaning |
|---|---|
| `Hgg_mass` | mass of the two photons, GeV; selected in 90-180 |
| `Hbb_pt`, `Hgg_pt` | transverse momentum of the two b-jets together, and of the two photons together, GeV |
| `dR_bb`, `dR_gg` | angular distance of the two b-jets, and of the two photons |
| `w_A`, `w_B`, `w_C` | `signal.root` only: weight at another coupling, kappa_lambda^2 w_A + kappa_lambda w_B + w_C |

Every row has weight 1 and stands for cross-section / rows. `w_A + w_B + w_C` is 1 in every row: the weights' mean is
the yield relative to kappa_lambda = 1, and is {kl0:.2f} at 0 and {kl5:.2f} at 5 (the direct files give {direct0:.2f}
and {direct5:.2f}).

## How it was simulated

Leading-order matrix elements (tree level for the continuum, exact one-loop with the full top mass for HH), Pythia 8.317
shower and hadronisation, FastJet anti-kT jets with R = 0.4, a parametrised detector like those of the HL-LHC, and the
selection of arXiv:2506.06438, section 4.

## What was simplified

- No pile-up and no multi-parton interactions. Leading order throughout: no K-factor is applied.
- The two leading true b-jets count as tagged: no mistagged jets, no fake photons.
- b-jets have pT > 30 and 20 GeV (the published selection asks 30 GeV of both).
- VH is q qbar -> ZH only: no gg -> ZH, no WH.
- Reweighting kappa_lambda = 1 -> 5 leaves few effective events: use `hh_kl5.root`. Direct and reweighted shapes differ
  in a few features by more than their statistical errors; this is not explained.

## Order of the rows

`background.root` keeps the order of generation. Its {n_blocks} disjoint consecutive blocks of {block:,} rows can be
used as independent data sets: Kruskal-Wallis tests of the blocks against each other give
p = {p_values}.
About 2 % of the rows are further showers of a parton-level event that another row shares. Such rows lie within one
generation block (about 10,000 rows in random order), so that two data sets share some only where their border cuts
such a block. Shuffling would spread the shared events over all data sets, so these rows are not shuffled.

The other files are shuffled with a fixed seed ({seed}), so that any leading part is a fair sample: the consecutive
fifths of the signal's source differ a little (p = {signal_p:.2g} for the worst of five correlated branches).
"""


def card(
    entries: dict[str, dict[str, Any]], p_values: dict[str, float], signal_p: float, reweighted: dict[str, float]
) -> str:
    """Write the data card."""
    table = "\n".join(
        f"| `{name}.root` | {e['rows']:,} | {e['process']} | {e['cross_section_fb']:.4g} fb "
        f"| {e['events_at_3000_fb']:.4g} | {100 * e['fraction_115_135']:.1f} % |"
        for name, e in entries.items()
    )
    direct = entries["signal"]["cross_section_fb"]
    return CARD.format(
        table=table,
        direct0=entries["hh_kl0"]["cross_section_fb"] / direct,
        direct5=entries["hh_kl5"]["cross_section_fb"] / direct,
        **reweighted,
        n_blocks=entries["background"]["rows"] // BLOCK,
        block=BLOCK,
        p_values=", ".join(f"{p:.2f} ({name})" for name, p in p_values.items()),
        signal_p=signal_p,
        seed=SEED,
    )


def main() -> None:
    """Make all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder with the full ROOT files and their JSON")
    parser.add_argument("--out", type=Path, required=True, help="folder for the compact files")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    entries: dict[str, dict[str, Any]] = {}
    p_values: dict[str, float] = {}
    signal_p = 1.0
    reweighted: dict[str, float] = {}
    for name, process in PROCESSES.items():
        columns = load(options.source / f"{process.source}.root", process.branches)
        source = json.loads((options.source / f"{process.source}.json").read_text())
        entries[name] = describe(process, columns, source)
        if name == "background":
            p_values = block_p_values(columns)
        if name == "signal":
            signal_p = min(float(stats.kruskal(*np.array_split(columns[b], 5)).pvalue) for b in BRANCHES)
            a, b, c = (columns[name] for name in COUPLING_WEIGHTS)
            reweighted = {"kl0": float(np.mean(c)), "kl5": float(np.mean(25 * a + 5 * b + c))}
        if process.shuffle:
            order = np.random.default_rng(SEED).permutation(entries[name]["rows"])
            columns = {branch: values[order] for branch, values in columns.items()}
        write(options.out / f"{name}.root", columns)
        print(f"{name}.root: {entries[name]['rows']} rows, {(options.out / f'{name}.root').stat().st_size} bytes")
    (options.out / "sample.json").write_text(json.dumps(entries, indent=1) + "\n")
    (options.out / "README.md").write_text(card(entries, p_values, signal_p, reweighted))
    total = sum(path.stat().st_size for path in options.out.iterdir())
    print(f"total: {total} bytes")
    if total > MAX_BYTES:
        raise SystemExit(f"expected at most {MAX_BYTES} bytes, got {total}; keep fewer processes or weights")


if __name__ == "__main__":
    main()
