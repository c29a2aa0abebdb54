"""A few events drawn from a model, and its likelihood of them: what tells whether a model is still the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.likelihood.nll import ExtendedNLL
    from hisigma_zfit.model.compose import SignalPlusBackground

__all__ = ["drawn", "evaluated", "require_same"]

EVENTS = 32  # of each category
TOLERANCE = 1e-3  # far below what a fit would notice, far above what other processors do to the nets


def drawn(models: Mapping[str, SignalPlusBackground], *, seed: int = 1) -> dict[str, dict[str, Array]]:
    """Events of each category by observable, at the parameters' current values."""
    from hisigma_zfit.toys.sampling import sample_sum

    return {
        category: dict(zip(model.obs, sample_sum(model, EVENTS, seed=seed + k).T, strict=True))
        for k, (category, model) in enumerate(models.items())
    }


def evaluated(loss: ExtendedNLL, theta: Array) -> dict[str, Any]:
    """-log L at `theta`, shape (P,), with slope and curvature in every floating parameter by name."""
    at = loss.evaluator().evaluate(theta)
    free = [(k, str(p.name)) for k, p in enumerate(loss.parameters) if p.floating]
    return {
        "nll": float(at.value + loss.data_constant()),
        "gradient": {name: float(at.gradient[k]) for k, name in free},
        "curvature": {name: float(at.hessian[k, k]) for k, name in free},
    }


def require_same(kept: Mapping[str, Any], found: Mapping[str, Any]) -> float:
    """The largest difference of two evaluations: of -log L, and of its slopes per standard deviation.

    Raises:
        InputError: It is larger than 1e-3, or parameters differ.
    """
    if set(kept["gradient"]) != set(found["gradient"]):
        raise InputError.from_parts(
            expected=f"the parameters {', '.join(kept['gradient'])}",
            got=", ".join(found["gradient"]),
            do="read it with the version that wrote it",
        )
    apart = [abs(found["nll"] - kept["nll"])]
    for name, slope in kept["gradient"].items():
        scale = np.sqrt(max(kept["curvature"][name], 1.0))  # at least one unit: what hardly matters has no width
        apart.append(abs(found["gradient"][name] - slope) / scale)
    worst = float(max(apart))
    if not worst < TOLERANCE:
        raise InputError.from_parts(
            expected="the likelihood that was exported",
            got=f"one that differs by {worst:.2g}",
            do="use the versions of the packages that wrote it: they are in `about`",
        )
    return worst
