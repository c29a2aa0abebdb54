"""What a measurement will need in memory and on disk, from the sizes of its events.

Bytes by event, counted from the arrays that are there at the same time, and what the libraries take themselves.  Large
columns lie in files without a name (`hisigma_zfit.arrays`), so that they count as disk; what is left for memory are the
orders and weights of the trainings, sorted marginals, and buffers of the fit.  `benchmarks/memory.py` compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hisigma_zfit import arrays
from hisigma_zfit.threads import available

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.measurement.inputs import Inputs
    from hisigma_zfit.measurement.options import MeasureOptions

__all__ = ["Needs", "needs_of"]

LIBRARIES = 1.05 * 2**30  # TensorFlow, zfit, what XLA compiles, matplotlib
MARGINALS = 24  # bytes by event while a stack of members is set up: sorted values and weights of a feature, sums
CHECKS = 32  # the same while the events of a training are checked: hashes of identities, masks, masses
DRAWN = 0.65  # part of the events that a resample has
FIT = 90  # bytes by event: masses, what densities and columns are made of on the way
EACH_FIT = 1  # bytes by event and fit: which events are near the signal


@dataclass(frozen=True)
class Needs:
    """Bytes.

    Attributes:
        memory: That no file stands behind.
        disk: In files without a name, in the folder of `tempfile`.
    """

    memory: float
    disk: float


def needs_of(inputs: Mapping[str, Inputs], options: MeasureOptions, *, elsewhere: bool = False) -> Needs:
    """Count what is there at the largest moment of each stage, of which the largest counts.

    Args:
        inputs: Events of each category.
        options: Of the measurement.
        elsewhere: Whether other processes train.
    """
    kept, files = 0.0, 0.0
    training = fitting = on_disk = 0.0
    beside = 1 if elsewhere or options.bootstraps == 1 else min(options.bootstraps, available())
    fits = 1 if options.bootstraps == 1 else 2 * (options.bootstraps + 2)
    for part in inputs.values():
        d = len(part.features)
        for events in (part.data, *(sample.events for sample in part.samples.values())):
            memory, disk = _columns(len(events), *[1] * (d + 2))
            kept, files = kept + memory, files + disk
        for sample in part.samples.values():
            for events in (sample.events, *(each for pair in sample.varied.values() for each in pair)):
                n = len(events)
                task, task_disk = _columns(n, d, 1, 1, 1)
                # 2 d + 1 inputs of the nets and d quantiles, of four bytes
                stack, stack_disk = _columns(n, (2 * d + 1) / 2, d / 2)
                stacks = max(1.0, DRAWN * beside)
                training = max(training, task + n * CHECKS + stacks * (stack + n * MARGINALS))
                on_disk = max(on_disk, task_disk + stacks * stack_disk)
        terms = 2 + len(part.backgrounds)
        columns, columns_disk = _columns(len(part.data), terms, 1)
        fitting += len(part.data) * (FIT + fits * EACH_FIT) + fits * columns
        files += fits * columns_disk
    return Needs(LIBRARIES + kept + max(training, fitting), files + on_disk)


def _columns(n: int, *widths: float) -> tuple[float, float]:
    """Bytes in memory and on disk of arrays of n rows with so many numbers of eight bytes."""
    sizes = [8.0 * n * width for width in widths]
    large = [size for size in sizes if size >= arrays.LARGE]
    return sum(sizes) - sum(large), sum(large)
