"""The scripts of the studies are no package: these folders are where their tests import from."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# analyses/crosssection is imported by its full name, as its configuration does
sys.path[:0] = [str(ROOT / "analyses" / "dihiggs" / "simulation"), str(ROOT)]
