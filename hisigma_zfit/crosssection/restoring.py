"""A finished run gives its model back: from its configuration, its files and what was trained, without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hisigma_zfit.crosssection.inputs import analysis_of, input_digests, input_roles, split
from hisigma_zfit.crosssection.learning import Learner
from hisigma_zfit.crosssection.methods import methods_of
from hisigma_zfit.crosssection.options import CrossSectionOptions
from hisigma_zfit.crosssection.stored import TASK
from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.runs.identity import Identity, stored_identity
from hisigma_zfit.runs.stored import require_complete

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.crosssection.inputs import Inputs
    from hisigma_zfit.crosssection.learning import Simulation
    from hisigma_zfit.crosssection.methods import Method
    from hisigma_zfit.crosssection.model import RatioModel

__all__ = ["Restored", "require_methods", "restored", "stored_settings"]

UNBINNED = "unbinned"
_WORDS = (UNBINNED, "unbinned-uncalibrated", "counting")


class Restored(NamedTuple):
    """What a run has learned, as it was at its end.

    Attributes:
        inputs: Simulation and analysis.
        model: What was learned.
        simulation: The simulation in its cells, nominal and at the design points.
        methods: Ways of measuring, by name; "unbinned" is the model's own.
    """

    inputs: Inputs
    model: RatioModel
    simulation: Simulation
    methods: Mapping[str, Method]


def require_methods(names: Sequence[str]) -> None:
    """Check names of methods.

    Raises:
        InputError: There is none, or one is unknown or there twice.
    """
    for k, name in enumerate(names):
        bins = name.removeprefix("binned-")
        known = name in _WORDS or (bins != name and bins.isdecimal() and bins[0] != "0")
        if not known or name in names[:k]:
            raise InputError.from_parts(
                expected="methods among unbinned, unbinned-uncalibrated, counting, binned-N, each once",
                got=f"{name!r}{' twice' if known else ''}",
                do="correct it",
            )
    if not names:
        raise InputError.from_parts(expected="a method", got="none", do="name one, such as unbinned")


def stored_settings(path: str | Path) -> CrossSectionOptions:
    """Options of a finished run, whose files still have the content that it was made of.

    Args:
        path: The run folder.

    Raises:
        RunFolderError: It is no finished cross-section.
        InputError: A file that it was made of is missing or has changed.
    """
    folder = require_complete(path, TASK)
    settings = CrossSectionOptions.load(folder / "config.yaml")
    identity = Identity(TASK, input_digests(settings), settings.numbers(), roles=input_roles(settings))
    difference = identity.difference(stored_identity(folder) or {})
    if difference is not None:
        raise InputError.from_parts(
            expected=f"the files and options that the run '{folder}' was made of",
            got=difference,
            do="bring them back, or run again in another folder",
        )
    return settings


def restored(path: str | Path, methods: Sequence[str] | None = None) -> Restored:
    """Read the model of a finished run; its simulation is read again from the files, nothing is trained.

    Args:
        path: The run folder.
        methods: Names of methods beside "unbinned"; those that the run compared by default.

    Raises:
        RunFolderError: It is no finished cross-section, or what was trained is not in it.
        InputError: A file that it was made of is missing or has changed, or a method is unknown.
    """
    settings = stored_settings(path)
    names = settings.inference.compare if methods is None else tuple(name for name in methods if name != UNBINNED)
    require_methods((UNBINNED, *names))
    folder = Path(path) / "members" / "ratios"
    _require_trained(folder, settings)
    analysis = analysis_of(settings)
    missing = [
        f"design/{own.name}-{d:03d}.npz" for own in analysis.processes for d in range(len(analysis.design.points))
    ]
    _require(folder, missing)
    inputs = split(analysis, seed=settings.seed, held_back=settings.held_back, folds=settings.posterior.folds)
    learner = Learner(inputs, settings, folder=folder, seed=settings.seed)
    scorer = learner.scorer()
    simulation = learner.simulation(scorer)
    model = learner.model(scorer, simulation)
    return Restored(inputs, model, simulation, methods_of(names, model, simulation, analysis.design))


def _require_trained(folder: Path, settings: CrossSectionOptions) -> None:
    """Everything that would be trained where it is missing."""
    nets = [
        f"{place.relative_to(folder)}/exponents_{fold}_{member}.npz"
        for place in sorted(folder.glob("exponents/*"))
        for fold in range(settings.posterior.folds)
        for member in range(settings.exponents.seeds)
    ]
    # a process of which a shape is wanted has a folder for each unbinned region
    places = [
        f"exponents/{name}-0"
        for name, own in settings.processes.items()
        if own.shape == "learned" and any(hasattr(region, "unbinned") for region in settings.regions.values())
        if settings.shape_nuisances()
    ]
    _require(folder, ["posterior.npz", *places, *nets])


def _require(folder: Path, names: Sequence[str]) -> None:
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise RunFolderError.from_parts(
            expected=f"all that was trained in '{folder}'",
            got=f"no {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""),
            do="run again in another folder",
        )
