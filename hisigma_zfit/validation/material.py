"""The events of a validation: what is kept of the files, and what each job makes of them.

**Blind.**  Data with masses in the signal region are dropped as soon as they are read; nothing counts or looks at them.
Where a fit needs something at those masses, it gets *pseudo-events* that the sidebands foretell: masses from the shape
fitted to the sidebands, features from the density that was learned there.

**Windows.**  Data events in a pseudo-signal region are hidden from the training and fitted with the simulated signal
moved there (all masses by the same amount, the features as they are).  The true signal region is filled with
pseudo-events, so that the mass is fitted over the whole range as in the measurement; by the sideband rule their
features do not count.

**Injection.**  Signal is added to pseudo-experiments and not to the data, for three reasons: the data of the signal
region are blind; without it they have no truth; and a retraining on the very sidebands of the reference would
repeat its fluctuation, so that neither bias nor spread could be seen.  Sidebands, signal region and further sideband
events for the training are all drawn anew from the reference, in the numbers of the real ones: a parametric bootstrap.
Its densities are known, so the same events are also fitted with these, and the difference is free of their noise.  What
the reference itself misses it cannot see; windows are for that.

**Signal that is injected** is drawn without replacement, in proportion to its weights, from a fifth of the simulated
events that no training of a validation sees (the other four fifths train p_s).  Several jobs draw from the same fifth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.data import Dataset, SignalRegion
from hisigma_zfit.data.region import in_any
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, hashed_uniform, stream
from hisigma_zfit.measurement.inputs import Inputs, Sample
from hisigma_zfit.validation.plan import Use, use_seed
from hisigma_zfit.validation.sideband_shape import SidebandShape

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.density.base import ConditionalFlow
    from hisigma_zfit.measurement.options import MeasureOptions
    from hisigma_zfit.validation.plan import Job

__all__ = ["Material", "Modified", "collect", "modified"]

RESERVED = 0.2  # of the simulated signal
_DRAWN = 2**40  # identities of drawn events begin far from those of files
_INJECTED = 2**41
_MORE = 2**42


@dataclass(frozen=True)
class Material:
    """What all jobs have in common; it travels to other processes.

    Attributes:
        options: The measurement.
        sidebands: Data in the sidebands.
        more: Further sideband events for the training; possibly none.
        signal: Simulated signal that trains.
        reserve: Simulated signal that is injected.
        shape: Masses of the background.
        sigma: Expected statistical error, in events; not a number until the reference is fitted.
        reference: Packed densities of the background and of the signal; None likewise.
    """

    options: MeasureOptions
    sidebands: Dataset
    more: Dataset
    signal: Dataset
    reserve: Dataset
    shape: SidebandShape
    sigma: float = np.nan
    reference: tuple[Any, Any] | None = None

    @property
    def mass(self) -> Any:
        """Space of the mass."""
        import zfit

        return zfit.Space(self.options.mass, *self.options.range)

    @property
    def training(self) -> Dataset:
        """All sideband events that train the background."""
        return _joined(self.sidebands, self.more) if len(self.more) else self.sidebands

    @property
    def signal_outside(self) -> float:
        """Share of the simulated signal with masses in the sidebands."""
        inside = self.options.region.contains(self.signal[self.options.mass])
        weights = np.ones(len(inside)) if self.signal.weights is None else self.signal.weights
        return float(weights[~inside].sum() / weights.sum())

    def flows(self) -> tuple[ConditionalFlow, ConditionalFlow]:
        """The reference: densities of the background and of the signal."""
        from hisigma_zfit.density.loading import unpacked

        assert self.reference is not None
        background, signal = (unpacked(*pack) for pack in self.reference)
        return background, signal


@dataclass(frozen=True)
class Modified:
    """The input of one job.

    Attributes:
        inputs: What is measured.
        injected: Signal events that were added.
        leaked: Those of them that train the background.
    """

    inputs: Inputs
    injected: int
    leaked: int


def collect(inputs: Inputs, options: MeasureOptions, *, seed: int) -> Material:
    """Keep what a validation may see.

    Args:
        inputs: All events; those of the data in the signal region are left behind here.
        options: The measurement.
        seed: Decides which simulated events are kept from every training.
    """
    sidebands = inputs.data.sidebands(inputs.mass, inputs.region, minimum=1)
    everything = inputs.training.events
    signal = inputs.signal.events
    kept = hashed_uniform(signal.identity, use_seed(seed, Use.RESERVE), Purpose.VALIDATION) >= RESERVED
    return Material(
        options=options,
        sidebands=sidebands,
        more=everything.select(everything.identity >= inputs.data.report.n_read, reason="data"),
        signal=signal.select(kept, reason="kept for injection"),
        # what is injected is counted where it is fitted
        reserve=inputs.fitted(signal.select(~kept, reason="kept for training")),
        shape=SidebandShape.fit(sidebands[options.mass], options.range, options.signal_region, options.masked_windows),
    )


def modified(material: Material, job: Job, background: ConditionalFlow) -> Modified:
    """Make the input of a job.

    Args:
        material: The events.
        job: What to do with them.
        background: The density that pseudo-events are drawn from.

    Raises:
        InputError: More signal is to be injected than simulation is there for.
    """
    return _window(material, job, background) if job.window is not None else _injected(material, job, background)


def _window(material: Material, job: Job, background: ConditionalFlow) -> Modified:
    options, mass = material.options, material.options.mass
    assert job.window is not None
    window = SignalRegion(*job.window)
    rng = stream(job.events_seed, Purpose.PSEUDO_DATA)
    n = int(rng.poisson(material.shape.expected(*options.signal_region)))
    filler = _pseudo_events(material, n, options.signal_region, background, rng, first=_DRAWN)
    training = material.training
    outside = training.select(~window.contains(training[mass]), reason=f"pseudo-signal region {window}")
    by = 0.5 * (sum(job.window) - sum(options.signal_region))
    moved = material.signal.with_columns(**{mass: material.signal[mass] + by}).within(material.mass)
    inputs = Inputs(
        material.mass,
        window,
        options.features,
        _joined(material.sidebands, filler),
        Sample(replace(outside, region=window, mass=mass), {}),
        Sample(moved, {}),
        {},
        windows=options.masked_windows,
    )
    return Modified(inputs, 0, 0)


def _injected(material: Material, job: Job, background: ConditionalFlow) -> Modified:
    options, mass = material.options, material.options.mass
    rng = stream(job.events_seed, Purpose.PSEUDO_DATA)
    n = int(rng.poisson(material.shape.expected(*options.range)))
    drawn = _pseudo_events(material, n, options.range, background, rng, first=_DRAWN)
    signal = _signal(material, job, rng)
    data = _joined(drawn, signal) if len(signal) else drawn

    def sidebands(events: Dataset) -> Dataset:
        return events.select(_outside(events, options), reason="signal region")

    training = [sidebands(drawn)]
    leaked = sidebands(signal) if len(signal) and not job.clean else None
    if leaked is not None and len(leaked):
        training.append(leaked)
    if len(material.more):
        # masses as they are: the density is conditional, and their spectrum need not be that of the data
        masses = rng.choice(material.more[mass], len(material.more))
        training.append(_events(options, masses, background, rng, first=_MORE))
    inputs = Inputs(
        material.mass,
        options.region,
        options.features,
        data,
        Sample(replace(_joined(*training), region=options.region, mass=mass), {}),
        Sample(material.signal, {}),
        {},
        windows=options.masked_windows,
    )
    return Modified(inputs, len(signal), 0 if leaked is None else len(leaked))


def _outside(events: Dataset, options: MeasureOptions) -> Mask:
    return ~options.region.contains(events[options.mass])


def _signal(material: Material, job: Job, rng: np.random.Generator) -> Dataset:
    """Simulated signal of the job's strength, without weights."""
    wanted = round(job.strength * material.sigma) if job.strength else 0
    reserve = material.reserve
    usable = np.flatnonzero(np.ones(len(reserve), dtype=bool) if reserve.weights is None else reserve.weights > 0)
    if wanted > len(usable):
        raise InputError.from_parts(
            expected=f"{wanted} simulated signal events that train nothing, to inject {job.strength:g} expected errors",
            got=f"{len(usable)}",
            do="lower --strengths or simulate more signal",
        )
    chance = None if reserve.weights is None else reserve.weights[usable] / reserve.weights[usable].sum()
    rows = rng.choice(usable, wanted, replace=False, p=chance)
    columns = {name: values[rows] for name, values in reserve.columns.items()}
    return Dataset.from_arrays(columns, identity=_INJECTED + reserve.identity[rows])


def _pseudo_events(
    material: Material,
    n: int,
    within: tuple[float, float],
    background: ConditionalFlow,
    rng: np.random.Generator,
    *,
    first: int,
) -> Dataset:
    masses = material.shape.sample(n, rng, within)
    masses = masses[~in_any(masses, material.options.masked_windows)]
    return _events(material.options, masses, background, rng, first=first)


def _events(
    options: MeasureOptions, masses: Array, background: ConditionalFlow, rng: np.random.Generator, *, first: int
) -> Dataset:
    """Background of the reference at these masses."""
    x = background.sample(masses, seed=int(rng.integers(2**62)))
    columns = dict(zip(background.features, np.asarray(x, dtype=np.float64).T, strict=True))
    return Dataset.from_arrays({options.mass: masses, **columns}, identity=first + np.arange(len(masses)))


def _joined(*parts: Dataset) -> Dataset:
    """Data sets after each other, every event with the identity that it had: a leaked event more changes no other."""
    names = parts[0].names
    columns = {name: np.concatenate([part[name] for part in parts]) for name in names}
    return Dataset.from_arrays(columns, identity=np.concatenate([part.identity for part in parts]))
