"""The events that one measurement starts from: steps 0 and 1 of paper (arXiv:2506.06438) section 2.1."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hisigma_zfit import data
from hisigma_zfit.data.columns import expand
from hisigma_zfit.data.digest import file_digest
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    import zfit

    from hisigma_zfit.data import Dataset, SignalRegion
    from hisigma_zfit.measurement.options import InputOptions

__all__ = ["Inputs", "Varied", "input_digests", "read", "warn_of_other_events"]

Varied = dict[str, tuple["Dataset", "Dataset"]]  # nuisance -> events at +1 and -1

_log = logging.getLogger(__name__)

_SAME_EVENTS = 0.1  # numbers of nominal and varied events may differ by this fraction, as when the mass itself varies


@dataclass(frozen=True)
class Inputs:
    """Events inside the mass range.

    Attributes:
        mass: The mass with its range.
        region: The signal region.
        features: Names of the features x'.
        data: Events to fit.
        signal: Simulated signal.
        training: Sideband events that the background is trained with.
        varied_signal: Simulated signal by nuisance.
        varied_training: Varied sideband events by nuisance.
    """

    mass: zfit.Space
    region: SignalRegion
    features: tuple[str, ...]
    data: Dataset
    signal: Dataset
    training: Dataset
    varied_signal: Varied
    varied_training: Varied


def input_digests(options: InputOptions) -> dict[str, str]:
    """Digest of every input file by its name, without the folder unless two files share it."""
    varied = (*options.systematic.values(), *options.background_systematic.values())
    groups = (options.data, options.signal, options.sideband_training, *varied)
    paths = [path for group in groups if group for path in expand(group)]
    names = [path.name for path in paths]
    return {path.name if names.count(path.name) == 1 else str(path): file_digest(path) for path in dict.fromkeys(paths)}


def warn_of_other_events(nominal: Dataset, varied: Varied) -> None:
    """Say so where variations cannot be the events of the nominal training."""
    for name, pair in varied.items():
        for events in pair:
            if abs(len(events) - len(nominal)) > _SAME_EVENTS * len(nominal):
                _log.warning(
                    "%s: expected about the %d events of the nominal training, got %d; vary the same events in "
                    "the same order, or the noise of the trainings pulls the nuisance",
                    name,
                    len(nominal),
                    len(events),
                )


def read(options: InputOptions) -> Inputs:
    """Read everything that the options name.

    Raises:
        InputError: Files or columns are wrong, or no event is in the signal region.
    """
    weighted = {"weight": options.weight, "nonnegative_weights": True}

    def load(files: tuple[str, ...], **more: Any) -> Dataset:
        return data.read(files, tree=options.tree, columns=options.column_expressions(), cut=options.cut, **more)

    events = load(options.data)
    signal = load(options.signal, **weighted)
    varied_signal = {name: [load((file,), **weighted) for file in files] for name, files in options.systematic.items()}
    varied_training = {name: [load((file,)) for file in files] for name, files in options.background_systematic.items()}
    pool = events.concatenate(load(options.sideband_training)) if options.sideband_training else events
    # only now: importing zfit takes seconds, which a mistake in the files need not wait for
    import zfit

    mass, region = zfit.Space(options.mass, *options.range), options.region
    inputs = Inputs(
        mass,
        region,
        options.features,
        events.within(mass),
        signal.within(mass),
        pool.sidebands(mass, region),
        {name: (up.within(mass), down.within(mass)) for name, (up, down) in varied_signal.items()},
        {
            name: (up.sidebands(mass, region), down.sidebands(mass, region))
            for name, (up, down) in varied_training.items()
        },
    )
    for name, found in (("data", inputs.data), ("signal simulation", inputs.signal)):
        if not region.contains(found[options.mass]).any():
            raise InputError.from_parts(
                expected=f"{name} with {options.mass} in the signal region {region}",
                got=f"none in {len(found)} events of the range",
                do="check the region, the range and the unit of the mass",
            )
    return inputs
