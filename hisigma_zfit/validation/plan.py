"""Which measurements a validation repeats: each is a job that depends on the seed and its own number alone.

A job more or less, or a longer validation with the same seed, changes none of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.data import SignalRegion
from hisigma_zfit.data.region import beside
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, seed_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.results.validation import JobKind
    from hisigma_zfit.validation.options import ValidateOptions

__all__ = ["Job", "Use", "make_plan", "place_windows", "use_seed"]

Window = tuple[float, float]

MIN_INSIDE = 20  # events in a window, below which a fit of it says nothing


class Use(IntEnum):
    """What the seeds of a validation are for."""

    RESERVE = 1
    REFERENCE = 2
    WINDOW = 3
    INJECTION = 4
    VARIANT = 5


def use_seed(seed: int, use: Use, *numbers: int) -> int:
    """Seed of one use; see `learn.streams`."""
    return seed_for(seed, Purpose.VALIDATION, use, *numbers)


@dataclass(frozen=True)
class Job:
    """One measurement of a modified input.

    Attributes:
        name: Unique; also that of its file.
        kind: What is modified.
        events_seed: Decides the events.
        training_seed: Seed of the measurement.
        window: The pseudo-signal region, or None for the signal region itself.
        strength: Injected signal in units of the expected error.
        clean: Whether the injected events that fall into the sidebands are kept from the training.
        variant: What is trained differently.
        partner: The job with the same events that it is compared with.
    """

    name: str
    kind: JobKind
    events_seed: int
    training_seed: int
    window: Window | None = None
    strength: float = 0.0
    clean: bool = False
    variant: str = ""
    partner: str = ""


def place_windows(mass_range: Window, region: Window, n: int, masked: Sequence[Window] = ()) -> tuple[Window, ...]:
    """Pseudo-signal regions in both sidebands, from low to high masses, that share no event.

    Each sideband of length L holds k of them, as wide as the signal region but at most L / (k + 1), with gaps of one
    size before, between and behind them: the training sees events on both sides of every window.  Each sideband gets
    one, and every further one goes where it can be widest.  Masked windows make more sidebands of the two, of which
    the longest below and the longest above the signal region get one.

    Args:
        mass_range: Range of the mass.
        region: The signal region.
        n: How many, two at least.
        masked: Masked windows.
    """
    sides = beside(*mass_range, [SignalRegion(*own) for own in (region, *masked)])
    lengths = [high - low for low, high in sides]
    counts = [0] * len(sides)
    for wanted in (True, False):  # below and above the region
        own = [k for k, (low, _) in enumerate(sides) if (low < region[0]) == wanted]
        counts[max(own, key=lengths.__getitem__)] = 1
    for _ in range(n - 2):
        counts[int(np.argmax([length / (count + 2) for length, count in zip(lengths, counts, strict=True)]))] += 1
    windows = []
    for (low, high), count in zip(sides, counts, strict=True):
        if not count:
            continue
        width = min(region[1] - region[0], (high - low) / (count + 1))
        gap = (high - low - count * width) / (count + 1)
        windows += [(start := low + gap + k * (width + gap), start + width) for k in range(count)]
    return tuple(windows)


def make_plan(options: ValidateOptions, masses: Array, *, leaks: bool) -> tuple[Job, ...]:
    """All jobs, those first that decide the spurious signal.

    Args:
        options: What was asked for.
        masses: Of the data in the sidebands, shape (n,): the window with most of them is the one in which other
            trainings are compared.
        leaks: Whether simulated signal worth mentioning is in the sidebands; else no contamination is tried.

    Raises:
        InputError: A window has fewer than 20 events of the data.
    """
    windows = place_windows(options.range, options.signal_region, options.windows, options.masked)
    inside = [int(np.sum((masses >= low) & (masses < high))) for low, high in windows]
    if min(inside) < MIN_INSIDE:
        low, high = windows[int(np.argmin(inside))]
        raise InputError.from_parts(
            expected=f"at least {MIN_INSIDE} events of the data in each pseudo-signal region",
            got=f"{min(inside)} in [{low:g}, {high:g})",
            do="ask for fewer --windows or widen the range",
        )
    in_windows = [_window(options.seed, k, window) for k, window in enumerate(windows)]
    injections = [
        _injection(options.seed, k, strength)
        for k, strength in enumerate(strength for _ in range(options.replicas) for strength in options.strengths)
    ]
    jobs = [*in_windows, *injections]
    strongest = max(injections, key=lambda job: job.strength)
    if leaks and strongest.strength > 0:
        jobs.append(
            replace(strongest, name="contamination-000", kind="contamination", clean=True, partner=strongest.name)
        )
    return (*jobs, *_variants(options, in_windows[int(np.argmax(inside))]))


def _window(seed: int, number: int, window: Window) -> Job:
    return Job(
        f"window-{number:03d}",
        "window",
        use_seed(seed, Use.WINDOW, number, 0),
        use_seed(seed, Use.WINDOW, number, 1),
        window=window,
    )


def _injection(seed: int, number: int, strength: float) -> Job:
    return Job(
        f"injection-{number:03d}",
        "injection",
        use_seed(seed, Use.INJECTION, number, 0),
        use_seed(seed, Use.INJECTION, number, 1),
        strength=strength,
    )


def _variants(options: ValidateOptions, window: Job) -> Sequence[Job]:
    """The same window with other trainings; what would be the same training is left out."""
    wanted = [name for name in dict.fromkeys(options.variants) if name not in {options.preset, options.flow}]
    return [
        replace(
            window,
            name=f"stability-{name}",
            kind="stability",
            training_seed=use_seed(options.seed, Use.VARIANT) if name == "seed" else window.training_seed,
            variant=name,
            partner=window.name,
        )
        for name in wanted
    ]
