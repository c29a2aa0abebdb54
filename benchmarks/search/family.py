"""Masses and yields of a signal known up to parameters, over a background that is drawn from the density it is given.

    python benchmarks/search/family.py --density p_b --data data.root --window 3300 3700 --range 2500 4500
        --signal 500,100=signal_500_100.root 300,100=signal_300_100.root ... --theta m_x m_y
        --moving "mj_light=m_y" "mj_light + dmj=m_x" --family grid --inject 500,100 --experiments 20 --out runs/family

Half of the injected sample's events is injected, the other half teaches the family; with --leave-out none does.  Every
experiment is one small file in the folder, for all shares of signal, so that an interrupted study goes on.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")

import numpy as np
from scipy.stats import chi2

import hisigma_zfit as hz
from hisigma_zfit.density.gaussianised import window_transform
from hisigma_zfit.files import write_bytes
from hisigma_zfit.inference.family_likelihood import Landscape
from hisigma_zfit.inference.family_profiles import YieldProfile, peaks
from hisigma_zfit.inference.signal_coordinates import Frame

LEVELS = (1.0, float(chi2.ppf(0.95, 1)))
PAIR = (float(chi2.ppf(0.6827, 2)), float(chi2.ppf(0.95, 2)))


def events(path: str, names: tuple[str, ...]) -> hz.Dataset:
    """Columns of a ROOT file, or of an npz archive."""
    if path.endswith(".npz"):
        arrays = np.load(path)
        return hz.Dataset.from_arrays({name: arrays[name] for name in names})
    return hz.read(path, columns={name: name for name in names})


class World:
    """Everything that the experiments share."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.background = options, hz.load_flow(options.density)
        self.names = (*self.background.features, self.background.given)
        self.window = tuple(options.window)
        spectrum = hz.fit_spectrum(
            events(options.data, (self.background.given,))[self.background.given],
            tuple(options.range),
            self.window,
            degree=options.degree,
        )
        self.expected = spectrum.expected(*self.window)
        self.mass = window_transform(spectrum.density, self.window, name=self.background.given)
        self.inject = tuple(map(float, options.inject.split(",")))
        samples = {}
        for text in options.signal:
            point, path = text.split("=", 1)
            samples[tuple(map(float, point.split(",")))] = events(path, self.names)
        whole = samples[self.inject]
        half = np.random.default_rng(1).random(len(whole)) < 0.5
        self.injected = whole if options.leave_out else whole.select(half)
        if options.leave_out:
            del samples[self.inject]
        else:
            samples[self.inject] = whole.select(~half)
        moving = dict(text.split("=", 1) for text in options.moving)
        if options.family == "scaled":
            at = dict(zip(options.theta, self.inject, strict=True))
            family: Any = hz.ScaledSignal(samples[self.inject], scale=moving, at=at)
        else:
            family = hz.SignalFamily(samples, theta=tuple(options.theta), moving=tuple(moving))
        frame = Frame(self.background.features, self.background.given, self.background.domain, self.window)
        self.density = family.learn(frame, seed=1)

    def log_background(self, x: np.ndarray, m: np.ndarray) -> np.ndarray:
        return self.background.log_prob_array(x, m) + self.mass.forward(m[:, None])[1]

    def run(self, number: int) -> list[dict[str, Any]]:
        """One background, every share of signal in it."""
        rng = np.random.default_rng([2, number])
        m = self.mass.inverse(rng.random((rng.poisson(self.expected), 1)))[:, 0]
        x = self.background.sample(m, seed=number + 1)
        log_b = self.log_background(x, m)
        here = self.injected.select(hz.SignalRegion(*self.window).contains(self.injected[self.background.given]))
        records = []
        for share in self.options.shares:
            mean = share / (1.0 - share) * self.expected
            rows = rng.permutation(len(here))[: rng.poisson(mean)]
            own, own_m = here.array(self.background.features)[rows], here[self.background.given][rows]
            landscape = Landscape(
                self.density,
                self.density.prepare(np.concatenate([x, own]), np.concatenate([m, own_m])),
                np.concatenate([log_b, self.log_background(own, own_m) if len(own) else np.empty(0)]),
            )
            found = peaks(landscape)
            profile, top = YieldProfile(landscape, found), found[0].value
            theta = np.exp(found[0].t)
            record = {
                "share": share,
                "signal": len(rows),
                "t": top,
                "yield": landscape.ratios(theta).best()[1],
                "theta": theta.tolist(),
                "t_yield": top - profile.maximum(mean)[0] if mean > 0.0 else top,
                "t_theta": top - landscape.value(np.log(self.inject)),
            }
            records.append(record)
        return records


def table(folder: Path, stem: str, inject: tuple[float, ...], names: list[str]) -> str:
    """Of all experiments that are there."""
    records = [r for path in sorted(folder.glob(f"{stem}-*.json")) for r in json.loads(path.read_text())]
    lines = [f"{'w %':>6} {'n':>4} {'signal':>7} {'T median':>9} {'T 16, 84 %':>14} {'yield':>7} {'shift':>12}"]
    lines[0] += "".join(f"{'|' + name + '| %':>10}" for name in names)
    lines[0] += f" {'yield in 68, 95':>17} {'masses in 68, 95':>17}"
    for share in sorted({r["share"] for r in records}):
        own = [r for r in records if r["share"] == share]
        t = np.array([r["t"] for r in own])
        off = 100 * np.abs(np.array([r["theta"] for r in own]) / np.array(inject) - 1.0)
        mean, fitted = np.mean([r["signal"] for r in own]), np.array([r["yield"] for r in own])
        shift = fitted - np.array([r["signal"] for r in own])
        covered = [
            np.mean([r[key] <= level for r in own])
            for key, levels in (("t_yield", LEVELS), ("t_theta", PAIR))
            for level in levels
        ]
        low, high = np.quantile(t, [0.16, 0.84])
        pull = f"{shift.mean():6.1f}+-{shift.std() / np.sqrt(len(own)):<4.1f}"
        line = f"{100 * share:6.2f} {len(own):4d} {mean:7.1f} {np.median(t):9.1f} {low:7.1f}{high:7.1f} "
        line += f"{np.median(fitted):7.1f} {pull}" + "".join(f"{value:10.2f}" for value in np.median(off, axis=0))
        lines.append(line + "".join(f"{value:9.0f}" for value in covered))
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--density", required=True, help="folder of the background's density")
    parser.add_argument("--data", required=True, help="events with the mass, whose sidebands tell its spectrum")
    parser.add_argument("--range", nargs=2, type=float, required=True, help="of the mass")
    parser.add_argument("--window", nargs=2, type=float, required=True, help="that is searched")
    parser.add_argument("--degree", type=int, default=3, help="of the spectrum (default 3)")
    parser.add_argument("--signal", nargs="+", required=True, help="THETA,THETA=FILE of every simulated sample")
    parser.add_argument("--theta", nargs="+", required=True, help="names of the parameters")
    parser.add_argument("--moving", nargs="+", required=True, help="EXPRESSION=PARAMETER")
    parser.add_argument("--family", choices=("scaled", "grid"), default="grid")
    parser.add_argument("--inject", required=True, help="THETA,THETA of the signal")
    parser.add_argument("--leave-out", action="store_true", help="the injected point from the grid")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.0, 0.0005, 0.001, 0.003], help="of signal")
    parser.add_argument("--experiments", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("runs/family"), help="folder of the study")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    stem = f"{options.family}-{options.inject.replace(',', '_')}{'-out' if options.leave_out else ''}"
    world = None
    for number in range(options.experiments):
        path = options.out / f"{stem}-{number:04d}.json"
        if not path.exists():
            world = world or World(options)
            write_bytes(path, json.dumps(world.run(number)).encode())
            print(path.name, flush=True)
    print(table(options.out, stem, tuple(map(float, options.inject.split(","))), options.theta))


if __name__ == "__main__":
    main()
