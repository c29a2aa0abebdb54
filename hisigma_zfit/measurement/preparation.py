"""What a blind measurement and an open one have in common: events, densities and models, before anything is fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hisigma_zfit.learn.elsewhere import elsewhere
from hisigma_zfit.measurement.inputs import read, require_disjoint, warn_of_unused_columns
from hisigma_zfit.measurement.needs import needs_of
from hisigma_zfit.runs.room import require_room

if TYPE_CHECKING:
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.measurement.densities import Densities
    from hisigma_zfit.measurement.inputs import Inputs
    from hisigma_zfit.measurement.options import MeasureOptions
    from hisigma_zfit.model.compose import SignalPlusBackground
    from hisigma_zfit.results import TrainingHistory
    from hisigma_zfit.runs.folder import RunFolder
    from hisigma_zfit.runs.stages import Stages

__all__ = ["Prepared", "prepare", "say_needs"]


@dataclass(frozen=True)
class Prepared:
    """Events and densities of each category by its name, which is empty if there is only one.

    Attributes:
        settings: All options.
        inputs: The events.
        densities: What was learned from them.
    """

    settings: MeasureOptions
    inputs: dict[str, Inputs]
    densities: dict[str, Densities]

    def models(self) -> dict[str, SignalPlusBackground]:
        """The extended model of each category; they share what is in all of them.

        Raises:
            FitError: A shape could not be fitted to its simulation.
        """
        from hisigma_zfit.measurement.composition import compose, share_parameters

        settings, parts = self.settings, self.settings.parts()
        shared = share_parameters(
            settings.poi,
            settings.nuisances(),
            settings.backgrounds,
            self.inputs.values(),
            events_per_unit=settings.events_per_unit,
        )
        return {
            category: compose(
                part, self.densities[category], shared, parts[category], seed=settings.seed, category=category
            )
            for category, part in self.inputs.items()
        }

    def data(self) -> list[Dataset]:
        """The data of each category that its background density knows."""
        return [
            part.data.select(
                self.densities[category].background.flow.inside(
                    part.data.array(part.features), part.data[part.mass.obs[0]]
                ),
                reason="outside the domain of the background density",
            )
            for category, part in self.inputs.items()
        ]

    @property
    def histories(self) -> tuple[TrainingHistory, ...]:
        """Losses of the trainings."""
        return tuple(
            flow.history for learned in self.densities.values() for flow in learned.flows if flow.history is not None
        )


def say_needs(inputs: dict[str, Inputs], settings: MeasureOptions, stages: Stages) -> None:
    """Say what will be trained, on how many events, and what the run will need in memory.

    Args:
        inputs: Events of each category.
        settings: All options.
        stages: Says it.

    Raises:
        InputError: There is not as much.
    """
    needs = needs_of(inputs, settings, elsewhere=elsewhere())
    room = require_room(needs.memory, needs.disk)
    trained = [
        f"{component}{f' of {category}' if category else ''} ({len(sample.events):,} events"
        + (f", {2 * len(sample.varied)} varied samples)" if sample.varied else ")")
        for category, part in inputs.items()
        for component, sample in part.samples.items()
    ]
    stages.say(f"to train: {', '.join(trained)}; members {settings.members}, bootstraps {settings.bootstraps}")
    stages.say(room)


def prepare(settings: MeasureOptions, run: RunFolder, stages: Stages) -> Prepared:
    """Read the events and learn the densities, or go on where an interrupted training has stopped.

    Args:
        settings: All options.
        run: Keeps the trained members.
        stages: Has ``"read"`` and ``"train"`` among its stages.

    Raises:
        InputError: The files are wrong, no density can be learned from their events, or memory is too small.
    """
    with stages("read"):
        parts = settings.parts()
        warn_of_unused_columns(settings.columns, {settings.mass, *(f for own in parts.values() for f in own.features)})
        if settings.categories:
            require_disjoint(settings, {name: own.cut for name, own in settings.categories.items()})
        inputs = {category: read(part) for category, part in parts.items()}
    # only now: it imports TensorFlow, which a mistake in the files need not wait for
    from hisigma_zfit.measurement.densities import require_learnable, train, warn_of_signal_beside
    from hisigma_zfit.model.peaks import require_starts

    with stages("train"):
        require_starts(settings.peak, settings.peak_start)
        for category, part in inputs.items():
            require_learnable(part, category=category)
            warn_of_signal_beside(part, category=category)
        say_needs(inputs, settings, stages)
        densities = {
            category: train(part, settings, value=settings.value, checkpoints=run.member_folder, category=category)
            for category, part in inputs.items()
        }
    return Prepared(settings, inputs, densities)
