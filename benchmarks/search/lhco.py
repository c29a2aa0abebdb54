"""Significance improvement on the LHC Olympics' dijets with a background learned in the window itself.

    python benchmarks/search/lhco.py --folder lhco --injected 150 250 350 500 --out runs/lhco

The "perfect" background of published comparisons: no sidebands, p_b is trained on background events of the window that
are not in the data.  The same events judge: each by the one of five members that has not seen it.  The folder holds
lhco_sr_qcd.root, lhco_sr_qcd_extra.root and lhco_sr_signal.root (from Zenodo 4536377).  One folder for each data set,
as in comparisons.py.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from contest import METHODS, Contest, Panel, load, table

from hisigma_zfit.files import write_bytes

FEATURES = ("mj_light", "dmj", "tau21_light", "tau21_heavy")
MASS, WINDOW = "mjj", (3300.0, 3700.0)
GOALS = {150: 7.5, 250: 9.2, 350: 9.8, 500: 10.4}
DATA, SIGNALS = 60_000, 20_000
MEMBERS = 5  # as many as there are folds
_SPLIT, _SIGNAL, _RUN = 22, 23, 24  # streams


def main() -> None:
    """Make what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the events")
    parser.add_argument("--injected", nargs="+", type=int, default=list(GOALS), help="signal events")
    parser.add_argument("--sets", type=int, default=20, help="data sets of each number (default 20)")
    parser.add_argument("--methods", nargs="+", default=["blob", "classifier", "template"], choices=METHODS)
    parser.add_argument("--seed", type=int, default=1, help="of everything that is random")
    parser.add_argument("--out", type=Path, default=Path("runs/lhco"), help="folder of the study")
    options = parser.parse_args()
    for number in range(options.sets):
        _one(options, number)
    print(table(load(options.out.glob("*/record-*.json")), GOALS, point="injected"))


def _one(options: argparse.Namespace, number: int) -> None:
    """All numbers of signal events in one background, which is split and learned once."""
    folder = options.out / f"set-{number:02d}"
    records: dict[int, dict[str, Any]] = {}
    for injected in options.injected:
        path = folder / f"record-{injected}.json"
        record = json.loads(path.read_text()) if path.exists() else {"injected": injected, "set": number}
        if not all(method in record.get("curves", {}) for method in options.methods):
            records[injected] = record
    if not records:
        return
    import zfit

    import hisigma_zfit as hz
    from hisigma_zfit.learn.resampling import fold_of
    from hisigma_zfit.learn.streams import Purpose, seed_for, stream

    qcd = read(options.folder / "lhco_sr_qcd.root").concatenate(read(options.folder / "lhco_sr_qcd_extra.root"))
    signal = read(options.folder / "lhco_sr_signal.root")
    rank = _ranks(len(qcd), stream(options.seed, Purpose.COMPARISON_SCORES, _SPLIT, number))
    plain, others = qcd.select(rank < DATA), qcd.select(rank >= DATA)
    space = zfit.Space(MASS, *WINDOW)
    seed = seed_for(options.seed, Purpose.COMPARISON_SCORES, _RUN, number)
    if not (folder / "p_b").exists():
        folder.mkdir(parents=True, exist_ok=True)
        hz.train_flow(others, FEATURES, given=MASS, members=MEMBERS, seed=seed).save(folder / "p_b")
    density = hz.load_flow(folder / "p_b")
    unseen = fold_of(others.identity, seed=seed)  # a member leaves out the fold of its number
    shape = hz.fit_shape(hz.ExpQuadratic, others, space)
    for injected, record in records.items():
        numbers = (number, injected)
        rank = _ranks(len(signal), stream(options.seed, Purpose.COMPARISON_SCORES, _SIGNAL, *numbers))
        contest = Contest(
            data=plain.concatenate(signal.select(rank < injected)),
            truth=np.repeat([0.0, 1.0], [len(plain), injected]),
            background=density,
            shape=shape,
            region=hz.SignalRegion(*WINDOW),
            panels=tuple(
                Panel(
                    signal.select((rank >= injected) & (rank < injected + SIGNALS) & (rank % MEMBERS == k)),
                    others.select(unseen == k),
                    member,
                )
                for k, member in enumerate(density.members)
            ),
            seed=seed_for(options.seed, Purpose.COMPARISON_SCORES, _RUN, *numbers),
        )
        done = contest.run(options.methods, record)
        write_bytes(folder / f"record-{injected}.json", json.dumps(done).encode())
        print(folder.name, injected, "done", flush=True)


def _ranks(n: int, rng: np.random.Generator) -> Any:
    """A random order: the place of each event in it."""
    ranks = np.empty(n, dtype=np.int64)
    ranks[rng.permutation(n)] = np.arange(n)
    return ranks


def read(path: Path) -> Any:
    """Without the few jets whose mass or substructure could not be computed: spikes look like signal."""
    import hisigma_zfit as hz

    events = hz.read(path, tree="events", columns={name: name for name in (*FEATURES, MASS)})
    return events.select((events.array(FEATURES) > 0.0).all(axis=1))


if __name__ == "__main__":
    main()
