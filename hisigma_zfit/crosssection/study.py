"""From a run folder to the coverage of its intervals: what ``hisigma cross-section toys`` does.

toys/study.json          what decides the toys, and the versions used
toys/draws/NUMBER.json   one draw of the nuisances with its toys
toys/toys.json           what all of them say together
toys/table.txt, toys/figures/, toys/report.html
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hisigma_zfit.console.progress import counted
from hisigma_zfit.crosssection.coverage_results import CoverageResults
from hisigma_zfit.crosssection.restoring import UNBINNED, require_methods, restored, stored_settings
from hisigma_zfit.errors import InputError
from hisigma_zfit.files import disk_errors, write_text
from hisigma_zfit.results import CoverageDraw, CoverageStudy, Presentation
from hisigma_zfit.runs.identity import stored_identity
from hisigma_zfit.runs.page import PAGE
from hisigma_zfit.runs.redrawing import write_words
from hisigma_zfit.runs.studies import StudyPlace
from hisigma_zfit.statistics.coverage import coverage_study
from hisigma_zfit.statistics.intervals import ONE_SIGMA
from hisigma_zfit.stored_files import read_text
from hisigma_zfit.workers import finished

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Integers
    from hisigma_zfit.crosssection.draws import DrawPlan
    from hisigma_zfit.crosssection.options import CrossSectionOptions

__all__ = ["coverage", "coverage_arguments", "coverage_command", "study_coverage"]

_log = logging.getLogger(__name__)

FILE = "study.json"
SCHEMA = "hisigma-zfit/cross-section-draws/1"
METHODS = (UNBINNED, "binned-20")
MANY = 2.0  # expected copies of a row from which on few rows begin to carry the toys


def coverage(
    run: str | Path,
    *,
    draws: int = 50,
    toys: int = 20,
    mu: tuple[float, float] = (0.1, 3.0),
    nuisances: Literal["random", "fixed"] = "random",
    numbers: Literal["new", "design"] = "new",
    methods: Sequence[str] = METHODS,
    seed: int = 1,
    processes: int = 1,
    scheduler: Any = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> CoverageStudy:
    """Count how often the intervals of a cross-section hold the truth.

    For each draw of the nuisances the simulation is shifted to them and scored by models that have not seen its events;
    each toy has a Poisson number of copies of every row.  All nuisances are profiled.  The rows are those that were
    learned from, so that the error of the finite simulation is not in the coverage.  A row with a large weight stands
    in a toy many times; the largest weights and the effective number of rows are logged.

    An interrupted study goes on when it is called again, and a longer one begins with the draws of a shorter one.

    Args:
        run: Folder of a finished cross-section, whose files are still in their places.
        draws: Draws of the nuisances.
        toys: Toys of each draw.
        mu: The true parameter of interest (the first one) is flat between these; equal ends fix it.
        nuisances: "random": true nuisances are drawn from their priors and auxiliary measurements stay at the centre,
            as in the FAIR-Universe challenge; "fixed": true nuisances stay at the centre and auxiliary measurements are
            drawn, as is done for nuisances with files or weights in both cases.
        numbers: Random numbers of stochastic shifts: "new" ones as data have them, or those of the "design", which take
            their fluctuations out.
        methods: "unbinned", "unbinned-uncalibrated", "counting" or "binned-N".
        seed: Same seed, same toys.
        processes: Worker processes on this machine.
        scheduler: Address of a Dask scheduler to be used instead.
        out: Folder of the study; ``toys`` in the run folder by default.
        overwrite: Replace toys of other options.
        progress: Show a bar on stderr; by default on terminals.

    Returns:
        What is in ``toys.json``; a table and figures are beside it.

    Raises:
        InputError: Options are wrong, or a file that the run was made of is missing or has changed.
        RunFolderError: `run` is no finished cross-section, or `out` holds toys of other options.
        FitError: A worker process died.

    Example:
        >>> study = hz.coverage("runs/xsec", draws=50, toys=20)  # doctest: +SKIP
        >>> study.methods["unbinned"].coverage  # doctest: +SKIP
        0.68
    """
    options = locals()
    return study_coverage(options.pop("run"), **options)[0]


def study_coverage(
    run: str | Path,
    *,
    draws: int,
    toys: int,
    mu: Sequence[float],
    nuisances: Literal["random", "fixed"],
    numbers: Literal["new", "design"] = "new",
    methods: Sequence[str],
    seed: int,
    processes: int = 1,
    scheduler: Any = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> tuple[CoverageStudy, Path]:
    """See `coverage`; also the folder of the study."""
    _check(draws=draws, toys=toys, mu=mu, nuisances=nuisances, seed=seed, processes=processes)
    if numbers not in ("new", "design"):
        raise InputError.from_parts(expected="new numbers or those of the design", got=repr(numbers), do="choose one")
    require_methods(methods)
    settings = stored_settings(run)
    place = Path(out) if out is not None else Path(run) / "toys"
    ends, poi = (float(mu[0]), float(mu[1])), settings.pois[0]
    own = {"poi": poi, "mu": ends, "toys": toys, "nuisances": nuisances, "methods": list(methods), "seed": seed}
    own |= {"numbers": numbers}
    study_place = StudyPlace(place, FILE, SCHEMA, overwrite)
    with study_place.taken({**own, "run": _content(Path(run))}):
        (place / "draws").mkdir(exist_ok=True)
        done = {k: found for k in range(draws) if (found := _stored(place, k)) is not None}
        tasks = [(k,) for k in range(draws) if k not in done]
        if done and tasks:
            _log.info("going on with %d of %d draws", len(tasks), draws)
        with counted("draws", draws, done=len(done), wanted=progress) as advance:
            plan = _plan(run, settings, methods, own) if tasks else None
            from hisigma_zfit.crosssection.draws import draw_toys

            for (k,), found in finished(draw_toys, plan, tasks, processes=processes, scheduler=scheduler):
                with disk_errors(place, f"draws/{k:04d}.json"):
                    write_text(_draw_file(place, k), f"{found.to_json()}\n")
                done[k] = found
                advance(1)
        sigma = _simulation(run, poi)
        study = coverage_study(
            [done[k] for k in range(draws)],
            poi=poi,
            mu=ends,
            nuisances=nuisances,
            seed=seed,
            cl=ONE_SIGMA,
            simulation=None if sigma is None else {UNBINNED: sigma},
        )
        study = replace(study, numbers=numbers, simulation=sigma)
        _write(place, study, Presentation(**settings.figure_words()))
    return study, place


def _check(*, draws: int, toys: int, mu: Sequence[float], nuisances: str, seed: int, processes: int) -> None:
    for name, value, least in (("draws", draws, 1), ("toys", toys, 1), ("processes", processes, 1), ("seed", seed, 0)):
        if value < least:
            raise InputError.from_parts(expected=f"{name} of {least} or more", got=str(value), do="correct it")
    if len(mu) != 2 or not np.isfinite(mu).all() or not 0.0 <= mu[0] <= mu[1]:
        raise InputError.from_parts(
            expected="two ends of the true signal strength, 0 or more, the lower one first",
            got=" ".join(f"{value:g}" for value in mu),
            do="write 0.1 3, or twice the same for one value",
        )
    if nuisances not in ("random", "fixed"):
        raise InputError.from_parts(
            expected="nuisances to be random or fixed", got=repr(nuisances), do="choose one of them"
        )


def _plan(
    run: str | Path, settings: CrossSectionOptions, methods: Sequence[str], options: Mapping[str, Any]
) -> DrawPlan:
    from hisigma_zfit.crosssection.draws import DrawPlan

    own = {name: value for name, value in options.items() if name != "methods"}
    found = restored(run, methods)
    plan = DrawPlan.of(found, settings, methods, **own, cl=ONE_SIGMA)
    reference = found.model.reference
    if reference is not None and reference.weights is not None and reference.process is not None:
        structure = found.model.structure
        middle = plan.expectation.factors({plan.poi: 0.5 * (plan.mu[0] + plan.mu[1])})
        _warn_of_weights(reference.weights * middle[reference.process], reference.process, structure.processes)
    return plan


def _warn_of_weights(weights: Array, process: Integers, names: Sequence[str]) -> None:
    for p, name in enumerate(names):
        own = weights[process == p]
        if own.max(initial=0.0) > MANY:
            _log.warning(
                "toys repeat rows of %s up to %.2g times on average: %.0f events of %.0f effective rows in the "
                "unbinned regions, %.0f %% of them of rows above %g",
                name,
                own.max(),
                own.sum(),
                own.sum() ** 2 / (own**2).sum(),
                100.0 * own[own > MANY].sum() / own.sum(),
                MANY,
            )


def _content(run: Path) -> dict[str, Any]:
    """What the run was made of, which its toys must not outlive."""
    stored = stored_identity(run) or {}
    return {name: stored.get(name) for name in ("inputs", "roles", "options") if name != "roles" or name in stored}


def _simulation(run: str | Path, poi: str) -> float | None:
    """Error of the finite simulation as the run has found it; None where it was not asked for."""
    content = json.loads(read_text(Path(run) / "result.json"))
    sigma = content.get("uncertainty", {}).get(poi, {}).get("sigma")
    return float(sigma) if isinstance(sigma, (int, float)) else None  # what is not finite is a word there


def _draw_file(place: Path, k: int) -> Path:
    return place / "draws" / f"{k:04d}.json"


def _stored(place: Path, k: int) -> CoverageDraw | None:
    """A finished draw; None where it is missing or damaged."""
    try:
        return CoverageDraw.from_json(read_text(_draw_file(place, k)))
    except (FileNotFoundError, InputError):
        return None


def _write(place: Path, study: CoverageStudy, words: Presentation) -> None:
    """Summary, table and figures, unless they are there."""
    summary, text = place / "toys.json", f"{study.to_json()}\n"
    if summary.exists() and summary.read_text(encoding="utf-8") == text:
        return
    from hisigma_zfit.report.plotting import save

    results = CoverageResults(study, words)
    figures = results.figures()
    with disk_errors(place, "figures"):
        (place / "figures").mkdir(exist_ok=True)
        for name, figure in figures.items():
            save(figure, place / "figures" / name)
        write_words(place, words)
        write_text(place / "table.txt", f"{results.table()}\n")
        write_text(place / PAGE, results.page(place, figures))
        write_text(summary, text)


def coverage_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``hisigma cross-section toys`` to a parser; `coverage_command` takes what it finds."""
    parser.add_argument("folder", metavar="RUNFOLDER", help="folder of a finished cross-section")
    parser.add_argument("--draws", type=int, default=50, metavar="N", help="draws of the nuisances (default 50)")
    parser.add_argument("--toys", type=int, default=20, metavar="N", help="toys of each draw (default 20)")
    parser.add_argument(
        "--mu",
        type=float,
        nargs=2,
        default=(0.1, 3.0),
        metavar=("LOW", "HIGH"),
        help="the true signal strength is flat between these (default 0.1 3)",
    )
    parser.add_argument(
        "--nuisances",
        choices=("random", "fixed"),
        default="random",
        help="draw the true nuisances (default), or keep them and draw their auxiliary measurements",
    )
    parser.add_argument(
        "--numbers",
        choices=("new", "design"),
        default="new",
        help="of stochastic shifts: new ones, as data have them (default), or those that the templates were made with",
    )
    parser.add_argument(
        "--methods",
        default=",".join(METHODS),
        metavar="NAME,...",
        help=f"unbinned, unbinned-uncalibrated, counting, binned-N (default {','.join(METHODS)})",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the toys (default 1)")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="worker processes (default 1)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler to use instead, such as tcp://host:8786")
    parser.add_argument("--out", metavar="FOLDER", help="where to write; toys/ in the run folder by default")


def coverage_command(arguments: argparse.Namespace) -> tuple[str, Path]:
    """What ``hisigma cross-section toys`` prints.

    Args:
        arguments: Of `coverage_arguments`.

    Returns:
        The table, and the folder of the study.

    Raises:
        InputError: As `coverage`.
    """
    from hisigma_zfit.report.crosssection_tables import coverage as table

    names = ("draws", "toys", "mu", "nuisances", "numbers", "seed", "processes", "scheduler", "out")
    methods = tuple(name.strip() for name in arguments.methods.split(",") if name.strip())
    options = {name: getattr(arguments, name) for name in names}
    options["overwrite"] = getattr(arguments, "overwrite", False)
    study, place = study_coverage(arguments.folder, methods=methods, **options)
    return table(study), place
