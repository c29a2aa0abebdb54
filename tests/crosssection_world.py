"""The analytic cross-section of `ratio_toy` as an analyst has it: files, functions, and a YAML that names both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import ratio_toy
import uproot
import yaml

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MOVE", "TOY", "World", "write_root"]

MOVE = 0.1
"""Of the first feature by a unit of the scale."""

TOY = ratio_toy.Toy(
    size=(150.0, 1500.0), move=(MOVE, MOVE), rate=((0.0, 0.0), (0.0, 0.0)), bins=((), ()), bin_rate=((0.0, 0.0),) * 2
)
"""All events unbinned with exact ratios: what no fit of learned ones is better than."""

FUNCTIONS = f"""
def scale(columns, value):
    return {{**columns, "x": columns["x"] + {MOVE} * value}}


def smearing(columns, value, rng):
    return {{**columns, "y": columns["y"] + value * rng.standard_normal(len(columns["y"]))}}
"""


@dataclass(frozen=True)
class World:
    """Files in a folder.

    Attributes:
        folder: Where they are.
        rows: Simulated rows of signal and background.
    """

    folder: Path
    rows: tuple[int, int] = (3000, 6000)

    def write(self, seed: int = 1) -> World:
        """Make the files of simulation and data."""
        for p, name in enumerate(TOY.processes):
            write_root(self.folder / f"{name}.root", self.simulated(p, seed))
        write_root(self.folder / "data.root", self.observed(seed))
        (self.folder / "shifts.py").write_text(FUNCTIONS)
        return self

    def simulated(self, process: int, seed: int = 1) -> dict[str, np.ndarray]:
        """Columns of a process with weights and identity."""
        rng, n = np.random.default_rng((seed, process)), self.rows[process]
        x = TOY.nominal(process, n, rng)
        return {
            "x": x[:, 0],
            "y": x[:, 1],
            "weights": np.full(n, TOY.size[process] / n),
            "event": np.arange(n, dtype=np.int64) + 7,
        }

    def observed(self, seed: int = 1, mu: float = 1.5) -> dict[str, np.ndarray]:
        """Columns of data: one experiment at mu and nominal values of the nuisances."""
        x, _ = TOY.events(np.array([mu, 0.0, 0.0, 0.0]), np.random.default_rng((seed, 99)))
        return {"x": x[:, 0], "y": x[:, 1]}

    def content(self, **changes: Any) -> dict[str, Any]:
        """What the YAML says, with other values of some keys; None leaves one out."""
        shifts = self.folder / "shifts.py"
        own: dict[str, Any] = {
            "tree": "events",
            "columns": {"x": "x", "y": "y"},
            "weight": "weights",
            "identity": "event",
            "processes": {
                "signal": {"files": str(self.folder / "signal.root"), "poi": "mu", "shape": "learned"},
                "background": {"files": str(self.folder / "background.root"), "shape": "learned"},
            },
            "nuisances": {
                "scale": {"shift": f"{shifts}:scale", "points": [-2, -1, 1, 2]},
                "smearing": {
                    "shift": f"{shifts}:smearing",
                    "coordinate": {"square": 2.0 * TOY.median},
                    "constraint": {"lognormal": [TOY.median, TOY.spread]},
                    "points": [0.25, 0.5, 0.75],
                    "stochastic": True,
                },
                "size": {"norm": {"background": TOY.norm}},
            },
            "features": ["x", "y"],
            "posterior": {"kind": "network"},  # of so few events, trees are too coarse
            "exponents": {"hidden": [12]},
            "regions": {
                "U": {"unbinned": "score.signal > 0.01"},
                "C": {"counting": "else", "bins": {"x": [-20, -1.4, -0.9, 20]}},
            },
            "held_back": 0.0,
            "inference": {"compare": ["counting", "binned-8", "unbinned-uncalibrated"]},
            "uncertainty": {"what": "templates"},
            "preset": "quick",
            "seed": 3,
        }
        return {name: value for name, value in (own | changes).items() if value is not None}

    def config(self, name: str = "analysis", **changes: Any) -> Path:
        """The YAML on disk; see `content`."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(self.content(**changes), sort_keys=False))
        return path


def write_root(path: Path, columns: dict[str, np.ndarray]) -> None:
    """A tree of the name ``events``."""
    with uproot.recreate(path) as file:
        file["events"] = columns
