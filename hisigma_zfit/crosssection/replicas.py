"""The error of the finite simulation, everything learned again: resampled hard events through the whole chain.

Each replica draws the hard events of all processes again and learns posterior, design, exponents, moments and rates
from them, with trainings and random numbers of its own, but decides nothing anew that numbers of events decide: a
replica has half of the effective ones.  All replicas then fit the same expected events, those of the
nominal simulation, each scored by models that have not seen them.  `trials.simulation_error` does the reverse, with
what was learned held fixed, in seconds.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.crosssection.answers import best
from hisigma_zfit.crosssection.expectation import Expectation
from hisigma_zfit.crosssection.inputs import Inputs, read
from hisigma_zfit.crosssection.learning import Construction, Learner, Simulation
from hisigma_zfit.crosssection.shifted import Shifter, prepare
from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.files import write_text
from hisigma_zfit.learn.streams import Purpose, seed_for
from hisigma_zfit.stored_files import read_json
from hisigma_zfit.workers import finished

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.crosssection.model import RatioModel
    from hisigma_zfit.crosssection.options import CrossSectionOptions

__all__ = ["replica_inputs", "retrained_replicas"]

_log = logging.getLogger(__name__)

_FIRST, _STRIDE = 1_000_000, 1000  # numbers of bootstraps that nothing else has


def replica_inputs(inputs: Inputs, number: int) -> Inputs:
    """Hard events drawn again.

    Args:
        inputs: The events.
        number: Of the replica.
    """
    samples = tuple(own.replica(_FIRST + _STRIDE * p + number) for p, own in enumerate(inputs.samples))
    rows = tuple(prepare(own, inputs.analysis.recipe) for own in samples)
    return replace(inputs, samples=samples, rows=rows)


@dataclass
class _Work:
    """What replicas have in common; workers read the events again."""

    settings: CrossSectionOptions
    wanted: dict[str, float]
    like: Construction
    pois: tuple[str, ...]
    inputs: Inputs | None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"inputs": None}

    @property
    def known(self) -> Inputs:
        """The nominal events."""
        if self.inputs is None:
            self.inputs = read(self.settings)
        return self.inputs


def _replica(work: _Work, number: int) -> dict[str, float]:
    """Best fits of one replica by parameter of interest; nan where it cannot be learned or fitted."""
    try:
        return _learned_again(work, number)
    except (InputError, FitError) as error:
        _log.warning("replica %d: %s", number + 1, error)
        return dict.fromkeys(work.pois, math.nan)


def _learned_again(work: _Work, number: int) -> dict[str, float]:
    settings, inputs = work.settings, work.known
    own = replica_inputs(inputs, number)
    learner = Learner(own, settings, seed=seed_for(settings.seed, Purpose.REPLICA, number), like=work.like)
    scorer = learner.scorer()
    simulation = learner.simulation(scorer)
    model = learner.model(scorer, simulation)
    analysis = inputs.analysis
    shifter = Shifter(
        analysis.shapes,
        analysis.recipe,
        simulation.shifter.cells,
        model.scorer.scores,
        seed=settings.seed,
        read=analysis.read,
    )
    placed = tuple(map(shifter.nominal, inputs.samples))
    expectation = Expectation(inputs, Simulation(shifter, placed, ()), model)
    at = {name: work.wanted.get(name, value) for name, value in expectation.medians().items()}
    expected = model.simulated(expectation.rows(at)).times(expectation.factors(work.wanted))
    return {poi: best(model.likelihood(expected), poi) for poi in work.pois}


def retrained_replicas(
    inputs: Inputs,
    settings: CrossSectionOptions,
    model: RatioModel,
    *,
    folder: Path | None = None,
    processes: int = 1,
    scheduler: Any = None,
) -> Mapping[str, Array]:
    """Best fits of replicas of everything, by parameter of interest, shape (E,) each.

    Args:
        inputs: The events.
        settings: All options; ``uncertainty.replicas`` says how many.
        model: What was learned from them.
        folder: Where finished ones are kept.
        processes: Worker processes on this machine.
        scheduler: A Dask scheduler to be used instead.
    """
    numbers: Sequence[int] = range(settings.uncertainty.replicas)
    like = Construction.of(model)
    work = _Work(settings, dict(settings.asimov), like, tuple(inputs.analysis.pois), inputs)
    identity = _identity(inputs, settings)
    found: dict[int, dict[str, float]] = {}
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        found = {number: own for number in numbers if (own := _kept(folder, number, identity)) is not None}
    missing = [(number,) for number in numbers if number not in found]
    for (number,), values in finished(
        _replica, work, missing, processes=processes, scheduler=scheduler, name="replicas"
    ):
        found[number] = values
        _log.info("replica %d of %d: %s", number + 1, len(numbers), values)
        if folder is not None:
            raw = {name: None if math.isnan(value) else value for name, value in values.items()}
            write_text(folder / f"{number:04d}.json", json.dumps({"identity": identity, "values": raw}))
    # few events may draw themselves to where the likelihood has no minimum
    each = {poi: np.array([found[number][poi] for number in numbers]) for poi in work.pois}
    return {poi: values[np.isfinite(values)] for poi, values in each.items()}


def _identity(inputs: Inputs, settings: CrossSectionOptions) -> str:
    """Digest of all that decides a replica: options but those of data and answers, and the simulated events."""
    aside = {"data", "blind", "inference", "uncertainty"}
    options = {name: value for name, value in settings.numbers().items() if name not in aside}
    events = [(own.name, len(own.events), float(own.weights.sum())) for own in inputs.samples]
    return hashlib.sha256(json.dumps([options, events], sort_keys=True).encode()).hexdigest()


def _kept(folder: Path, number: int, identity: str) -> dict[str, float] | None:
    """A replica that was made before; None where there is none, or one of other options."""
    try:
        raw = read_json(folder / f"{number:04d}.json")
    except (OSError, ValueError):
        return None
    if not isinstance(raw, dict) or raw.get("identity") != identity:
        return None
    return {name: math.nan if value is None else value for name, value in raw["values"].items()}
