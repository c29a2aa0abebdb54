"""Small input files and whole command lines, for the tests that go from end to end."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import truth
import uproot

from hisigma_zfit import cli

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

N_BACKGROUND, N_SIGNAL = 3500, 80
OPTIONS = {
    "--mass": "m",
    "--range": ("90", "180"),
    "--signal-region": ("115", "135"),
    "--features": "a,b",
    "--bootstraps": "2",
    "--members": "1",
    "--preset": "quick",
    "--combine": "envelope",
}


# the same for `hz.measure`
MEASURE = {
    "mass": "m",
    "range": (90, 180),
    "signal_region": (115, 135),
    "features": ["a", "b"],
    "bootstraps": 2,
    "members": 1,
    "preset": "quick",
    "combine": "envelope",
}


@dataclass(frozen=True)
class Outcome:
    """What a shell would see of one command."""

    code: int
    out: str
    err: str


def hisigma(*arguments: str | Path) -> Outcome:
    """Run ``hisigma ARGUMENTS`` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse leaves in this way
            code = int(stop.code or 0)
    # how far it is, which only a slow machine says
    said = [line for line in err.getvalue().splitlines(keepends=True) if not line.startswith("      ")]
    return Outcome(code, out.getvalue(), "".join(said))


def measure(folder: Path, out: Path, changes: Mapping[str, str | tuple[str, ...] | None] | None = None) -> list[str]:
    """Command line of a measurement of the files in `folder`; `changes` replace options, or with None remove them."""
    options = {"--data": str(folder / "data.root"), "--signal": str(folder / "signal.root"), **OPTIONS}
    options |= {"--out": str(out), **(changes or {})}
    line = ["measure"]
    for name, value in options.items():
        if value is not None:
            line += [name, *([value] if isinstance(value, str) else value)]
    return line


def write(path: Path, columns: Mapping[str, np.ndarray], tree: str = "events") -> None:
    """Write one TTree."""
    with uproot.recreate(path) as file:
        file.mktree(tree, {name: values.dtype for name, values in columns.items()}).extend(dict(columns))


def write_inputs(folder: Path) -> None:
    """Data with a signal of about six sigma in them, and simulated signal."""
    background = truth.BACKGROUND.columns(N_BACKGROUND, seed=1)
    signal = truth.SIGNAL.columns(N_SIGNAL, seed=2)
    write(folder / "data.root", {name: np.concatenate([background[name], signal[name]]) for name in background})
    simulated = truth.SIGNAL.columns(2500, seed=3)
    write(folder / "signal.root", simulated | {"w": np.where(np.arange(2500) < 3, -0.5, 1.0)})
