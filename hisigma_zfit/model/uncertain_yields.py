"""Yields that depend on nuisances: the normalisation of a component as a user writes it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import zfit
import zfit.z.numpy as znp

from hisigma_zfit.errors import InputError
from hisigma_zfit.model.yields import LogNormalSize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array

__all__ = ["LogNormalYield", "lognormal_yield", "require_independent", "scaled_yield", "shifted_yield"]


def require_independent(parameter: Any) -> None:
    """Refuse a parameter that is composed of others, or none at all, with an `InputError`."""
    if not getattr(parameter, "independent", False):
        raise InputError.from_parts(
            expected="an independent zfit Parameter as nuisance",
            got=getattr(parameter, "name", repr(parameter)),
            do="make it with hz.nuisance(name)",
        )


class LogNormalYield(zfit.ComposedParameter):
    """A yield number * (base + sigma nu) * kappa_1^nu_1 ...; see `lognormal_yield`, `scaled_yield`, `shifted_yield`.

    Its derivatives are known in closed form, so that the quick likelihood takes it.

    Attributes:
        base: The zfit Parameter that is scaled, or None if there is only a number.
        number: The number, 1 unless it was given.
        factors: Nuisance and log kappa of each factor.
        shifts: Nuisance and sigma of what is added to a base that is a parameter.
        offset: What is added to such a base besides.
        sources: All parameters: the base, if it is one, then the nuisances, those of the shifts first.
    """

    def __init__(
        self,
        name: str,
        base: Any,
        factors: Sequence[tuple[Any, float]],
        *,
        number: float = 1.0,
        shifts: Sequence[tuple[Any, float]] = (),
        offset: float = 0.0,
    ) -> None:
        self.base = base if hasattr(base, "independent") else None
        self.factors = tuple(factors)
        self.number = float(number) if self.base is not None else float(number) * float(base)
        self.shifts, self.offset = tuple(shifts), float(offset)
        self._logs = np.array([log for _, log in factors])
        own = () if self.base is None else (self.base,)
        self.sources = (*own, *(parameter for parameter, _ in (*self.shifts, *self.factors)))
        params = {f"source_{k}": p for k, p in enumerate(self.sources)}

        def value(params: Any) -> Any:
            values = list(params.values())
            scale = values.pop(0) + self.offset if own else 1.0
            for _, sigma in self.shifts:
                scale = scale + sigma * values.pop(0)
            scale = self.number * scale
            if not values:  # a part of a yield that no nuisance changes
                return scale
            return scale * znp.exp(sum(log * v for log, v in zip(self._logs, values, strict=True)))

        super().__init__(name, value, params=params, unpack_params=False)

    @property
    def size(self) -> LogNormalSize:
        """The same as plain numbers."""
        logs, shifts = (tuple(float(number) for _, number in each) for each in (self.factors, self.shifts))
        return LogNormalSize(self.number, self.base is not None, logs, shifts, self.offset)

    def derivatives(self, values: Array) -> tuple[float, Array, Array]:
        """Value, gradient (Q,) and Hessian (Q, Q) with respect to the `sources`, at their values (Q,)."""
        return self.size.derivatives(values)


def lognormal_yield(base: Any, nuisance: Any, kappa: float, *, name: str | None = None) -> LogNormalYield:
    """A yield with a log-normal uncertainty: base * kappa^nu.

    Args:
        base: Yield at nu = 0: a number, a zfit Parameter (the parameter of interest, for example), or another
            `LogNormalYield`, whose factors are kept.
        nuisance: The parameter, from `nuisance` or any independent zfit Parameter.
        kappa: Factor by one standard deviation, for example 1.05 for 5 %.
        name: Name of the yield; made from the others by default.

    Raises:
        InputError: `kappa` or a number as base is not positive and finite, or a parameter is not independent.

    Example:
        >>> luminosity = hz.nuisance("luminosity")
        >>> expected = hz.lognormal_yield(1000.0, luminosity, 1.05)
        >>> with luminosity.set_value(2.0):
        ...     print(float(expected.value()))  # 1000 * 1.05^2
        1102.5
    """
    require_independent(nuisance)
    if not (math.isfinite(kappa) and kappa > 0):
        raise InputError.from_parts(expected="kappa > 0", got=f"{kappa}", do="write 1.05 for 5 %")
    factors: list[tuple[Any, float]] = [(nuisance, math.log(kappa))]
    name = name or f"{getattr(base, 'name', 'yield')}_{nuisance.name}"
    if isinstance(base, LogNormalYield):
        return _scaled(name, base, 1.0, factors)
    if isinstance(base, (int, float)):
        if not (math.isfinite(base) and base > 0):
            raise InputError.from_parts(expected="a positive yield", got=f"{base}", do="correct it")
    else:
        require_independent(base)
    return LogNormalYield(name, base, factors)


def scaled_yield(base: Any, number: float, *, name: str) -> LogNormalYield:
    """A fixed multiple of a yield, such as the part of it that falls into one category.

    Args:
        base: A zfit Parameter, or a `LogNormalYield`, whose factors are kept.
        number: What it is multiplied by.
        name: Name of the yield.

    Raises:
        InputError: `number` is not positive and finite, or a parameter is not independent.
    """
    if not (math.isfinite(number) and number > 0):
        raise InputError.from_parts(expected="a positive part of a yield", got=f"{number}", do="correct it")
    if isinstance(base, LogNormalYield):
        return _scaled(name, base, number, ())
    require_independent(base)
    return LogNormalYield(name, base, (), number=number)


def shifted_yield(base: Any, nuisance: Any, sigma: float, *, name: str, offset: float = 0.0) -> LogNormalYield:
    """A yield with a Gaussian uncertainty in events: base + offset + sigma nu.

    What may be zero, as a signal, has no uncertainty in per cent: the error of a learned background does not vanish
    with the signal that it is mistaken for.

    Args:
        base: A zfit Parameter, or a `LogNormalYield` of one, whose base is shifted before it is scaled.
        nuisance: The parameter, from `nuisance` or any independent zfit Parameter.
        sigma: Events by one standard deviation.
        name: Name of the yield.
        offset: Events that are found beyond the base: a known bias.

    Raises:
        InputError: `sigma` is negative or not finite, a parameter is not independent, or the base is a number.

    Example:
        >>> n_sig, training = zfit.Parameter("n_sig", 50.0), hz.nuisance("training")
        >>> found = hz.shifted_yield(n_sig, training, 8.0, name="n_found")
        >>> with training.set_value(-1.0):
        ...     print(float(found.value()))
        42.0
    """
    require_independent(nuisance)
    if not (math.isfinite(sigma) and sigma >= 0.0):
        raise InputError.from_parts(expected="a sigma of at least zero", got=f"{sigma}", do="give it in events")
    shift = (nuisance, float(sigma))
    if isinstance(base, LogNormalYield) and base.base is not None:
        shifts = (*base.shifts, shift)
        return LogNormalYield(
            name, base.base, base.factors, number=base.number, shifts=shifts, offset=base.offset + offset
        )
    require_independent(base)
    return LogNormalYield(name, base, (), shifts=(shift,), offset=offset)


def _scaled(name: str, base: LogNormalYield, number: float, factors: Sequence[tuple[Any, float]]) -> LogNormalYield:
    joined = [*base.factors, *factors]
    if base.base is None:
        return LogNormalYield(name, base.number * number, joined)
    return LogNormalYield(name, base.base, joined, number=base.number * number, shifts=base.shifts, offset=base.offset)
