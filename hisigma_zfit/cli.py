"""The command line: `hisigma measure | unblind | validate | search | cross-section | toys | export | plot | info ...`.

Only what fits imports TensorFlow.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hisigma_zfit import __version__
from hisigma_zfit.console import boundary, completion, progress
from hisigma_zfit.console.flags import Parser, add_common
from hisigma_zfit.errors import InputError
from hisigma_zfit.runs.answer import Answer, written
from hisigma_zfit.sharing.commands import describe_export, export_arguments, is_export

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "parser"]


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    whole = Parser(
        prog="hisigma", description="Unbinned inference on resonances with backgrounds learned from data (HI-SIGMA)."
    )
    whole.add_argument("--version", action="version", version=f"hisigma {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, parser_class=Parser)

    measure = commands.add_parser(
        "measure",
        help="measure a signal yield from files",
        description="Train the densities, fit the data, and write tables, figures and result.json to a run folder. "
        "An interrupted run resumes when the same command is given again.",
    )
    measure.fill = _measure_arguments
    add_common(measure)
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
    add_common(unblind)
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
    add_common(validate)
    validate.set_defaults(run=_validate)

    search = commands.add_parser(
        "search",
        help="search a mass window for a signal that nobody has described",
        description="Learn the background from the sidebands, search the signal region for lumps over it, and write "
        "test statistic, p-value, yields and properties of the signal, tables, figures and result.json to a run "
        "folder.  An interrupted run resumes when the same command is given again.",
    )
    search.fill = _search_arguments
    add_common(search)
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
    add_common(section)
    section.set_defaults(run=_cross_section)

    export = commands.add_parser(
        "export",
        help="write a measurement to one file that others can evaluate, combine and keep",
        description="Write densities, shapes, parameters, constraints, options, checksums and tables of a finished "
        "measurement to one zip file, without its data and without code, and check that it gives the run's likelihood "
        "again.  hz.load_analysis reads it; hs3.json and hepdata/ in it are for other programs.",
    )
    export_arguments(export)
    add_common(export, folder=False)
    export.set_defaults(run=_export)

    toys = commands.add_parser(
        "toys",
        help="draw and fit pseudo-experiments of a run's model",
        description="Draw pseudo-experiments from the fitted model of a run, fit them, and write pulls, bias, coverage "
        "and expected results to a folder.  An interrupted study goes on when the same command is given again.",
    )
    _toy_arguments(toys)
    add_common(toys)
    toys.set_defaults(run=_toys)

    plot = commands.add_parser(
        "plot",
        help="draw the figures of a run folder again, with other words if wanted, and write its page",
        description="Draw the figures of a finished run again, and write its page.  Words, units and titles that are "
        "given take the place of the run's own, and stay with it unless --to names another place.",
    )
    plot.add_argument("folder", metavar="FOLDER", help="a complete run folder, or one of pseudo-experiments")
    plot.add_argument("--to", metavar="FOLDER", help="where to write; figures/ and report.html of the run by default")
    plot.fill = _plot_arguments
    add_common(plot, folder=False)
    plot.set_defaults(run=_plot)

    info = commands.add_parser("info", help="show versions, or what a run folder, an export or a data file holds")
    info.add_argument("path", nargs="?", metavar="PATH", help="a run folder, an export or a data file")
    add_common(info, folder=False)
    info.set_defaults(run=_info)

    complete = commands.add_parser(
        "completion",
        help="print a script that completes this command line in a shell",
        description='Print a script for the shell\'s start file, such as ~/.bashrc: eval "$(hisigma completion bash)"',
    )
    complete.add_argument("shell", choices=completion.SHELLS, help="the shell")
    complete.set_defaults(run=_completion)
    return whole


def _toy_arguments(toys: argparse.ArgumentParser) -> None:
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


def _measure_arguments(measure: argparse.ArgumentParser) -> None:
    from hisigma_zfit.configuration.arguments import add_arguments
    from hisigma_zfit.measurement.options import MeasureOptions

    add_arguments(measure, MeasureOptions)
    measure.add_argument("--out", metavar="FOLDER", help="run folder to be made")
    measure.add_argument("--processes", type=int, default=1, metavar="N", help="worker processes for trainings")
    measure.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler that trains instead, as for toys")


def _measure(arguments: argparse.Namespace) -> Answer:
    from hisigma_zfit.configuration.arguments import given_options
    from hisigma_zfit.measurement import measure
    from hisigma_zfit.measurement.options import MeasureOptions
    from hisigma_zfit.measurement.stored import load_any

    options = given_options(arguments, MeasureOptions, required=("out",))
    where = {name: getattr(arguments, name) for name in ("out", "config", "processes", "scheduler")}
    measure(**where, **_said(arguments), **options)
    return written(load_any(arguments.out).table(), arguments.out)


def _said(arguments: argparse.Namespace) -> dict[str, Any]:
    """What every task that makes a folder is told."""
    return {name: getattr(arguments, name, False) for name in ("quiet", "overwrite")}


def _unblind(arguments: argparse.Namespace) -> Answer:
    from hisigma_zfit.measurement.unblinding import unblinded_folder
    from hisigma_zfit.unblinding import unblind

    place = arguments.out or unblinded_folder(arguments.folder)
    unblind(arguments.folder, out=place, processes=arguments.processes, **_said(arguments))
    return written(str(_stored(place).table()), place)


def _validate_arguments(validate: argparse.ArgumentParser) -> None:
    from hisigma_zfit.configuration.arguments import add_arguments
    from hisigma_zfit.validation.options import ValidateOptions

    add_arguments(validate, ValidateOptions)
    validate.add_argument("--out", metavar="FOLDER", help="run folder to be made")
    validate.add_argument("--processes", type=int, default=1, metavar="N", help="worker processes (default 1)")
    validate.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler to use instead, as for toys")


def _validate(arguments: argparse.Namespace) -> Answer:
    from hisigma_zfit.configuration.arguments import given_options
    from hisigma_zfit.report.validation_page import as_text
    from hisigma_zfit.validation import validate
    from hisigma_zfit.validation.options import ValidateOptions

    options = given_options(arguments, ValidateOptions, required=("out",))
    where = {name: getattr(arguments, name) for name in ("out", "config", "processes", "scheduler")}
    found = validate(**where, **_said(arguments), **options)
    return written(as_text(found), arguments.out)


def _cross_section_arguments(section: argparse.ArgumentParser) -> None:
    from hisigma_zfit.crosssection.arguments import add_arguments

    add_arguments(section)


def _cross_section(arguments: argparse.Namespace) -> Answer:
    from hisigma_zfit.crosssection.arguments import options_of

    if arguments.action == "toys":
        from hisigma_zfit.crosssection.study import coverage_command

        table, place = coverage_command(arguments)
        return Answer(f"{table}\n\nwritten to {place}", place / "toys.json")
    options = options_of(arguments)
    if arguments.action == "check":
        from hisigma_zfit.crosssection.checking import check

        text = check(options)
        config = arguments.file or arguments.check_config or arguments.config
        return Answer(text, {"config": config, "found": text.splitlines()})
    if arguments.out is None:
        raise InputError("the following arguments are required: --out; see --help")
    from hisigma_zfit.crosssection.pipeline import run_cross_section
    from hisigma_zfit.crosssection.stored import load_cross_section

    processes = 1 if arguments.processes is None else arguments.processes
    where = {"processes": processes, "scheduler": arguments.scheduler}
    run_cross_section(options, out=arguments.out, **where, **_said(arguments))
    return written(load_cross_section(arguments.out).table(), arguments.out)


def _search_arguments(search: argparse.ArgumentParser) -> None:
    from hisigma_zfit.anomaly.options import SearchOptions
    from hisigma_zfit.configuration.arguments import add_arguments

    add_arguments(search, SearchOptions)
    search.add_argument("--kind", dest="kinds", action="append", help=argparse.SUPPRESS)  # told why there is none
    search.add_argument("--out", metavar="FOLDER", help="run folder to be made")
    search.add_argument("--processes", type=int, default=1, metavar="N", help="worker processes for toys (default 1)")
    search.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler to use instead, as for toys")


def _search(arguments: argparse.Namespace) -> Answer:
    from hisigma_zfit.anomaly import search
    from hisigma_zfit.anomaly.options import SearchOptions
    from hisigma_zfit.configuration.arguments import given_options

    options = given_options(arguments, SearchOptions, required=("out",))
    if arguments.kinds:
        options["kinds"] = dict(words.partition("=")[::2] for words in arguments.kinds)
    where = {name: getattr(arguments, name) for name in ("out", "config", "processes", "scheduler")}
    return written(str(search(**where, **_said(arguments), **options)), arguments.out)


def _export(arguments: argparse.Namespace) -> Answer:
    from hisigma_zfit.sharing.exporting import export_analysis

    path = export_analysis(arguments.folder, arguments.file, overwrite=arguments.overwrite, onnx=arguments.onnx)
    text = f"{describe_export(path)}\n\nwritten to {path}; the data are not in it"
    return Answer(text, {"file": str(path)})


def _toys(arguments: argparse.Namespace) -> Answer:
    from hisigma_zfit.measurement.toys import study_toys
    from hisigma_zfit.report.toy_tables import toys

    names = ("n", "inject", "seed", "limit", "events", "processes", "scheduler", "out")
    options = {name: getattr(arguments, name) for name in names}
    summary, place = study_toys(arguments.folder, overwrite=getattr(arguments, "overwrite", False), **options)
    return written(toys(summary), place, "summary.json")


def _plot_arguments(plot: argparse.ArgumentParser) -> None:
    from hisigma_zfit.configuration.arguments import add_flags
    from hisigma_zfit.configuration.figures import FigureOptions

    add_flags(plot, FigureOptions)


def _plot(arguments: argparse.Namespace) -> Answer:
    from hisigma_zfit.configuration.arguments import given_options
    from hisigma_zfit.configuration.figures import FigureOptions
    from hisigma_zfit.runs.redrawing import redraw

    words = FigureOptions.build(**given_options(arguments, FigureOptions)).figure_words()
    drawn = redraw(_stored(arguments.folder), arguments.folder, to=arguments.to, words=words)
    text = f"{len(drawn.figures)} figures written to {drawn.folder}, all of them with the numbers to {drawn.page}"
    return Answer(text, {"folder": str(drawn.folder), "figures": list(drawn.figures), "page": str(drawn.page)})


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
        from hisigma_zfit.validation.stored import load_validation_results

        return load_validation_results(folder)
    if task is None and (Path(folder) / "summary.json").exists():
        from hisigma_zfit.runs.toys import load_toy_results

        return load_toy_results(folder)
    if task is None and (Path(folder) / "study.json").exists():
        from hisigma_zfit.crosssection.coverage_results import load_coverage

        return load_coverage(folder)
    from hisigma_zfit.measurement.stored import load_any

    return load_any(folder)


def _task_of(folder: str | Path) -> str | None:
    from hisigma_zfit.runs.identity import stored_identity

    return (stored_identity(Path(folder)) or {}).get("task")


def _info(arguments: argparse.Namespace) -> Answer:
    from hisigma_zfit.runs.identity import package_versions

    if arguments.path is None:
        versions = {**package_versions(), "processor cores": str(os.cpu_count())}
        return Answer("\n".join(f"{name:24s} {version}" for name, version in versions.items()), versions)
    path = Path(arguments.path)
    if path.is_dir():
        name = "result.json" if (path / "result.json").exists() else "summary.json"
        return Answer(str(_stored(path).table()), path / name)
    if is_export(path):
        text = describe_export(path)
        return Answer(text, {"path": str(path), "found": text.splitlines()})
    from hisigma_zfit.data import describe

    text = describe(path)
    return Answer(text, {"path": str(path), "found": text.splitlines()})


def _completion(arguments: argparse.Namespace) -> Answer:
    return Answer(completion.script(parser(), arguments.shell).rstrip("\n"), {})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 if it is done, 2 if the user's input or options are wrong, 130 after Ctrl-C, 1 for anything else.
    """
    return boundary.guarded(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    arguments = parser().parse_args(argv)
    quiet, as_json = (getattr(arguments, name, False) for name in ("quiet", "json"))
    boundary.set_up_logging(verbose=getattr(arguments, "verbose", False))
    if getattr(arguments, "scheduler", None) is not None:
        from hisigma_zfit.workers import require_scheduler

        require_scheduler(arguments.scheduler)
    with progress.shown("none" if quiet else "lines"), contextlib.ExitStack() as outputs:
        if as_json:  # whatever a library prints is not part of the document
            outputs.enter_context(contextlib.redirect_stdout(sys.stderr))
        answer: Answer = arguments.run(arguments)
    if as_json:
        boundary.say(answer.json())
    elif not quiet or arguments.command == "info":
        boundary.say(answer.text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
