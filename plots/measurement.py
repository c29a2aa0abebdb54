"""Redraw the figures of a finished measurement: ``python plots/measurement.py RUNFOLDER [--out FOLDER]``.

Among them are figures 5 and 6 of arXiv:2506.06438.  For figure 6 the paper cuts on the score of a classifier, above
0.9; here the events are those where the fitted density ratio of the features favours signal, which needs no classifier.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from hisigma_zfit.errors import InputError
from hisigma_zfit.measurement.stored import load_results
from hisigma_zfit.report import plotting


def main(arguments: list[str] | None = None) -> int:
    """Read the results of a run folder and write its figures."""
    parser = argparse.ArgumentParser(description="Redraw the figures of a finished measurement.")
    parser.add_argument("run", type=Path, help="run folder that `hisigma measure` wrote")
    parser.add_argument("--out", type=Path, help="where the figures go (default: RUN/figures)")
    parser.add_argument("--experiment", help="name above the frames, in place of the run's own")
    parser.add_argument("--label", help="what the figures are, in place of the run's own")
    parser.add_argument("--luminosity", help="in fb-1 or with a unit, in place of the run's own")
    parser.add_argument("--energy", help="in TeV or with a unit, in place of the run's own")
    options = parser.parse_args(arguments)
    try:
        results = load_results(options.run)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    out = options.out or options.run / "figures"
    out.mkdir(parents=True, exist_ok=True)
    given = {name: getattr(options, name) for name in ("experiment", "label", "luminosity", "energy")}
    words = {name: text for name, text in given.items() if text is not None}
    results = replace(results, presentation=replace(results.presentation, **words))
    for name, figure in results.figures().items():
        plotting.save(figure, out / name)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
