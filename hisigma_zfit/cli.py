"""The command line: `hisigma measure | toys | plot | info`.  Thin; only commands that fit import TensorFlow."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hisigma_zfit import __version__
from hisigma_zfit.errors import HiSigmaError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see '{self.prog} --help'\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="hisigma", description="Unbinned inference on resonances with backgrounds learned from data (HI-SIGMA)."
    )
    parser.add_argument("--version", action="version", version=f"hisigma {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)

    measure = commands.add_parser(
        "measure",
        help="measure a signal yield from files",
        description="Train the densities, fit the data, and write tables, figures and result.json to a run folder. "
        "An interrupted run resumes when the same command is given again.",
    )
    measure.add_argument("--data", nargs="+", required=True, metavar="FILE", help="data (ROOT, HDF5 or Parquet)")
    measure.add_argument("--signal", nargs="+", required=True, metavar="FILE", help="simulated signal")
    measure.add_argument("--tree", help="tree in the files; may be left out where there is only one")
    measure.add_argument("--mass", required=True, metavar="NAME", help="column of the resonance mass")
    measure.add_argument("--range", nargs=2, type=float, required=True, metavar=("LO", "HI"), help="range of the mass")
    measure.add_argument(
        "--signal-region", nargs=2, type=float, required=True, metavar=("LO", "HI"), help="mass window of the signal"
    )
    measure.add_argument("--features", required=True, metavar="A,B,...", help="columns of the features")
    measure.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="NAME=EXPRESSION",
        help="define a column from branches, such as pt_over_m=pt/mass; may be repeated",
    )
    measure.add_argument(
        "--sideband-training", nargs="+", default=[], metavar="FILE", help="more events to train the background with"
    )
    for component, events in (("", "simulated signal"), ("background-", "events to train the background with")):
        measure.add_argument(
            f"--{component}systematic",
            action="append",
            default=[],
            metavar="NAME:UP:DOWN",
            help=f"nuisance with {events} at +1 and -1 standard deviations; may be repeated, and the same name for "
            "signal and background is one nuisance",
        )
    measure.add_argument(
        "--yield-systematic",
        action="append",
        default=[],
        metavar="NAME:FACTOR",
        help="nuisance that changes the expected signal by this factor at +1 standard deviation (log-normal), such as "
        "lumi:1.02; may be repeated",
    )
    measure.add_argument(
        "--interpolation", default="polyexp", metavar="FORM", help="between the variations: polyexp or quadratic"
    )
    measure.add_argument("--cut", metavar="EXPRESSION", help="selection applied to every file")
    measure.add_argument("--weight", metavar="EXPRESSION", help="weight of simulated signal events")
    measure.add_argument("--bootstraps", type=int, default=5, metavar="N", help="bootstrapped backgrounds (default 5)")
    measure.add_argument("--members", type=int, default=5, metavar="N", help="seeds of each model (default 5)")
    measure.add_argument(
        "--combine", default="envelope", metavar="METHOD", help="envelope, mixture, discrete or weights"
    )
    measure.add_argument(
        "--penalties", nargs="+", type=float, default=[], metavar="X", help="of the bootstraps in discrete profiling"
    )
    measure.add_argument("--sidebands", default="mass-only", metavar="RULE", help="mass-only (paper) or full")
    measure.add_argument("--seed", type=int, default=1, metavar="N", help="seed of every random step (default 1)")
    measure.add_argument("--flow", default="spline", metavar="KIND", help="density: spline (default) or maf")
    measure.add_argument("--preset", default="standard", metavar="NAME", help="training: quick, standard or paper")
    measure.add_argument("--out", required=True, metavar="FOLDER", help="run folder to be made")
    measure.add_argument("-v", "--verbose", action="store_true", help="log what is done")
    measure.set_defaults(run=_measure)

    toys = commands.add_parser(
        "toys",
        help="draw and fit pseudo-experiments of a run's model",
        description="Draw pseudo-experiments from the fitted model of a run, fit them, and write pulls, bias, coverage "
        "and expected results to a folder.  An interrupted study goes on when the same command is given again.",
    )
    toys.add_argument("folder", metavar="RUNFOLDER", help="a complete run folder")
    toys.add_argument("--n", type=int, default=1000, metavar="N", help="pseudo-experiments (default 1000)")
    toys.add_argument("--inject", type=float, metavar="S", help="true signal yield; the fitted one by default")
    toys.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the toys (default 1)")
    toys.add_argument("--limit", type=float, metavar="CL", help="also find upper limits at this level, such as 0.95")
    toys.add_argument(
        "--events",
        type=int,
        default=100_000,
        metavar="N",
        help="events of each component to draw from (default 100000)",
    )
    toys.add_argument("--processes", type=int, default=1, metavar="N", help="worker processes (default 1)")
    toys.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler to use instead, such as tcp://host:8786")
    toys.add_argument("--out", metavar="FOLDER", help="where to write; a folder in the run's own by default")
    toys.set_defaults(run=_toys)

    plot = commands.add_parser("plot", help="draw the figures of a run folder again")
    plot.add_argument("folder", metavar="FOLDER", help="a complete run folder")
    plot.add_argument("--to", metavar="FOLDER", help="where to write; the run's own figures/ by default")
    plot.set_defaults(run=_plot)

    info = commands.add_parser("info", help="show versions, or what a run folder or a data file holds")
    info.add_argument("path", nargs="?", metavar="PATH", help="a run folder or a data file")
    info.set_defaults(run=_info)
    return parser


def _columns(definitions: Sequence[str]) -> dict[str, str]:
    columns = {}
    for definition in definitions:
        name, equals, expression = definition.partition("=")
        if not (equals and name.strip() and expression.strip()):
            raise InputError.from_parts(
                expected="--column NAME=EXPRESSION", got=repr(definition), do="write it like pt_over_m=pt/mass"
            )
        columns[name.strip()] = expression.strip()
    return columns


def _variations(definitions: Sequence[str]) -> dict[str, tuple[str, str]]:
    variations = {}
    for definition in definitions:
        parts = [part.strip() for part in definition.split(":")]
        if len(parts) != 3 or not all(parts):
            raise InputError.from_parts(
                expected="a systematic as NAME:UP:DOWN", got=repr(definition), do="write it like jes:up.root:down.root"
            )
        if parts[0] in variations:
            raise InputError.from_parts(
                expected="each systematic once", got=f"{parts[0]!r} twice", do="give the others names of their own"
            )
        variations[parts[0]] = (parts[1], parts[2])
    return variations


def _factors(definitions: Sequence[str]) -> dict[str, float]:
    factors: dict[str, float] = {}
    for definition in definitions:
        name, _, factor = (part.strip() for part in definition.partition(":"))
        try:
            value = float(factor)
        except ValueError:
            name = ""
        if not name or name in factors:
            raise InputError.from_parts(
                expected="each yield systematic once, as NAME:FACTOR",
                got=repr(definition),
                do="write it like lumi:1.02 for 2 %",
            )
        factors[name] = value
    return factors


def _measure(arguments: argparse.Namespace) -> str:
    from hisigma_zfit.measurement import measure
    from hisigma_zfit.report import tables

    names = (
        *("data", "signal", "tree", "mass", "range", "signal_region", "sideband_training", "cut", "weight"),
        *("bootstraps", "members", "combine", "penalties", "sidebands", "seed", "flow", "preset", "interpolation"),
    )
    options = {name: getattr(arguments, name) for name in names}
    options |= {name: _variations(getattr(arguments, name)) for name in ("systematic", "background_systematic")}
    options["yield_systematic"] = _factors(arguments.yield_systematic)
    features = [name.strip() for name in arguments.features.split(",") if name.strip()]
    measurement = measure(
        out=arguments.out, quiet=False, features=features, columns=_columns(arguments.column), **options
    )
    return f"{tables.measurement(measurement)}\n\nwritten to {arguments.out}"


def _toys(arguments: argparse.Namespace) -> str:
    from hisigma_zfit.measurement.toys import study_toys
    from hisigma_zfit.report.toy_tables import toys

    names = ("n", "inject", "seed", "limit", "events", "processes", "scheduler", "out")
    summary, place = study_toys(arguments.folder, **{name: getattr(arguments, name) for name in names})
    return f"{toys(summary)}\n\nwritten to {place}"


def _plot(arguments: argparse.Namespace) -> str:
    from hisigma_zfit.measurement.stored import load_results
    from hisigma_zfit.report import plotting
    from hisigma_zfit.report.figures import measurement_figures

    results = load_results(arguments.folder)
    target = Path(arguments.to) if arguments.to else Path(arguments.folder) / "figures"
    target.mkdir(parents=True, exist_ok=True)
    figures = measurement_figures(
        results.measurement, results.projections, results.projections_enriched, results.scan, results.histories
    )
    for name, figure in figures.items():
        plotting.save(figure, target / name)
    return f"{len(figures)} figures written to {target}"


def _info(arguments: argparse.Namespace) -> str:
    from hisigma_zfit.runs.identity import package_versions

    if arguments.path is None:
        lines = [f"{name:24s} {version}" for name, version in package_versions().items()]
        return "\n".join([*lines, f"{'processor cores':24s} {os.cpu_count()}"])
    path = Path(arguments.path)
    if path.is_dir():
        from hisigma_zfit.measurement.stored import load_results
        from hisigma_zfit.report import tables

        return tables.measurement(load_results(path).measurement)
    from hisigma_zfit.data import describe

    return describe(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 if it is done, 2 if the user's input or options are wrong, 1 for anything else.
    """
    arguments = _parser().parse_args(argv)
    # before anything imports TensorFlow: its banner and zfit's word about it would bury our one line on stderr
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")
    logging.basicConfig(level=logging.INFO if getattr(arguments, "verbose", False) else logging.WARNING)
    try:
        print(arguments.run(arguments))
    except HiSigmaError as error:
        print(f"hisigma: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        print("hisigma: interrupted; give the same command again to go on from here", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
