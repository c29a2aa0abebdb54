"""Where fits start: the values of an earlier fit, and a place where every event has a density; numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.fitting.newton import Minimum
from hisigma_zfit.likelihood.protocol import names_of, yields_in

if TYPE_CHECKING:
    from collections.abc import Collection

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.likelihood.evaluate import Evaluator
    from hisigma_zfit.likelihood.protocol import Likelihood

__all__ = ["values_of", "with_a_density"]


def values_of(result: Any) -> Array:
    """All parameters of a fit's likelihood at the fit's own values, shape (P,), whatever they have become since.

    Args:
        result: A fit result with ``loss`` and ``params``, as of `hz.fit`, or a likelihood at its current values.
    """
    loss = getattr(result, "loss", result)
    theta: Array = loss.theta()
    if loss is result:
        return theta
    minimum = getattr(result, "minimum", None) or (getattr(result, "info", None) or {}).get("minimum")
    if isinstance(minimum, Minimum) and minimum.theta.size == theta.size:
        theta = minimum.theta.copy()  # those that did not float too
    names = names_of(loss.parameters)
    for parameter, found in result.params.items():
        theta[names.index(str(parameter.name))] = float(found["value"])
    return theta


def with_a_density(
    loss: Likelihood, evaluator: Evaluator, theta: Array, movable: Collection[int], limits: tuple[Array, Array]
) -> Array | None:
    """The same with so many events of everything that may move that -log L is finite, if anything makes it so.

    A best fit without background has no density where the signal is held at nothing, and one with little background
    none where it is held at less than nothing; more background always has one, where it has one at all.

    Args:
        loss: The likelihood, which knows its `yields`.
        evaluator: Its values.
        theta: All parameters, shape (P,).
        movable: Indices of the parameters that may change.
        limits: Lower and upper limits, each of shape (P,).

    Returns:
        All parameters, or None.
    """
    names = names_of(loss.parameters)
    known = [names.index(name) for name in yields_in(loss) if name in names]
    at = [k for k in known if k in movable]
    if not at:
        return None
    size = max(float(np.abs(theta[known]).sum()), 1.0) / len(at)
    for factor in 4.0 ** np.arange(10):
        raised = theta.copy()
        raised[at] = np.clip(np.maximum(theta[at], factor * size), limits[0][at], limits[1][at])
        if np.isfinite(evaluator.value(raised)):
            return raised
    return None
