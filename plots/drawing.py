"""What the figures of benchmarks share: numbers from a file, a figure in a folder."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hisigma_zfit.report import plotting

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure


def draw(figure: Callable[[dict[str, Any]], Figure], stem: str, text: str | None, benchmark: str) -> None:
    """Read the numbers that the command line names and draw them.

    Args:
        figure: Draws what is in the file.
        stem: Name of the figure.
        text: What the script says of itself.
        benchmark: Which script wrote the numbers.
    """
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("numbers", type=Path, help=f"what {benchmark} wrote")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder of the figure")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    plotting.save(figure(json.loads(options.numbers.read_text())), options.out / stem)
