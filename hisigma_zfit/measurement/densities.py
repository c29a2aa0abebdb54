"""Learned densities: steps 2 and 3 of paper (arXiv:2506.06438) section 2.1, with the variations of section 3.2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hisigma_zfit.density import training
from hisigma_zfit.density.tfp_flows import maf
from hisigma_zfit.density.warped import spline_flow
from hisigma_zfit.measurement.inputs import warn_of_other_events
from hisigma_zfit.measurement.streams import Stream, stream_seed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hisigma_zfit.data import Dataset
    from hisigma_zfit.density.flows import ConditionalFlow
    from hisigma_zfit.measurement.inputs import Inputs, Varied
    from hisigma_zfit.measurement.options import TrainOptions

__all__ = ["Densities", "VariedDensities", "train"]

VariedDensities = dict[str, tuple["ConditionalFlow", "ConditionalFlow"]]  # nuisance -> densities at +1 and -1


@dataclass(frozen=True)
class Densities:
    """p(x'|m) of every component.

    Attributes:
        background: Learned from the sidebands; holds its bootstraps.
        signal: Learned from simulation.
        varied_signal: The same by nuisance.
        varied_background: The same by nuisance.
    """

    background: ConditionalFlow
    signal: ConditionalFlow
    varied_signal: VariedDensities
    varied_background: VariedDensities


def train(inputs: Inputs, options: TrainOptions, *, checkpoints: Callable[[str], Path]) -> Densities:
    """Learn every density, or go on where an interrupted training has stopped.

    Args:
        inputs: The events.
        options: How to learn.
        checkpoints: Makes the folder where the training of that name keeps its members.

    Raises:
        InputError: Events from which no density can be learned.
    """

    def learn(events: Dataset, name: str, stream: Stream, bootstraps: int) -> ConditionalFlow:
        return training.train_flow(
            events,
            inputs.features,
            given=inputs.mass,
            members=options.members,
            bootstraps=bootstraps,
            seed=stream_seed(options.seed, stream),
            flow=spline_flow() if options.flow == "spline" else maf(),
            preset=options.preset,
            name=name,
            checkpoint=checkpoints(name),
        )

    def vary(component: str, varied: Varied, stream: Stream, bootstraps: int) -> VariedDensities:
        # the nominal density's seed: the same resamples and starts, so that their noise cancels in the ratios
        return {
            name: (
                learn(up, f"{component}-{name}-up", stream, bootstraps),
                learn(down, f"{component}-{name}-down", stream, bootstraps),
            )
            for name, (up, down) in varied.items()
        }

    background = learn(inputs.training, "background", Stream.BACKGROUND, options.bootstraps)
    signal = learn(inputs.signal, "signal", Stream.SIGNAL, 1)
    warn_of_other_events(inputs.signal, inputs.varied_signal)
    warn_of_other_events(inputs.training, inputs.varied_training)
    return Densities(
        background,
        signal,
        vary("signal", inputs.varied_signal, Stream.SIGNAL, 1),
        vary("background", inputs.varied_training, Stream.BACKGROUND, options.bootstraps),
    )
