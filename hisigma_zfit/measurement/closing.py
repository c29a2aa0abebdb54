"""Whether densities describe events that did not train them: closure of the background, response to the signal."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hisigma_zfit.density import diagnostics
from hisigma_zfit.inference.response import enough_events, signal_response
from hisigma_zfit.learn.resampling import held_out_events
from hisigma_zfit.measurement.streams import Stream, stream_seed
from hisigma_zfit.results import ClosureReport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.fitting.profiler import Profiler
    from hisigma_zfit.measurement.densities import Densities
    from hisigma_zfit.measurement.inputs import Inputs
    from hisigma_zfit.results import SignalResponse

__all__ = ["closure", "response"]

_log = logging.getLogger(__name__)


def closure(inputs: Mapping[str, Inputs], densities: Mapping[str, Densities], *, seed: int) -> ClosureReport:
    """Whether the background densities that are fitted describe sidebands that did not train them, feature by feature.

    Args:
        inputs: Events of each category by its name, empty if there is only one; it is put before the features' names.
        densities: What was learned from them.
        seed: Seed of every random step.
    """
    flagged: list[str] = []
    misfit: dict[str, float] = {}
    too_few = False
    for category, part in inputs.items():
        verdict = diagnostics.held_out_closure(
            densities[category].background.flow,
            part.training.events,
            training_seed=stream_seed(seed, Stream.BACKGROUND, category),
            seed=stream_seed(seed, Stream.CLOSURE, category),
            classifier=False,
        )
        if verdict is None:
            too_few = True
            continue
        before = f"{category}." if category else ""
        flagged += [f"{before}{feature}" for feature in verdict.flagged]
        misfit |= {f"{before}{f.feature}": f.conditional_misfit for f in verdict.features}
    if flagged:
        _log.warning(
            "the background density misses %s in the sidebands; try --flow maf or other features", ", ".join(flagged)
        )
    return ClosureReport(tuple(flagged), misfit, too_few=too_few)


def response(profiler: Profiler, inputs: Mapping[str, Inputs], *, seed: int) -> SignalResponse | None:
    """What part of the signal the fit returns, by the simulated events that only validated the training."""
    held_out = [
        held_out_events(part.fitted(part.signal.events), seed=stream_seed(seed, Stream.SIGNAL, category))
        for category, part in inputs.items()
    ]
    if not enough_events(held_out):
        return None
    found = signal_response(profiler, profiler.name, held_out, seed=stream_seed(seed, Stream.RESPONSE))
    if not found.passed:
        _log.warning(
            "the fit returns %.2f +- %.2f of the signal that is there: its density was trained too short or on too "
            "few events; try --preset paper, more simulated signal or fewer features",
            found.value,
            found.error,
        )
    return found
