"""The events of a cross-section: read, checked, split into what is learned from and what is held back."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit import data
from hisigma_zfit.crosssection.analysis import Analysis, check_shift
from hisigma_zfit.crosssection.columns import DataColumns, data_columns, simulation_columns
from hisigma_zfit.crosssection.functions import function_file
from hisigma_zfit.crosssection.nuisance_options import FilesOptions
from hisigma_zfit.crosssection.nuisances import Process, nuisances_of
from hisigma_zfit.crosssection.recipe import recipe_of
from hisigma_zfit.crosssection.regions import regions_of
from hisigma_zfit.crosssection.samples import split_sample, weights_of
from hisigma_zfit.crosssection.sanity import (
    require_features_that_vary,
    require_other_events,
    require_sound,
    require_varied,
)
from hisigma_zfit.crosssection.shifted import file_events, prepare
from hisigma_zfit.data.columns import expand
from hisigma_zfit.data.digest import digests_by_name, file_digest, names_by_role
from hisigma_zfit.data.places import Place
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, hashed_uniform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hisigma_zfit.arrays import Array, Float32, Integers
    from hisigma_zfit.crosssection.nuisances import ShapeNuisance
    from hisigma_zfit.crosssection.options import CrossSectionOptions
    from hisigma_zfit.crosssection.recipe import Recipe
    from hisigma_zfit.crosssection.samples import Sample
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.ratio.rows import ProcessRows

__all__ = [
    "Inputs",
    "Observed",
    "analysis_of",
    "check_simulation",
    "input_digests",
    "input_files",
    "input_roles",
    "observe",
    "read",
    "read_data",
    "split",
]


@dataclass(frozen=True)
class Observed:
    """Data, or what stands for them, before they are scored.

    Attributes:
        columns: After selection and derivation, each of shape (n,).
        x: Features, shape (n, d).
        weights: Of pseudo-data, shape (n,), else None.
        fold: Which fold's models score each event, shape (n,): one, never their average.
        folds: How many folds there are.
        n_read: Rows before the selection.
    """

    columns: Mapping[str, Array]
    x: Float32
    weights: Array | None
    fold: Integers
    folds: int
    n_read: int

    def swapped(self, step: int = 1) -> Observed:
        """The same events with another assignment to folds."""
        fold = ((self.fold.astype(np.int64) + step) % self.folds).astype(self.fold.dtype)
        return Observed(self.columns, self.x, self.weights, fold, self.folds, self.n_read)


@dataclass(frozen=True)
class Inputs:
    """What one cross-section starts from.

    Attributes:
        analysis: Processes, nuisances, regions.
        samples: Simulation that is learned from, by process.
        held_back: Simulation that nothing is learned from, by process; empty if there is none.
        rows: The nominal rows of `samples` after the selection, in no cell yet.
        features: Names of the features.
    """

    analysis: Analysis
    samples: tuple[Sample, ...]
    held_back: tuple[Sample, ...]
    rows: tuple[ProcessRows, ...]
    features: tuple[str, ...]


@contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{what}: {error}") from error


def input_files(options: CrossSectionOptions) -> dict[str, list[Place]]:
    """Every file whose content changes the answer by what it is used as; files of functions too.

    Raises:
        InputError: One is missing.
    """
    groups: dict[str, Sequence[str]] = {f"processes.{name}": own.files for name, own in options.processes.items()}
    for name, own in options.nuisances.items():
        if isinstance(own, FilesOptions):
            for value, by_process in own.files.items():
                groups |= {f"nuisances.{name}.{value:g}.{process}": files for process, files in by_process.items()}
    if options.data is not None:
        groups["data"] = options.data.files
    found = {role: expand(files) for role, files in groups.items()}
    functions = [Place(function_file(text)) for text in options.functions()]
    return found | ({"functions": functions} if functions else {})


def input_digests(options: CrossSectionOptions) -> dict[str, str]:
    """Digest of every input file by its name, without the folder unless two files share it."""
    return digests_by_name(input_files(options))


def input_roles(options: CrossSectionOptions) -> dict[str, list[str]]:
    """Names of the files by what they are used as, in order."""
    return names_by_role(input_files(options))


def _load(options: CrossSectionOptions, files: tuple[str, ...], *, max_events: int | None = None, what: str) -> Dataset:
    with _named(what):
        return data.read(
            files,
            tree=options.tree,
            columns=simulation_columns(options, files),
            weight=options.weight,
            identity=options.identity,
            max_events=max_events,
        )


def analysis_of(options: CrossSectionOptions, *, max_events: int | None = None) -> Analysis:
    """What a file says, with the simulated events of every process.

    Args:
        options: The file.
        max_events: Rows that are read of each process; all by default.

    Raises:
        InputError: Functions, files or columns are missing, values are not finite, names or the design are wrong.
    """
    nuisances, recipe, regions = nuisances_of(options.nuisances), recipe_of(options), regions_of(options)
    processes = tuple(
        Process(name, _load(options, own.files, max_events=max_events, what=f"process {name}"), own.poi, own.shape)
        for name, own in options.processes.items()
    )
    return Analysis(
        processes,
        nuisances,
        recipe,
        regions,
        options.joint_points,
        quick=options.preset == "quick",
        read=partial(_load, options, what="varied files"),
    )


def check_simulation(analysis: Analysis, *, seed: int, negative_weights: str = "refuse", files: bool = True) -> None:
    """Everything that can be wrong with simulated events before any of them is shifted.

    Args:
        analysis: With all events.
        seed: The user's.
        negative_weights: "refuse" or "keep".
        files: Whether files of nuisances are read, to be compared.

    Raises:
        InputError: Something is; the message names the process.
    """
    for process in analysis.processes:
        require_sound(process, negative_weights=negative_weights)
    require_other_events(analysis.processes)
    for own in analysis.shapes:
        acting = [process for process in analysis.processes if own.acts_on(process.name)]
        for process in acting:
            if own.kind == "shift":
                check_shift(own, process.events, seed=seed, whose=process.name)
            elif own.weights is not None:
                _require_weights(own, process)
            elif files:
                events = {setting: file_events(own, setting, process.name, analysis.read) for setting in own.settings}
                require_varied(own, process, events)


def _require_weights(nuisance: ShapeNuisance, process: Process) -> None:
    columns = [process.events[name] for name in (nuisance.weights or {}).values()]
    names = list((nuisance.weights or {}).values())
    for k, own in enumerate(columns):
        for j in range(k):
            if np.array_equal(own, columns[j]):
                raise InputError.from_parts(
                    expected=f"other weights for nuisance {nuisance.name} in {names[k]} than in {names[j]}",
                    got=f"the same for process {process.name}",
                    do="check the columns, or name its processes",
                )
        if not own.sum() > 0.0:
            raise InputError.from_parts(
                expected=f"a positive sum of the weights {names[k]} of process {process.name}",
                got=f"{own.sum():g}",
                do="check the column",
            )


def split(analysis: Analysis, *, seed: int, held_back: float, folds: int) -> Inputs:
    """Split hard events into what is learned from and what is held back, and make the features of the former.

    Args:
        analysis: With all events.
        seed: The user's.
        held_back: Share of hard events that nothing is learned from.
        folds: Folds of the others.

    Raises:
        InputError: Nothing is left on a side, features are not finite, or one is constant.
    """
    pairs = [split_sample(process, seed=seed, held_back=held_back, folds=folds) for process in analysis.processes]
    rows = tuple(prepare(sample, analysis.recipe) for sample, _ in pairs)
    first = pairs[0][0]
    few = {name: values[: min(len(values), 1000)] for name, values in first.columns.items()}
    features = analysis.recipe.names(analysis.recipe.selected(few)[0])
    require_features_that_vary(rows, features)
    held = tuple(sample for _, sample in pairs if sample is not None)
    return Inputs(analysis, tuple(sample for sample, _ in pairs), held, rows, features)


def read(options: CrossSectionOptions) -> Inputs:
    """Read and check all simulation that a file names.

    Raises:
        InputError: Anything is wrong with it.
    """
    require_other_files(options)
    analysis = analysis_of(options)
    check_simulation(analysis, seed=options.seed, negative_weights=options.negative_weights)
    return split(analysis, seed=options.seed, held_back=options.held_back, folds=options.posterior.folds)


def require_other_files(options: CrossSectionOptions) -> None:
    """Check that no file is both data and simulation, and no nuisance has one file for two settings.

    Raises:
        InputError: One is.
    """
    simulated = {path.resolve(): name for name, own in options.processes.items() for path in expand(own.files)}
    if options.data is not None:
        for path in expand(options.data.files):
            if path.resolve() in simulated:
                raise InputError.from_parts(
                    expected="data that are no simulation",
                    got=f"{path}, which is process {simulated[path.resolve()]}",
                    do="name the observed events",
                )
    for name, own in options.nuisances.items():
        if isinstance(own, FilesOptions):
            seen: dict[Place, float] = {}
            for setting, by_process in own.files.items():
                for path in (path for files in by_process.values() for path in expand(files)):
                    if seen.setdefault(path.resolve(), setting) != setting:
                        raise InputError.from_parts(
                            expected=f"other files for nuisance {name} at {setting:+g} than at "
                            f"{seen[path.resolve()]:+g}",
                            got=f"{path} for both",
                            do="correct one",
                        )


def observe(events: Dataset, recipe: Recipe, *, seed: int, folds: int, digest: str, weighted: bool = False) -> Observed:
    """Data after the selection, each event given to one fold.

    Args:
        events: As read; the identity is the number of the row.
        recipe: Selection and features.
        seed: The user's.
        folds: How many folds there are.
        digest: Of the files, hexadecimal: other data have other folds.
        weighted: Whether their weights count, as of pseudo-data.

    Raises:
        InputError: Nothing is left, or features are not finite.
    """
    columns, rows = recipe.selected(events.columns)
    if not len(rows):
        raise InputError.from_parts(expected="data that pass the selection", got="none", do="loosen it")
    number = int(digest.removeprefix("sha256:")[:15], 16)
    fold = (hashed_uniform(events.identity[rows], seed, Purpose.DATA_FOLD, number) * folds).astype(np.int8)
    weights = weights_of(events)[rows] if weighted else None
    return Observed(columns, recipe.x(columns, whose="the data"), weights, fold, folds, events.report.n_read)


def read_data(options: CrossSectionOptions, recipe: Recipe) -> Observed:
    """Read the data that a file names.

    Args:
        options: The file.
        recipe: Selection and features.

    Raises:
        InputError: There are none, files or columns are missing, or they have weights without being pseudo-data.
    """
    if options.data is None:
        raise InputError.from_parts(expected="data", got="none", do="name files, or ask for an asimov set")
    with _named("data"):
        wanted: DataColumns = data_columns(options)
        events = data.read(options.data.files, tree=options.tree, columns=wanted.columns, weight=wanted.weight)
    digests = [file_digest(path) for path in expand(options.data.files)]
    digest = digests[0] if len(digests) == 1 else _digest_of(digests)
    return observe(
        events,
        recipe,
        seed=options.seed,
        folds=options.posterior.folds,
        digest=digest,
        weighted=options.data.pseudo_data,
    )


def _digest_of(digests: Sequence[str]) -> str:
    import hashlib

    return hashlib.sha256("".join(digests).encode()).hexdigest()
