"""Peaks by name: zfit's shapes of one observable, and sums of them around one mean, fitted to simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zfit

from hisigma_zfit.errors import InputError
from hisigma_zfit.model.shape_names import DEFAULT_PEAK, PEAKS, peak_parts
from hisigma_zfit.model.shapes import fit_shape, fit_to_simulation, parameter_names, starts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.data import Dataset

__all__ = ["PEAK_SHAPES", "peak_shape", "require_starts"]

PEAK_SHAPES: dict[str, type[zfit.pdf.BasePDF]] = {name: getattr(zfit.pdf, name) for name in PEAKS}

Start = tuple[float, float, float]

_MEANS = ("mu", "m")  # of these names is the mean, which the parts of a sum have in common
_WIDTHS = {"sigma", "sigmal", "sigmar", "gamma"}
_WIDER = 2.0  # by which the next part of a sum is wider at the start


def peak_shape(
    name: str,
    data: Dataset,
    mass: zfit.Space,
    *,
    start: Mapping[str, Start] | None = None,
    prefix: str = "",
    freeze: bool = True,
) -> zfit.pdf.BasePDF:
    """Fit a peak to simulation, by its name, and freeze it.

    Args:
        name: A shape of zfit, such as ``"DoubleCB"``, ``"Voigt"`` or ``"GaussExpTail"``, or a sum such as
            ``"Gauss+CrystalBall"``, whose parts have one mean.
        data: Simulated events; their weights are used.
        mass: Space of the mass; events outside of its limits are left out.
        start: Start value and limits (value, lower, upper) by parameter, where others are wanted than the program
            finds.  Those of a sum are called ``mu``, ``sigma1``, ``sigma2``, ..., ``frac1``, ....
        prefix: Put before the parameters' names.
        freeze: Hold the parameters at the fitted values.

    Raises:
        InputError: There is no such shape, no events in the range, or `start` names no parameter.
        FitError: The fit did not converge.

    Example:
        >>> peak = hz.peak_shape("Gauss", hz.examples.simulation(), hz.examples.mass())
        >>> [float(p.value()) for p in peak.params.values()]  # drawn with 125 and 2
        [125.0, 1.93]
    """
    parts = peak_parts(name)
    require_starts(name, start)
    if len(parts) == 1:
        shape = PEAK_SHAPES[parts[0]]
        own = {} if parts[0] == DEFAULT_PEAK else known_starts(parts[0], data, mass)  # the default has its own
        return fit_shape(shape, data, mass, start=own | dict(start or {}), prefix=prefix, freeze=freeze)
    values = _sum_starts({part: known_starts(part, data, mass) for part in parts}, parts)
    parameters = {own: zfit.Parameter(f"{prefix}{own}", *each) for own, each in (values | dict(start or {})).items()}
    shapes = [
        PEAK_SHAPES[part](obs=mass, **{own: parameters[_called(own, k)] for own in parameter_names(PEAK_SHAPES[part])})
        for k, part in enumerate(parts, start=1)
    ]
    pdf = zfit.pdf.SumPDF(shapes, fracs=[parameters[f"frac{k}"] for k in range(1, len(parts))], name="+".join(parts))
    fit_to_simulation(pdf, data, mass)
    if freeze:
        for parameter in parameters.values():
            parameter.floating = False
    return pdf


def known_starts(part: str, data: Dataset, mass: zfit.Space) -> dict[str, Start]:
    """Start values of all parameters of one of `PEAKS` from simulation.

    Raises:
        InputError: No events in the range.
    """
    known = starts(data, mass)
    width, low, high = known["sigma"]
    known |= {"m": known["mu"], "gamma": (0.5 * width, 1e-3 * width, high)}
    known |= {"ndof": (5.0, 1.0, 200.0), "beta": (2.0, 0.3, 10.0), "q": (1.1, 1.001, 2.9)}
    if part == "ExpModGauss":
        known["lambd"] = (1.0 / width, 0.1 / high, 10.0 / low)
    if part == "JohnsonSU":  # where gamma is no width, but the skewness
        known |= {"gamma": (0.0, -20.0, 20.0), "lambd": (2.0 * width, low, 10.0 * high), "delta": (1.5, 0.1, 50.0)}
    return known


def _called(parameter: str, part: int) -> str:
    """Name of a part's parameter in a sum."""
    return "mu" if parameter in _MEANS else f"{parameter}{part}"


def _sum_starts(known: Mapping[str, Mapping[str, Start]], parts: tuple[str, ...]) -> dict[str, Start]:
    values: dict[str, Start] = {}
    for k, part in enumerate(parts, start=1):
        wider = _WIDER ** (k - 1)
        for own in parameter_names(PEAK_SHAPES[part]):
            value, low, high = known[part][own]
            scale = wider if own in _WIDTHS else 1.0
            values[_called(own, k)] = (value * scale, low, high * scale)
    return values | {f"frac{k}": (1.0 / (len(parts) - k + 1), 0.0, 1.0) for k in range(1, len(parts))}


def require_starts(peak: str, start: Mapping[str, Any] | None) -> None:
    """Refuse starts of parameters that a peak has not, with an `InputError`."""
    parts = peak_parts(peak)
    names = [own for part in parts for own in parameter_names(PEAK_SHAPES[part])]
    if len(parts) > 1:
        named = [_called(own, k) for k, part in enumerate(parts, start=1) for own in parameter_names(PEAK_SHAPES[part])]
        names = [*dict.fromkeys(named), *(f"frac{k}" for k in range(1, len(parts)))]
    for name in start or {}:
        if name not in names:
            raise InputError.from_parts(
                expected=f"a start of one of the peak's parameters {', '.join(names)}",
                got=repr(name),
                do="correct the name",
            )
