"""A small world: two processes of a transverse momentum and an angle, in which a scale and a smearing move events."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hisigma_zfit.crosssection.nuisances import Process, ShapeNuisance, lognormal, square
from hisigma_zfit.crosssection.recipe import Recipe
from hisigma_zfit.data import Dataset

if TYPE_CHECKING:
    from pathlib import Path

SIGNED = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)

FUNCTIONS = """
import numpy as np
def scale(columns, value, rng=None):
    return {**columns, "pt": columns["pt"] * (1.0 + value)}
def smear(columns, value, rng):
    return {**columns, "pt": columns["pt"] + value * rng.standard_normal(len(columns["pt"]))}
def threshold(columns):
    return columns, columns["pt"] > 20.0
def features(columns):
    return {"ln_pt": np.log(columns["pt"]), "phi": columns["phi"]}
"""


def scale(columns, value):
    return {**columns, "pt": columns["pt"] * (1.0 + value)}


def smear(columns, value, rng):
    return {**columns, "pt": columns["pt"] + value * rng.standard_normal(len(columns["pt"]))}


def threshold(columns):
    return columns, columns["pt"] > 20.0


def events(seed: int, n: int, mean: float) -> dict[str, np.ndarray]:
    """Columns of n rows; every third hard event stands behind two rows."""
    generator = np.random.default_rng(seed)
    return {
        "pt": 18.0 + generator.exponential(mean, n),
        "phi": generator.uniform(-3.0, 3.0, n),
        "weights": np.full(n, 2.0) + generator.uniform(0.0, 0.1, n),
        "event": 4 * (np.arange(n) * 3 // 4) + 1,
    }


def process(name: str, columns: dict[str, np.ndarray], poi: str = "") -> Process:
    own = {key: columns[key] for key in columns if key not in ("weights", "event")}
    data = Dataset.from_arrays(own, columns["weights"], identity=columns["event"])
    return Process(name, data, poi or ())


@pytest.fixture(scope="session")
def world() -> SimpleNamespace:
    """Everything that a design needs, without scores."""
    columns = {"signal": events(1, 3000, 40.0), "background": events(2, 6000, 15.0)}
    return SimpleNamespace(
        columns=columns,
        processes=(process("signal", columns["signal"], "mu"), process("background", columns["background"])),
        scale=ShapeNuisance("scale", shift=scale, unit=0.02),
        smear=ShapeNuisance(
            "smear",
            shift=smear,
            coordinate=square(2.0),
            constraint=lognormal(1.0, 1.0),
            points=(1.0, 2.0, 3.0, 4.0),
            stochastic=True,
        ),
        recipe=Recipe(("pt", "phi"), threshold, {"ln_pt": "log(pt)"}),
        events=events,
        process=process,
    )


@pytest.fixture
def folder(tmp_path: Path, world: SimpleNamespace) -> Path:
    """The same as files, with a configuration that names them."""
    write_root(tmp_path / "signal.root", world.columns["signal"])
    write_root(tmp_path / "background.root", world.columns["background"])
    observed = events(3, 2000, 15.5)
    write_root(tmp_path / "data.root", {name: observed[name] for name in ("pt", "phi")})
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    return tmp_path


def write_root(path: Path, columns: dict[str, np.ndarray]) -> None:
    import uproot

    with uproot.recreate(path) as file:
        file["events"] = columns


@pytest.fixture
def write() -> object:
    return write_root
