"""The scripts of the simulation are no package: their folder is where its tests import from."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "analyses" / "dihiggs" / "simulation"))
