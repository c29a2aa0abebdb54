"""Makes the files of `hisigma_zfit.examples`: ``python -m hisigma_zfit.examples.make FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import uproot

from hisigma_zfit.data import Dataset, feature_space
from hisigma_zfit.density.training import train_flow
from hisigma_zfit.density.warped import spline_flow
from hisigma_zfit.examples import LIMITS, MASSES, REGION

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["background", "main", "signal"]

SLOPE = 2.0  # of the mass spectrum, over the whole range
SCALE = 0.05  # of the signal's pt, by one standard deviation


def signal(n: int, rng: np.random.Generator) -> dict[str, Array]:
    """Draw n events of the signal."""
    return {"m": rng.normal(125.0, 2.0, n), "pt": rng.exponential(60.0, n), "angle": np.sqrt(rng.random(n))}


def background(n: int, rng: np.random.Generator) -> dict[str, Array]:
    """Draw n events of the background."""
    lower, upper = MASSES
    t = -np.log1p(-rng.random(n) * -np.expm1(-SLOPE)) / SLOPE
    m = lower + (upper - lower) * t
    return {"m": m, "pt": rng.exponential(20.0 + 0.2 * (m - lower)), "angle": rng.random(n)}


def _write(path: Path, columns: dict[str, Array]) -> None:
    with uproot.recreate(path, compression=uproot.ZLIB(9)) as file:
        file["events"] = {name: values.astype(np.float32) for name, values in columns.items()}


def main(folder: Path) -> None:
    """Draw the events, train both flows and write everything into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(12)
    parts = [signal(rng.poisson(60), rng), background(rng.poisson(3000), rng)]
    order = rng.permutation(sum(len(part["m"]) for part in parts))
    _write(folder / "events.root", {name: np.concatenate([p[name] for p in parts])[order] for name in parts[0]})
    _write(folder / "simulation.root", signal(1000, rng))

    config = spline_flow(knots=8, bins=0, hidden=8, layers=2)
    simulated = signal(20_000, rng)
    nu = rng.uniform(-2.5, 2.5, 20_000)
    samples = {
        "background": Dataset.from_arrays(background(26_000, rng)).sidebands("m", REGION),
        "signal": Dataset.from_arrays(simulated),
        "signal_up": Dataset.from_arrays(simulated | {"pt": simulated["pt"] * (1 + SCALE)}),
        "signal_down": Dataset.from_arrays(simulated | {"pt": simulated["pt"] * (1 - SCALE)}),
        "scaled_signal": Dataset.from_arrays(simulated | {"pt": simulated["pt"] * (1 + SCALE * nu), "nu": nu}),
    }
    for name, sample in samples.items():
        features = feature_space("nu", **LIMITS) if "nu" in sample.names else feature_space(**LIMITS)
        train_flow(sample, features, given="m", members=2, seed=1, flow=config, name=name).save(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
