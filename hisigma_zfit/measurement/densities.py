"""Learned densities: steps 2 and 3 of paper (arXiv:2506.06438) section 2.1, with the variations of section 3.2."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.density import training
from hisigma_zfit.density.tfp_flows import maf
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.dependence import require_independent
from hisigma_zfit.learn.kinded_transform import dequantised, infer_support
from hisigma_zfit.learn.kinds import FeatureKind
from hisigma_zfit.measurement.inputs import warn_of_other_events
from hisigma_zfit.measurement.streams import Stream, stream_seed
from hisigma_zfit.results import TrainingChoice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from hisigma_zfit.data import Dataset
    from hisigma_zfit.density.flows import ConditionalFlow
    from hisigma_zfit.density.training import Value
    from hisigma_zfit.measurement.inputs import Inputs, Sample
    from hisigma_zfit.measurement.options import TrainOptions

__all__ = [
    "Densities",
    "Learned",
    "VariedDensities",
    "choices",
    "require_learnable",
    "train",
    "warn_of_signal_beside",
]

_log = logging.getLogger(__name__)

_BESIDE = 0.05  # of the simulated signal in the sidebands that is worth a warning; tails of a peak are 1 or 2 %

VariedDensities = dict[str, tuple["ConditionalFlow", "ConditionalFlow"]]  # nuisance -> densities at +1 and -1


@dataclass(frozen=True)
class Learned:
    """One p(x'|m) with its variations.

    Attributes:
        flow: The nominal density.
        varied: The same by nuisance.
    """

    flow: ConditionalFlow
    varied: VariedDensities


@dataclass(frozen=True)
class Densities:
    """p(x'|m) of every component of one category.

    Attributes:
        background: Learned from the sidebands; holds its bootstraps.
        signal: Learned from simulation.
        backgrounds: Other backgrounds, learned from simulation, by name.
    """

    background: Learned
    signal: Learned
    backgrounds: dict[str, Learned]

    @property
    def flows(self) -> tuple[ConditionalFlow, ...]:
        """The nominal densities."""
        return tuple(learned.flow for learned in (self.background, self.signal, *self.backgrounds.values()))


def choices(densities: Iterable[Densities]) -> dict[str, TrainingChoice]:
    """How long each density was trained, by its name.

    Args:
        densities: Of all categories.
    """
    histories = (flow.history for learned in densities for flow in learned.flows)
    return {history.name: TrainingChoice.of(history) for history in histories if history is not None}


def require_learnable(inputs: Inputs, *, category: str = "") -> None:
    """Check the events of every component, so that a mistake in the last does not wait for the training of the first.

    Raises:
        InputError: There are too few of them, a feature is constant or discrete, or one is a function of others;
            component and category are named.
    """
    kinds = {name: FeatureKind.parse(words, name=name) for name, words in inputs.kinds.items()}
    for component, sample in inputs.samples.items():
        for events in (sample.events, *(each for pair in sample.varied.values() for each in pair)):
            used = np.ones(len(events), dtype=bool) if events.weights is None else events.weights > 0.0
            x, m = events.array(inputs.features)[used], events[inputs.mass.obs[0]][used]
            try:
                for feature, values in zip(inputs.features, x.T, strict=True):
                    infer_support(values, name=feature, kind=kinds.get(feature))
                if sample is not inputs.training:  # which is trained first, and says so first
                    stated = tuple(kinds.get(feature) for feature in inputs.features)
                    require_independent(
                        dequantised(x, stated) if any(stated) else x, m, inputs.features, str(inputs.mass.obs[0])
                    )
            except InputError as error:
                raise InputError(f"{component}{f' in {category}' if category else ''}: {error}") from error


def warn_of_signal_beside(inputs: Inputs, *, category: str = "") -> float:
    """Say what part of the simulated signal lies in the sidebands, where the background is learned, if it is much.

    As much of the signal as is there is learned for background, and missing from what is found.

    Args:
        inputs: The events.
        category: Name of the category, if there are several.

    Returns:
        The part, by weight, of the signal in the range of the mass.
    """
    events = inputs.signal.events
    weights = np.ones(len(events)) if events.weights is None else events.weights
    inside = inputs.region.contains(events[inputs.mass.obs[0]])
    beside = float(weights[~inside].sum() / weights.sum())
    if beside > _BESIDE:
        _log.warning(
            "%s%.0f %% of the simulated signal lie in the sidebands of %s, where the background is learned: signal in "
            "the data is taken for background there, and what is found is too low; widen the signal region",
            f"{category}: " if category else "",
            100.0 * beside,
            inputs.region,
        )
    return beside


def train(
    inputs: Inputs,
    options: TrainOptions,
    *,
    value: Value,
    checkpoints: Callable[[str], Path],
    category: str = "",
) -> Densities:
    """Learn every density of one category, or go on where an interrupted training has stopped.

    Args:
        inputs: The events.
        options: How to learn.
        value: What the densities are, see `train_flow`; of ``"members"`` the signal is redrawn too.
        checkpoints: Makes the folder where the training of that name keeps its members.
        category: Name of the category, if there are several.

    Raises:
        InputError: Events from which no density can be learned.
    """

    def learn(component: str, sample: Sample, stream: Stream, *names: str, bootstraps: int = 1) -> Learned:
        label = f"{component}_{category}" if category else component

        def one(events: Dataset, name: str, *, redrawn: int, like: ConditionalFlow | None = None) -> ConditionalFlow:
            # one seed for all of a component: the same resamples and starts, whose noise cancels in the ratios
            return training.train_flow(
                events,
                inputs.features,
                given=inputs.mass,
                kinds=inputs.kinds,
                members=options.members,
                bootstraps=redrawn,
                seed=stream_seed(options.seed, stream, *names, category),
                flow=maf() if options.flow == "maf" else None,
                preset=options.preset,
                value=value,
                like=like,
                name=name,
                checkpoint=checkpoints(name),
            )

        flow = one(sample.events, label, redrawn=bootstraps)
        warn_of_other_events(sample.events, sample.varied)
        # the variations of a redrawn density are only asked for where it is the density itself
        varied = bootstraps if value == "bootstraps" else 1
        return Learned(
            flow,
            {
                name: (
                    one(up, f"{label}-{name}-up", redrawn=varied, like=flow),
                    one(down, f"{label}-{name}-down", redrawn=varied, like=flow),
                )
                for name, (up, down) in sample.varied.items()
            },
        )

    simulated = options.bootstraps if value == "members" else 1
    return Densities(
        learn("background", inputs.training, Stream.BACKGROUND, bootstraps=options.bootstraps),
        learn("signal", inputs.signal, Stream.SIGNAL, bootstraps=simulated),
        {
            name: learn(name, sample, Stream.RESONANT, name, bootstraps=simulated)
            for name, sample in inputs.backgrounds.items()
        },
    )
