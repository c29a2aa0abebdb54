"""The events that one measurement starts from: steps 0 and 1 of paper (arXiv:2506.06438) section 2.1."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit import data
from hisigma_zfit.data.columns import expand
from hisigma_zfit.data.digest import digests_by_name, names_by_role
from hisigma_zfit.data.names import name_hint
from hisigma_zfit.data.overlap import require_other_content
from hisigma_zfit.data.region import beside, in_any
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.kinds import resolve_kinds

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import zfit

    from hisigma_zfit.data import Dataset, SignalRegion
    from hisigma_zfit.data.places import Place
    from hisigma_zfit.measurement.options import InputOptions

__all__ = [
    "CLOSED",
    "Inputs",
    "Sample",
    "Varied",
    "input_digests",
    "input_files",
    "input_roles",
    "read",
    "require_disjoint",
    "warn_of_other_events",
    "warn_of_unused_columns",
]

Varied = dict[str, tuple["Dataset", "Dataset"]]  # nuisance -> events at +1 and -1

_log = logging.getLogger(__name__)

CLOSED = "closed window"  # why events are dropped whose number is nobody's business
LEAST_BETWEEN = 100  # sideband events between two windows: fewer say next to nothing of how the density changes

_SHARED_EVENTS = (
    0.9  # of the nominal and the varied events together; where the mass itself varies, some leave its range
)


@dataclass(frozen=True)
class Sample:
    """Events that one density is learned from.

    Attributes:
        events: The nominal ones.
        varied: The same by nuisance.
    """

    events: Dataset
    varied: Varied


@dataclass(frozen=True)
class Inputs:
    """Events of one category inside the mass range.

    Attributes:
        mass: The mass with its range.
        region: The signal region.
        features: Names of the features x'.
        data: Events to fit.
        training: Sideband events that the background is trained with.
        signal: Simulated signal.
        backgrounds: Other backgrounds from simulation, by name.
        kinds: Kinds of the features that are not continuous, in words: the same for all densities.
        windows: Masked windows, of which observed events are left out; simulated ones train and are there.
    """

    mass: zfit.Space
    region: SignalRegion
    features: tuple[str, ...]
    data: Dataset
    training: Sample
    signal: Sample
    backgrounds: dict[str, Sample]
    kinds: dict[str, str] = field(default_factory=dict)
    windows: tuple[SignalRegion, ...] = ()

    def size(self, component: str) -> float:
        """Sum of the weights of simulated events where the data are fitted."""
        events = self.fitted(self.samples[component].events)
        return float(len(events) if events.weights is None else events.weights.sum())

    def fitted(self, events: Dataset) -> Dataset:
        """Simulated events as far as the data are fitted: outside of the masked windows."""
        return _outside(events, str(self.mass.obs[0]), self.windows)

    @property
    def samples(self) -> dict[str, Sample]:
        """Events that each component is learned from."""
        return {"background": self.training, "signal": self.signal, **self.backgrounds}


def input_files(options: InputOptions) -> dict[str, list[Place]]:
    """Every input file by what it is used as, in the order in which it is read.

    Raises:
        InputError: One is missing.
    """
    groups: dict[str, Sequence[str]] = {
        "data": options.data,
        "signal": options.signal,
        "sideband_training": options.sideband_training,
    }
    varied = {"systematic": options.systematic, "background_systematic": options.background_systematic}
    for name, own in options.backgrounds.items():
        groups[f"backgrounds.{name}"] = own.files
        varied[f"backgrounds.{name}.systematic"] = own.systematic
    for kind, pairs in varied.items():
        for name, (up, down) in pairs.items():
            groups |= {f"{kind}.{name}.up": [up], f"{kind}.{name}.down": [down]}
    return {role: expand(files) for role, files in groups.items() if files}


def input_digests(options: InputOptions) -> dict[str, str]:
    """Digest of every input file by its name, without the folder unless two files share it."""
    return digests_by_name(input_files(options))


def input_roles(options: InputOptions) -> dict[str, list[str]]:
    """Names of the files by what they are used as, in order."""
    return names_by_role(input_files(options))


def warn_of_other_events(nominal: Dataset, varied: Varied) -> None:
    """Say so where variations cannot be the events of the nominal training, by how many of these they share.

    Args:
        nominal: Events of the nominal training.
        varied: Varied events by nuisance.
    """
    for name, pair in varied.items():
        for events in pair:
            shared = len(np.intersect1d(nominal.identity, events.identity))
            either = len(np.union1d(nominal.identity, events.identity))
            # rows of files of different lengths cannot be told to be the same events
            if shared < _SHARED_EVENTS * either or events.report.n_read != nominal.report.n_read:
                _log.warning(
                    "%s: expected the %d events of the nominal training from %d rows, got %d of them from %d rows; "
                    "vary the same rows in the same order, those that a cut removes too, or the noise of the "
                    "trainings pulls the nuisance",
                    name,
                    len(nominal),
                    nominal.report.n_read,
                    shared,
                    events.report.n_read,
                )


def warn_of_unused_columns(defined: Mapping[str, str], used: Collection[str]) -> None:
    """Say so where a column is defined that nothing uses: its name may be misspelt, and a branch be taken instead.

    Args:
        defined: Columns with their expressions.
        used: Names of the columns that are read.
    """
    for name in defined:
        if name not in used:
            others = [own for own in used if own not in defined]
            hint = name_hint(name, others) if others else "name it among the features, or leave it out"
            _log.warning("columns: expected only those that are used, got %r; %s", name, hint)


def require_disjoint(options: InputOptions, cuts: Mapping[str, str]) -> None:
    """Check that no event of the data or of the simulated signal is in two categories, where it would count twice.

    Args:
        options: The files.
        cuts: Cut of each category by its name.

    Raises:
        InputError: An event is, or a cut is none.
    """
    # a category may have the name of a branch or of nothing that an expression may be called
    columns = {f"category {name}": cut for name, cut in cuts.items()}
    with_mass = columns | {options.mass: options.column_expressions()[options.mass]}
    for what, files in (("data", options.data), ("signal simulation", options.signal)):
        closed = options.blind and what == "data"
        masked = what == "data" and bool(options.masked_windows)
        wanted = with_mass if closed or masked else columns
        found = data.read(files, tree=options.tree, columns=wanted, cut=options.cut)
        if closed or masked:
            found = _outside(found, options.mass, _closed(options))
        for (column, cut), values in zip(columns.items(), map(found.__getitem__, columns), strict=True):
            if not np.isin(values, (0.0, 1.0)).all():
                raise InputError.from_parts(
                    expected=f"a cut of {column} that is true or false", got=repr(cut), do="compare it with something"
                )
        names = list(cuts)
        inside = np.stack([found[column] for column in columns]).astype(int)
        for first, second in itertools.combinations(range(len(names)), 2):
            if shared := int((inside[first] * inside[second]).sum()):
                raise InputError.from_parts(
                    expected="categories that share no event",
                    got=f"{shared} events of the {what} in {names[first]} and {names[second]}",
                    do="let their cuts exclude each other",
                )


def _closed(options: InputOptions) -> tuple[SignalRegion, ...]:
    """Windows of which no data are looked at."""
    return (options.region, *options.masked_windows) if options.blind else options.masked_windows


def _outside(events: Dataset, mass: str, windows: Sequence[SignalRegion]) -> Dataset:
    """Those events that are in none of some windows."""
    return events.select(~in_any(events[mass], windows), reason=CLOSED) if windows else events


def _require_sidebands(training: Dataset, options: InputOptions) -> None:
    """Check that the background is learned on both sides of every window.

    Raises:
        InputError: There are too few events between two windows, or between one and an end of the range.
    """
    for low, high in (
        beside(*options.range, (options.region, *options.masked_windows)) if options.masked_windows else ()
    ):
        masses = training[options.mass]
        found = int(np.count_nonzero((masses >= low) & (masses < high)))
        if found < LEAST_BETWEEN:
            raise InputError.from_parts(
                expected=f"at least {LEAST_BETWEEN} sideband events on each side of every window",
                got=f"{found} from {low:g} to {high:g}",
                do="move the windows apart, give one that spans both, or widen the range",
            )


def read(options: InputOptions) -> Inputs:
    """Read everything that the options name; of a blind run's data only what is outside of the signal region.

    Raises:
        InputError: Files or columns are wrong, or no event is in the signal region of what is not blind.
    """
    require_other_content({"data": options.data, "sideband training": options.sideband_training})
    weighted = {"weight": options.weight, "nonnegative_weights": True}

    def load(files: tuple[str, ...], **more: Any) -> Dataset:
        return data.read(files, tree=options.tree, columns=options.column_expressions(), cut=options.cut, **more)

    def simulated(files: tuple[str, ...], varied: Mapping[str, tuple[str, str]]) -> Sample:
        return Sample(
            load(files, **weighted),
            {k: (load((u,), **weighted), load((d,), **weighted)) for k, (u, d) in varied.items()},
        )

    counted = {} if options.data_weight is None else {"weight": options.data_weight, "nonnegative_weights": True}

    def observed(files: tuple[str, ...]) -> Dataset:
        return _outside(load(files, **counted), options.mass, _closed(options))

    events = observed(options.data)
    signal = simulated(options.signal, options.systematic)
    backgrounds = {name: simulated(own.files, own.systematic) for name, own in options.backgrounds.items()}
    varied_training = {name: (observed((u,)), observed((d,))) for name, (u, d) in options.background_systematic.items()}
    pool = events.concatenate(observed(options.sideband_training)) if options.sideband_training else events
    # only now: importing zfit takes seconds, which a mistake in the files need not wait for
    import zfit

    mass, region = zfit.Space(options.mass, *options.range), options.region

    def within(sample: Sample) -> Sample:
        varied = {name: (up.within(mass), down.within(mass)) for name, (up, down) in sample.varied.items()}
        return Sample(sample.events.within(mass), varied)

    def sidebands(found: Dataset) -> Dataset:
        return found.sidebands(mass, region)

    inputs = Inputs(
        mass,
        region,
        options.features,
        events.within(mass),
        Sample(sidebands(pool), {k: (sidebands(u), sidebands(d)) for k, (u, d) in varied_training.items()}),
        within(signal),
        {name: within(sample) for name, sample in backgrounds.items()},
        windows=options.masked_windows,
    )
    _require_sidebands(inputs.training.events, options)
    samples = {} if options.blind else {"data": inputs.data}
    samples |= {"signal simulation": inputs.signal.events}
    samples |= {f"simulation of {name}": sample.events for name, sample in inputs.backgrounds.items()}
    for name, found in samples.items():
        if not region.contains(found[options.mass]).any():
            raise InputError.from_parts(
                expected=f"{name} with {options.mass} in the signal region {region}",
                got=f"none in {len(found)} events of the range",
                do="check the region, the range and the unit of the mass",
            )
    return replace(inputs, kinds=_common_kinds(inputs, options.kinds)) if options.kinds else inputs


def _common_kinds(inputs: Inputs, kinds: Mapping[str, str]) -> dict[str, str]:
    """Kinds with what is found in all training events together: a ratio of densities needs the same atoms in both."""
    samples = [
        events
        for sample in inputs.samples.values()
        for events in (sample.events, *(each for pair in sample.varied.values() for each in pair))
    ]
    own = {name: words for name, words in kinds.items() if name in inputs.features}
    return {name: str(kind) for name, kind in resolve_kinds(own, inputs.features, samples).items()}
