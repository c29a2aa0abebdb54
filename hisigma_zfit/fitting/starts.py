"""Where fits start: the values of an earlier fit, and a place where every event has a density; numpy only."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import FitError
from hisigma_zfit.fitting.newton import Minimum, Status, minimise
from hisigma_zfit.likelihood.protocol import limits_of, names_of, yields_in

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.likelihood.evaluate import Evaluator
    from hisigma_zfit.likelihood.protocol import Likelihood

__all__ = ["found_from", "require_determined", "values_of", "warn_of_limits", "with_a_density", "without_maximum_below"]

_log = logging.getLogger(__name__)

_TOO_FEW = 3.0  # errors below zero at which a number of events is no fluctuation


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


def found_from(
    loss: Likelihood,
    evaluator: Evaluator,
    start: Array,
    free: Collection[int],
    limits: tuple[Array, Array],
    *,
    tolerance: float,
) -> Minimum:
    """The global minimum from a start, or from one with events of everything if that leads nowhere.

    Args:
        loss: The likelihood.
        evaluator: Its values.
        start: All parameters, shape (P,).
        free: Indices of the parameters that float.
        limits: Lower and upper limits, each of shape (P,).
        tolerance: See `minimise`.
    """
    at = np.array(sorted(free), dtype=np.intp)
    found = minimise(evaluator, start, at, limits=limits, tolerance=tolerance)
    if found.converged or found.status is Status.UNBOUNDED:
        return found
    other = with_a_density(loss, evaluator, start, free, limits)
    if other is None:
        return found
    again = minimise(evaluator, other, at, limits=limits, tolerance=tolerance)
    return again if again.converged or again.status is Status.UNBOUNDED else found


def warn_of_limits(loss: Likelihood, minimum: Minimum) -> None:
    """Say so where a fit ended at a parameter's limit, or far below zero events: the numbers alone do not show it.

    Args:
        loss: The likelihood.
        minimum: Its best fit.
    """
    names, yields = names_of(loss.parameters), yields_in(loss)
    lower, upper = limits_of(loss.parameters)
    variances = np.diag(minimum.covariance())
    for k, parameter in enumerate(loss.parameters):
        if not parameter.floating:
            continue
        value, slope = float(minimum.theta[k]), float(minimum.evaluation.gradient[k])
        for side, edge, pushed in (("lower", lower[k], slope > 0.0), ("upper", upper[k], slope < 0.0)):
            if value == edge and pushed:
                _log.warning(
                    "%s ended at its %s limit of %g, beyond which the likelihood is larger: it has no error there, "
                    "and what is said of the others holds if the limit is meant",
                    names[k],
                    side,
                    edge,
                )
        error = float(np.sqrt(variances[k])) if variances[k] > 0.0 else 0.0
        if names[k] in yields and error > 0.0 and value < -_TOO_FEW * error:
            _log.warning(
                "%s = %.4g +- %.2g is %.1f errors below zero: there are fewer events than the model has without it; "
                "check whether some were cut out, or whether the background describes them",
                names[k],
                value,
                error,
                -value / error,
            )


def require_determined(minimum: Minimum, names: Sequence[str]) -> None:
    """Say which parameters a fit left alone because nothing depends on them.

    Args:
        minimum: Its best fit.
        names: Of all parameters.

    Raises:
        FitError: The data determine only a combination of some parameters.
    """
    undetermined = minimum.undetermined(names)
    if minimum.status is Status.FLAT:
        _log.warning("nothing depends on %s: left alone, without an error", ", ".join(undetermined))
    elif undetermined:
        raise FitError(f"the data do not determine {' and '.join(undetermined)} apart; fix or constrain one of them")


def without_maximum_below(loss: Likelihood, minimum: Minimum, index: int, limits: tuple[Array, Array]) -> bool:
    """Whether there is no best fit because one number of events runs to minus infinity; says so if it is.

    Args:
        loss: The likelihood.
        minimum: What was found.
        index: Index of the parameter.
        limits: Lower and upper limits, each of shape (P,).
    """
    name = names_of(loss.parameters)[index]
    if minimum.away is None or not minimum.away[index] < 0.0 or name not in yields_in(loss) or limits[0][index] >= 0.0:
        return False
    _log.warning(
        "the likelihood has no maximum, %s runs to -inf: there are few events, and none of them is like the signal; "
        "what is asked is answered for %s of zero or more",
        name,
        name,
    )
    return True
