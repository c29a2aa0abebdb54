"""The columns of the di-Higgs samples, for the figures that show them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "analyses" / "dihiggs"))

from samples import COLUMNS, FEATURES, MASS, SAMPLES, SIGNAL_REGION, WORDS

import hisigma_zfit as hz

__all__ = ["FEATURES", "MASS", "REGION", "SIMULATION", "read"]

REGION = hz.SignalRegion(*SIGNAL_REGION)
SIMULATION = hz.results.Presentation(**WORDS)


def read(name: str) -> hz.Dataset:
    """Read a sample such as ``"signal"`` with the paper's features."""
    return hz.read(SAMPLES / f"{name}.root", columns=COLUMNS)
