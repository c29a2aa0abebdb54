"""Significance improvement on dijets whose background is learned in sidebands: blob, classifier, flow, supervised.

    python benchmarks/search/comparisons.py --background background.root --signal signal.root --out runs/comparisons

Each data set is 70 % of the background with signal injected over all masses; what was not taken judges.  A data set is
a folder with its events (data.npz), its learned background (p_b) and the numbers of each method (record.json): what is
there is not made again, so that an interrupted study goes on.  Prints the table and draws figures of all that is there.
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
from contest import METHODS, Contest, Panel, different, load, table

from hisigma_zfit.files import write_bytes

SHARES = (0.001, 0.0017, 0.003, 0.0053, 0.0093)
GOALS = {0.001: 4.0, 0.0017: 8.0, 0.003: 10.5, 0.0053: 11.7, 0.0093: 12.3}
TAKEN = 0.7  # of the background is data
_DATA = 21  # stream


def main() -> None:
    """Make what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--background", type=Path, required=True, help="file of background events")
    parser.add_argument("--signal", type=Path, required=True, help="file of signal events")
    parser.add_argument("--tree", default="events", help="tree in both")
    parser.add_argument("--mass", default="mjj", help="column of the mass")
    parser.add_argument("--features", default="mj_light,dmj,tau21_light,tau21_heavy", help="other columns")
    parser.add_argument("--range", nargs=2, type=float, default=(2500.0, 4500.0), help="of the mass")
    parser.add_argument("--window", nargs=2, type=float, default=(3300.0, 3700.0), help="that is searched")
    parser.add_argument("--degree", type=int, default=3, help="of the spectrum's polynomial")
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES, help="of signal in the window")
    parser.add_argument("--sets", type=int, default=20, help="data sets of each share (default 20)")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["blob", "classifier", "supervised"],
        choices=[method for method in METHODS if method != "template"],
    )
    parser.add_argument("--seed", type=int, default=1, help="of everything that is random")
    parser.add_argument("--out", type=Path, default=Path("runs/comparisons"), help="folder of the study")
    options = parser.parse_args()
    for number in range(options.sets):
        for share in options.shares:
            _one(options, share, number)
    records = load(options.out.glob("*/record.json"))
    print(table(records, GOALS, point="share"))
    _draw(records, options.out)


def _one(options: argparse.Namespace, share: float, number: int) -> None:
    folder = options.out / f"w{share:g}-{number:02d}"
    path = folder / "record.json"
    record: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"share": share, "set": number}
    if all(method in record.get("curves", {}) for method in options.methods):
        return
    import zfit

    import hisigma_zfit as hz
    from hisigma_zfit.learn.streams import Purpose, seed_for

    features = options.features.split(",")
    names = (*features, options.mass)
    region, space = hz.SignalRegion(*options.window), zfit.Space(options.mass, *options.range)
    background, signal = (
        hz.read(file, tree=options.tree, columns={name: name for name in names})
        for file in (options.background, options.signal)
    )
    seed = seed_for(options.seed, Purpose.COMPARISON_SCORES, _DATA, number, round(1e6 * share))
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "data.npz").exists():
        columns = _draw_data(background.within(space), signal, region, options.mass, share, seed)
        np.savez(folder / "data.npz", **{name: columns[0][name] for name in names}, truth=columns[1])
    with np.load(folder / "data.npz") as stored:
        data = hz.Dataset.from_arrays({name: stored[name] for name in names})
        truth = stored["truth"]
    if not (folder / "p_b").exists():
        beside = data.sidebands(space, region)
        hz.train_flow(beside, features, given=options.mass, members=2, seed=seed).save(folder / "p_b")
    window = [events.select(region.contains(events[options.mass])) for events in (signal, background)]
    signal, others = (different(events, data, names) for events in window)
    density = hz.load_flow(folder / "p_b")
    contest = Contest(
        data=data,
        truth=truth,
        background=density,
        shape=hz.fit_spectrum(data[options.mass], tuple(options.range), tuple(options.window), degree=options.degree),
        region=region,
        panels=(Panel(signal, others, density),),
        seed=seed,
    )
    write_bytes(path, json.dumps(contest.run(options.methods, record)).encode())
    print(folder.name, "done", flush=True)


def _draw_data(background: Any, signal: Any, region: Any, mass: str, share: float, seed: int) -> tuple[Any, Any]:
    """Background and signal of one data set, and which is which."""
    from hisigma_zfit.learn.streams import Purpose, stream

    rng = stream(seed, Purpose.COMPARISON_SCORES, _DATA)
    taken = background.select(rng.random(len(background)) < TAKEN)
    inside = float(region.contains(signal[mass]).mean())
    n = rng.poisson(share / (1.0 - share) * region.contains(taken[mass]).sum() / inside)
    chosen = signal.select(np.isin(np.arange(len(signal)), rng.permutation(len(signal))[:n]))
    low, high = background[mass].min(), background[mass].max()
    chosen = chosen.select((chosen[mass] >= low) & (chosen[mass] <= high))
    return taken.concatenate(chosen), np.repeat([0.0, 1.0], [len(taken), len(chosen)])


def _draw(records: list[dict[str, Any]], out: Path) -> None:
    from hisigma_zfit.report.improvement_figures import improvement_by_signal, improvement_curves
    from hisigma_zfit.results import SicCurve

    curves = [
        (record, {name: SicCurve.from_json(json.dumps(raw)) for name, raw in record["curves"].items()})
        for record in records
    ]
    points: dict[str, list[tuple[float, SicCurve]]] = {}
    for record, own in curves:
        figure = improvement_curves({name: curve for name, curve in own.items() if "joint" not in name})
        figure.savefig(out / f"curves-w{record['share']:g}-{record['set']:02d}.png")
        for name, curve in own.items():
            points.setdefault(name, []).append((record["n_signal"] / record["n_background"] ** 0.5, curve))
    if points:
        improvement_by_signal(points).savefig(out / "by_signal.png")


if __name__ == "__main__":
    main()
