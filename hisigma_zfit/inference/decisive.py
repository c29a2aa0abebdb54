"""Whether one event alone makes an excess: what it adds to the test statistic, and what it is.

Densities are learned from thousands of events and say little of one that is unlike all of these: there both are
extrapolated, and their ratio grows without bound.  Such an event can be a discovery by itself, which a p-value does not
show.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import zfit

from hisigma_zfit.likelihood.columns import terms_of
from hisigma_zfit.likelihood.graph import log_density, morph_inputs
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.toys.proposal import parameters_restored

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.fitting.profiler import Profiler

__all__ = ["gains", "warn_of_one_event"]

_log = logging.getLogger(__name__)

_SHARE, _LEAST = 0.5, 9.0  # of q0 that one event gives, and in units of q0, from which on it is told


def gains(profiler: Profiler) -> tuple[Array, ...]:
    """What every event adds to q0, 2 w log(L_i(best) / L_i(no signal)), for each data set, each of shape (n,).

    Their sum is q0 but for the expected numbers of events and the constraints.

    Args:
        profiler: Profile of an `ExtendedNLL` in one parameter.
    """
    loss: ExtendedNLL = profiler.loss
    found = []
    with parameters_restored(loss.parameters):
        for theta in (profiler.minimum.theta, profiler.at(0.0).theta):
            zfit.param.assign_values(loss.parameters, theta)
            logs = []
            for model, columns in zip(loss.model, loss.columns(), strict=True):
                m = None if columns.mass is None else columns.mass
                own = np.asarray(log_density(terms_of(model), m, columns.ratio, morph_inputs(columns))[1])
                logs.append(own if columns.weights is None else own * columns.weights)
            found.append(logs)
    return tuple(2.0 * (best - without) for best, without in zip(*found, strict=True))


def warn_of_one_event(profiler: Profiler, q0: float) -> None:
    """Name the event that gives most of an excess, if one does.

    Args:
        profiler: Profile of any likelihood; nothing is said of other kinds than `ExtendedNLL`.
        q0: The test statistic.
    """
    if not isinstance(profiler.loss, ExtendedNLL) or not _LEAST < q0 < np.inf:
        return
    for data, own in zip(profiler.loss.data, gains(profiler), strict=True):
        at = int(np.argmax(own))
        if own[at] > max(_LEAST, _SHARE * q0):
            row = np.asarray(data.value())[at].tolist()
            values = ", ".join(f"{name} = {value:.5g}" for name, value in zip(data.obs, row, strict=True))
            _log.warning(
                "one event gives %.3g of q0 = %.3g: row %d of the data (%s); ask whether the densities know such "
                "events, and what is left without it",
                own[at],
                q0,
                at,
                values,
            )
