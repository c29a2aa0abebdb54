"""The command line: `hisigma measure | unblind | validate | search | cross-section | export | toys | plot | info`.

Only what fits imports TensorFlow.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hisigma_zfit import __version__
from hisigma_zfit.errors import HiSigmaError, InputError
from hisigma_zfit.sharing.commands import add_export, describe_export, is_export

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main", "parser"]


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and which gets its arguments when it is asked to read some.

    Attributes:
        fill: Adds the arguments; those of a task need its options, which the other commands need not wait for.
    """

    fill: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, *words: Any, **options: Any) -> Any:
        """Read the arguments; see argparse."""
        if self.fill is not None:
            self.fill(self)
            self.fill = None
        return super().parse_known_args(*words, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see '{self.prog} --help'\n")


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    whole = _Parser(
        prog="hisigma", description="Unbinned inference on resonances with backgrounds learned from data (HI-SIGMA)."
    )
    whole.add_argument("--version", action="version", version=f"hisigma {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, parser_class=_Parser)

    measure = commands.add_parser(
        "measure",
        help="measure a signal yield from files",
        description="Train the densities, fit the data, and write tables, figures and result.json to a run folder. "
        "An interrupted run resumes when the same command is given again.",
    )
    measure.fill = _measure_arguments
    measure.set_defaults(run=_measure)

    unblind = commands.add_parser(
        "unblind",
        help="open the signal region of a blind run",
        description="Measure what a blind run has prepared, with its options and trained members, and record when the "
        "signal region was first opened.  Refused if inputs, options or members have changed since.",
    )
    unblind.add_argument("folder", metavar="RUNFOLDER", help="a complete blind run")
    unblind.add_argument("--out", metavar="FOLDER", help="run folder to be made; RUNFOLDER-unblinded by default")
    unblind.add_argument("--processes", type=int, default=1, metavar="N", help="worker processes for a search's toys")
    unblind.set_defaults(run=_unblind)

    validate = commands.add_parser(
        "validate",
        help="try a measurement on its own files without looking at the signal region",
        description="Train and fit pseudo-signal regions of the sidebands and pseudo-experiments with injected signal, "
        "compare trainings, and write a page with a verdict and the systematic uncertainty to quote to a run folder.  "
        "Takes the options and the configuration file of a measurement, and the time of about ten.  An interrupted "
        "validation goes on when the same command is given again.",
    )
    validate.fill = _validate_arguments
    validate.set_defaults(run=_validate)

    search = commands.add_parser(
        "search",
        help="search a mass window for a signal that nobody has described",
        description="Learn the background from the sidebands, search the signal region for lumps over it, and write "
        "test statistic, p-value, yields and properties of the signal, tables, figures and result.json to a run "
        "folder.  An interrupted run resumes when the same command is given again.",
    )
    search.fill = _search_arguments
    search.set_defaults(run=_search)

    section = commands.add_parser(
        "cross-section",
        help="measure a signal strength from unbinned events with learned systematics",
        description="Learn ratios of simulated processes and their systematic variations, fit the data or an Asimov "
        "set, and write tables, figures and result.json to a run folder.  An interrupted run resumes when the same "
        "command is given again.  'hisigma cross-section check FILE' checks a configuration, 'hisigma cross-section "
        "toys RUNFOLDER' measures coverage.",
    )
    section.fill = _cross_section_arguments
    section.set_defaults(run=_cross_section)

    add_export(commands)

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

    plot = commands.add_parser("plot", help="draw the figures of a run folder again, and write its page")
    plot.add_argument("folder", metavar="FOLDER", help="a complete run folder, or one of pseudo-experiments")
    plot.add_argument("--to", metavar="FOLDER", help="where to write; figures/ and report.html of the run by default")
    plot.set_defaults(run=_plot)

    info = commands.add_parser("info", help="show versions, or what a run folder, an export or a data file holds")
    info.add_argument("path", nargs="?", metavar="PATH", help="a run folder, an export or a data file")
    info.set_defaults(run=_info)
    return whole


def _measure_arguments(measure: argparse.ArgumentParser) -> None:
    from hisigma_zfit.configuration.arguments import add_arguments
    from hisigma_zfit.measurement.options import MeasureOptions

    add_arguments(measure, MeasureOptions)
    measure.add_argument("--out", metavar="FOLDER", help="run folder to be made")
    measure.add_argument("-v", "--verbose", action="store_true", help="log what is done")


def _measure(arguments: argparse.Namespace) -> str:
    from hisigma_zfit.configuration.arguments import given_options
    from hisigma_zfit.measurement import measure
    from hisigma_zfit.measurement.options import MeasureOptions
    from hisigma_zfit.measurement.stored import load_any

    options = given_options(arguments, MeasureOptions, required=("out",))
    measure(out=arguments.out, config=arguments.config, quiet=False, **options)
    return _with_place(load_any(arguments.out).table(), arguments.out)


def _with_place(table: str, place: str | Path) -> str:
    """A table, and where the rest is."""
    return f"{table}\n\nwritten to {place}: see {Path(place) / 'report.html'}"


def _unblind(arguments: argparse.Namespace) -> str:
    from hisigma_zfit.measurement.unblinding import unblind, unblinded_folder
    from hisigma_zfit.report import tables

    place = arguments.out or unblinded_folder(arguments.folder)
    if _task_of(arguments.folder) == "cross-section":
        from hisigma_zfit.crosssection.stored import load_cross_section
        from hisigma_zfit.crosssection.unblinding import unblind as unblind_section

        unblind_section(arguments.folder, out=place, quiet=False, processes=arguments.processes)
        return _with_place(load_cross_section(place).table(), place)
    if _task_of(arguments.folder) == "search":
        from hisigma_zfit.anomaly.unblinding import unblind as unblind_search

        found = unblind_search(arguments.folder, out=place, quiet=False, processes=arguments.processes)
        return _with_place(str(found), place)
    measurement = unblind(arguments.folder, out=place, quiet=False)
    return _with_place(tables.measurement(measurement), place)


def _validate_arguments(validate: argparse.ArgumentParser) -> None:
    from hisigma_zfit.configuration.arguments import add_arguments
    from hisigma_zfit.validation.options import ValidateOptions

    add_arguments(validate, ValidateOptions)
    validate.add_argument("--out", metavar="FOLDER", help="run folder to be made")
    validate.add_argument("--processes", type=int, default=1, metavar="N", help="worker processes (default 1)")
    validate.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler to use instead, as for toys")
    validate.add_argument("-v", "--verbose", action="store_true", help="log what is done")


def _validate(arguments: argparse.Namespace) -> str:
    from hisigma_zfit.configuration.arguments import given_options
    from hisigma_zfit.report.validation_page import as_text
    from hisigma_zfit.validation import validate
    from hisigma_zfit.validation.options import ValidateOptions

    options = given_options(arguments, ValidateOptions, required=("out",))
    where = {name: getattr(arguments, name) for name in ("out", "config", "processes", "scheduler")}
    found = validate(**where, quiet=False, **options)
    return _with_place(as_text(found), arguments.out)


def _cross_section_arguments(section: argparse.ArgumentParser) -> None:
    from hisigma_zfit.crosssection.arguments import add_arguments

    add_arguments(section)


def _cross_section(arguments: argparse.Namespace) -> str:
    from hisigma_zfit.crosssection.arguments import options_of

    if arguments.action == "toys":
        from hisigma_zfit.crosssection.study import coverage_command

        return coverage_command(arguments)
    options = options_of(arguments)
    if arguments.action == "check":
        from hisigma_zfit.crosssection.checking import check

        return check(options)
    if arguments.out is None:
        raise InputError("the following arguments are required: --out; see --help")
    from hisigma_zfit.crosssection.pipeline import run_cross_section
    from hisigma_zfit.crosssection.stored import load_cross_section

    run_cross_section(options, out=arguments.out, quiet=False, processes=arguments.processes)
    return _with_place(load_cross_section(arguments.out).table(), arguments.out)


def _search_arguments(search: argparse.ArgumentParser) -> None:
    from hisigma_zfit.anomaly.options import SearchOptions
    from hisigma_zfit.configuration.arguments import add_arguments

    add_arguments(search, SearchOptions)
    search.add_argument("--out", metavar="FOLDER", help="run folder to be made")
    search.add_argument("--processes", type=int, default=1, metavar="N", help="worker processes for toys (default 1)")
    search.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler to use instead, as for toys")
    search.add_argument("-v", "--verbose", action="store_true", help="log what is done")


def _search(arguments: argparse.Namespace) -> str:
    from hisigma_zfit.anomaly import search
    from hisigma_zfit.anomaly.options import SearchOptions
    from hisigma_zfit.configuration.arguments import given_options

    options = given_options(arguments, SearchOptions, required=("out",))
    where = {name: getattr(arguments, name) for name in ("out", "config", "processes", "scheduler")}
    return _with_place(str(search(**where, quiet=False, **options)), arguments.out)


def _toys(arguments: argparse.Namespace) -> str:
    from hisigma_zfit.measurement.toys import study_toys
    from hisigma_zfit.report.toy_tables import toys

    names = ("n", "inject", "seed", "limit", "events", "processes", "scheduler", "out")
    summary, place = study_toys(arguments.folder, **{name: getattr(arguments, name) for name in names})
    return _with_place(toys(summary), place)


def _plot(arguments: argparse.Namespace) -> str:
    from hisigma_zfit.files import write_text
    from hisigma_zfit.report import plotting

    results, folder = _stored(arguments.folder), Path(arguments.folder)
    target = Path(arguments.to) if arguments.to else folder / "figures"
    page = (target if arguments.to else folder) / "report.html"
    target.mkdir(parents=True, exist_ok=True)
    figures = results.figures()
    for name, figure in figures.items():
        plotting.save(figure, target / name)
    write_text(page, results.page(folder, figures))
    return f"{len(figures)} figures written to {target}, all of them with the numbers to {page}"


def _stored(folder: str | Path) -> Any:
    """Results of a run, which can be shown and drawn."""
    task = _task_of(folder)
    if task == "search":
        from hisigma_zfit.anomaly.stored import load_search

        return load_search(folder)
    if task == "cross-section":
        from hisigma_zfit.crosssection.stored import load_cross_section

        return load_cross_section(folder)
    if task == "validate":
        from hisigma_zfit.validation.stored import ValidationResults, load_validation

        return ValidationResults(load_validation(folder))
    if task is None and (Path(folder) / "summary.json").exists():
        from hisigma_zfit.runs.toys import ToyResults, load_toys

        return ToyResults(load_toys(folder))
    if task is None and (Path(folder) / "study.json").exists():
        from hisigma_zfit.crosssection.coverage_results import load_coverage

        return load_coverage(folder)
    from hisigma_zfit.measurement.stored import load_any

    return load_any(folder)


def _task_of(folder: str | Path) -> str | None:
    from hisigma_zfit.runs.identity import stored_identity

    return (stored_identity(Path(folder)) or {}).get("task")


def _info(arguments: argparse.Namespace) -> str:
    from hisigma_zfit.runs.identity import package_versions

    if arguments.path is None:
        lines = [f"{name:24s} {version}" for name, version in package_versions().items()]
        return "\n".join([*lines, f"{'processor cores':24s} {os.cpu_count()}"])
    path = Path(arguments.path)
    if path.is_dir():
        return str(_stored(path).table())
    if is_export(path):
        return describe_export(path)
    from hisigma_zfit.data import describe

    return describe(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 if it is done, 2 if the user's input or options are wrong, 1 for anything else.
    """
    arguments = parser().parse_args(argv)
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
