"""Inject the dijet resonance at several strengths, everything drawn and trained again, and see what a search returns.

    python analyses/anomaly/injections.py --background background.root --signal signal.root --sets 20

Every data set is one small file in the folder, so that an interrupted study goes on.  Each takes a part of the
background events, without replacement: events that are drawn twice cluster as a signal does (a likelihood ratio of 98
without any).
The sets share events and are not independent.  Prints a table and draws fitted against injected signal.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

import hisigma_zfit as hz
from hisigma_zfit.files import write_text
from hisigma_zfit.workers import finished

FEATURES = ("mj_light", "dmj", "tau21_light", "tau21_heavy")
PART = 0.7  # of the background events, in each data set
RANGE, REGION = (2500.0, 4500.0), hz.SignalRegion(3300.0, 3700.0)


def one(files: tuple[str, str], share: float, number: int) -> dict[str, Any]:
    """Search one data set."""
    rng = np.random.default_rng([number, round(1e6 * share)])
    columns = {name: name for name in ("mjj", *FEATURES)}
    background, signal = (hz.read(path, columns=columns) for path in files)
    kept = (background["mjj"] >= RANGE[0]) & (background["mjj"] < RANGE[1]) & (rng.random(len(background)) < PART)
    background = background.select(kept)
    inside = int(REGION.contains(background["mjj"]).sum())
    wanted = rng.poisson(share * inside / (1.0 - share) / REGION.contains(signal["mjj"]).mean())
    signal = signal.select(np.isin(np.arange(len(signal)), rng.permutation(len(signal))[:wanted]))
    signal = signal.select((signal["mjj"] >= RANGE[0]) & (signal["mjj"] < RANGE[1]))
    events, true = background.concatenate(signal), np.arange(len(background) + len(signal)) >= len(background)
    flow = hz.train_flow(
        events.sidebands("mjj", REGION), FEATURES, given="mjj", members=2, bootstraps=3, seed=number + 1
    )
    spectrum = hz.fit_spectrum(events["mjj"], RANGE, (REGION.lower, REGION.upper))
    found = hz.find_signal(events, flow, spectrum, region=REGION, seed=number + 1)
    own = true[np.isin(events.identity, found.scene.identity)]
    fiducial, radius, in_region = found.fiducial, found.fiducial.radius_squared, 0
    for fold, lump in enumerate(fiducial.regions):
        rest = found.scene.points.y[(found.folds == fold) & own] - lump.mean
        distance = np.einsum("ni,ij,nj->n", rest, np.linalg.inv(lump.covariance), rest)
        in_region += int(np.sum(distance <= radius))
    return {
        "share": share,
        "number": number,
        "signal": int(own.sum()),
        "t": found.t,
        "ln_e": found.e_value.ln_e_smallest,
        "in_region": in_region,
        "fiducial": [fiducial.value, fiducial.error, fiducial.background_error],
        "learned": [found.learned.value, *found.learned.interval_68],
        "mj_light": found.properties["mj_light"].median,
    }


def report(records: list[dict[str, Any]], path: Path) -> str:
    """A row for each share, and the figure."""
    lines = ["share      sets  signal       T           ln e    fiducial pull   covered 68 / 95 %   learned / signal"]
    figure, axes = plt.subplots(figsize=(7, 6), layout="constrained")
    for share in sorted({record["share"] for record in records}):
        own = [record for record in records if record["share"] == share]
        value, error, background = np.array([record["fiducial"] for record in own]).T
        pull = (value - [record["in_region"] for record in own]) / np.hypot(error, background)
        signal = np.array([record["signal"] for record in own])
        learned = np.array([record["learned"][0] for record in own])
        t, ln_e = (np.median([record[name] for record in own]) for name in ("t", "ln_e"))
        ratio = learned.sum() / max(signal.sum(), 1)
        covered = [100 * np.mean(np.abs(pull) <= n) for n in (1, 2)]
        lines.append(
            f"{100 * share:5.2f} %  {len(own):4d}  {signal.mean():6.1f}  {t:7.1f}  {ln_e:12.1f}  "
            f"{pull.mean():+.2f} +- {pull.std(ddof=1) / len(own) ** 0.5 if len(own) > 1 else np.nan:.2f}  "
            f"{covered[0]:9.0f} / {covered[1]:.0f}  {ratio if share else np.nan:16.2f}"
        )
        edges = np.abs(np.array([record["learned"][1:] for record in own]) - learned[:, None]).T
        axes.errorbar(signal, learned, yerr=edges, fmt="o", color="#e42536", markersize=5, alpha=0.6)
        axes.errorbar(
            signal, value, yerr=np.hypot(error, background), fmt="s", color="#5790fc", markersize=5, alpha=0.6
        )
    top = 1.15 * max(record["signal"] for record in records) + 20
    axes.plot([0, top], [0, top], color="0.4", linestyle=":")
    axes.set_xlabel("Signal events injected into the window")
    axes.set_ylabel("Events found")
    axes.legend(
        handles=[
            mpl.lines.Line2D([], [], color="#e42536", marker="o", linestyle="", label="Learned yield, 68 %"),
            mpl.lines.Line2D(
                [], [], color="#5790fc", marker="s", linestyle="", label="Fiducial yield (80 % of the lump)"
            ),
            mpl.lines.Line2D([], [], color="0.4", linestyle=":", label="All of the signal"),
        ],
        loc="upper left",
    )
    figure.savefig(path, dpi=150)
    return "\n".join(lines)


def main() -> None:
    """Search what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--background", required=True, help="background events")
    parser.add_argument("--signal", required=True, help="signal events")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.0, 0.003, 0.0053], help="of the window's events")
    parser.add_argument("--sets", type=int, default=20, help="data sets of each share (default 20)")
    parser.add_argument("--processes", type=int, default=1, help="worker processes (default 1)")
    parser.add_argument("--out", type=Path, default=Path("runs/injections"), help="folder of the study")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    def place(share: float, number: int) -> Path:
        return options.out / f"set-{share:g}-{number:04d}.json"

    tasks = [(share, number) for number in range(options.sets) for share in options.shares]
    tasks = [task for task in tasks if not place(*task).exists()]
    files = (options.background, options.signal)
    for task, record in finished(one, files, tasks, processes=options.processes):
        write_text(place(*task), json.dumps(record))
    records = [json.loads(path.read_text()) for path in sorted(options.out.glob("set-*.json"))]
    print(report(records, options.out / "injections.png"))


if __name__ == "__main__":
    main()
