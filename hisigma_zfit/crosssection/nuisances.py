"""Systematic uncertainties as a user writes them down, and processes that they act on (arXiv:2505.05544)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from hisigma_zfit.crosssection.functions import load_function
from hisigma_zfit.crosssection.nuisance_options import FilesOptions, NormOptions, ShiftOptions, WeightsOptions
from hisigma_zfit.errors import InputError
from hisigma_zfit.ratio.coordinates import Coordinate, SquaredScale, SquaredWidth, Standard
from hisigma_zfit.ratio.design import Axis
from hisigma_zfit.ratio.structure import Constraint, NormEffect, ShapeParameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.crosssection.functions import ColumnFunction
    from hisigma_zfit.crosssection.nuisance_options import NuisanceOptions
    from hisigma_zfit.data import Dataset

__all__ = [
    "LogNormal",
    "NormNuisance",
    "Process",
    "ShapeNuisance",
    "Square",
    "Uniform",
    "lognormal",
    "nuisances_of",
    "square",
    "uniform",
]

POINTS = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)
SQUARED_POINTS = (0.5, 1.0, 1.5, 2.0, 2.5)  # of the scale
FARTHEST = 5.0  # standard deviations, to which fits may go where nothing else is said


@dataclass(frozen=True)
class Square:
    """Coordinate of a width, whose effect is the same for both signs: t = (width / scale)^2."""

    scale: float


@dataclass(frozen=True)
class LogNormal:
    """A constraint whose logarithm is normal: around ln(median), with a standard deviation of width."""

    median: float
    width: float


@dataclass(frozen=True)
class Uniform:
    """No constraint, but limits: between lower and upper, in the unit of the points."""

    lower: float
    upper: float


def square(scale: float) -> Square:
    """Coordinate of a nuisance that is the width of a smearing.

    Args:
        scale: Width at which the coordinate is one; about the middle of the points.

    Example:
        >>> hz.square(2.0)
        Square(scale=2.0)
    """
    return Square(scale)


def lognormal(median: float, width: float) -> LogNormal:
    """Constraint of a nuisance that is positive.

    Args:
        median: In the unit of the points.
        width: Standard deviation of the logarithm.

    Example:
        >>> hz.lognormal(1.0, 0.5)
        LogNormal(median=1.0, width=0.5)
    """
    return LogNormal(median, width)


def uniform(lower: float, upper: float) -> Uniform:
    """A nuisance of which nothing is known but its limits.

    Example:
        >>> hz.uniform(-2.0, 2.0)
        Uniform(lower=-2.0, upper=2.0)
    """
    return Uniform(lower, upper)


@dataclass(frozen=True)
class Process:
    """A simulated process.

    Attributes:
        name: Its name.
        events: Its simulated events; their weights are expected events, their `identity` is that of the hard event.
        poi: Names of the parameters of interest that multiply it; one may be given without a tuple.
        shape: Whether nuisances change its shape; "auto" learns that where there are enough effective events.

    Example:
        >>> events = hz.Dataset.from_arrays({"pt": [30.0, 50.0]}, weights=[0.5, 0.7])
        >>> hz.Process("signal", events, poi="mu").pois, float(events.weights.sum())
        (('mu',), 1.2)
    """

    name: str
    events: Dataset
    poi: str | tuple[str, ...] = ()
    shape: Literal["auto", "learned", "none"] = "auto"

    @property
    def pois(self) -> tuple[str, ...]:
        """Names of the parameters of interest."""
        return (self.poi,) if isinstance(self.poi, str) else tuple(self.poi)


@dataclass(frozen=True)
class ShapeNuisance:
    """A systematic uncertainty that moves events, or changes their weights.

    It is given in exactly one of three ways: as a function of the columns, as files, or as columns of weights.

    Attributes:
        name: Of its parameter.
        shift: f(columns, value[, rng]) -> columns, or columns and a boolean mask of the rows to keep; every column of
            shape (n,).  ``value`` is nominal + unit * point.
        files: By point (standard deviations) and process the varied events: paths of files, or a dataset.
        weights: By point (standard deviations) the column with the whole weight of an event.
        points: Where it is simulated, in units around the nominal value.
        unit: Value of the function for one unit of the points.
        nominal: Value at which the function changes nothing.
        coordinate: Of the exponents; any `ratio.coordinates.Coordinate` may be given.
        constraint: What is known beforehand.
        stochastic: Whether the function draws random numbers, which it has to take from ``rng``.
        sets: How many times a row is drawn for at a point.
        limits: Of fits, in the unit of the points.
        processes: Those that it acts on; all if none are named.

    Raises:
        InputError: It is given in no way or in several, or points, constraint and limits do not fit together.

    Example:
        >>> def scaled(columns, value):
        ...     return {**columns, "pt": columns["pt"] * (1.0 + value)}
        >>> scale = hz.ShapeNuisance("scale", shift=scaled, unit=0.01)
        >>> scale.settings, scale.value(2.0)
        ((-3.0, -2.0, -1.0, 1.0, 2.0, 3.0), 0.02)
    """

    name: str
    shift: ColumnFunction | None = None
    files: Mapping[float, Mapping[str, str | Sequence[str] | Dataset]] | None = None
    weights: Mapping[float, str] | None = None
    points: Sequence[float] = ()
    unit: float = 1.0
    nominal: float = 0.0
    coordinate: Literal["identity"] | Square | Coordinate = "identity"
    constraint: Literal["gaussian", "none"] | LogNormal | Uniform = "gaussian"
    stochastic: bool = False
    sets: int = 1
    limits: tuple[float, float] | None = None
    processes: Sequence[str] = ()
    clothes: Coordinate = field(init=False, repr=False)

    def __post_init__(self) -> None:
        given = [kind for kind in ("shift", "files", "weights") if getattr(self, kind) is not None]
        if len(given) != 1:
            self._refuse("exactly one of shift, files, weights", ", ".join(given) or "none", "give one of them")
        if self.kind != "shift" and (self.points or self.coordinate != "identity" or self.stochastic):
            self._refuse("points, a coordinate and random numbers only with a shift", "some", "leave them out")
        if self.constraint not in ("gaussian", "none") and not isinstance(self.constraint, (LogNormal, Uniform)):
            self._refuse(
                "a constraint gaussian, none, hz.lognormal or hz.uniform", repr(self.constraint), "give one of them"
            )
        if isinstance(self.constraint, LogNormal) and not (self.constraint.median > 0 and self.constraint.width > 0):
            self._refuse("a positive median and a positive width", str(self.constraint), "correct them")
        if not self.unit > 0:
            self._refuse("a positive unit", f"{self.unit:g}", "correct it")
        object.__setattr__(self, "clothes", self._coordinate())
        settings = self.settings
        if not settings or 0.0 in settings or len({*settings}) < len(settings):
            self._refuse("different points without 0", str(list(settings)), "correct them")
        if isinstance(self.coordinate, Square) and min(settings) < 0.0:
            self._refuse("positive points of a width", str(list(settings)), "leave the others out")
        if isinstance(self.coordinate, Square) and self.nominal != 0.0:
            self._refuse("a nominal width of 0", f"{self.nominal:g}", "leave it out")
        lower, upper = self._limits()
        if not lower < upper:
            self._refuse("limits with lower < upper", f"{lower:g} and {upper:g} standard deviations", "order them")
        if self.sets < 1 or (self.sets > 1 and not self.stochastic):
            self._refuse("one set of random numbers where nothing is drawn", str(self.sets), "add stochastic=True")

    def _refuse(self, expected: str, got: str, do: str) -> None:
        raise InputError.from_parts(expected=f"{expected} for nuisance {self.name}", got=got, do=do)

    def _coordinate(self) -> Coordinate:
        constraint, coordinate = self.constraint, self.coordinate
        known = isinstance(coordinate, Square) or coordinate == "identity" or isinstance(coordinate, Coordinate)
        if not known:
            self._refuse("a coordinate identity or hz.square", repr(coordinate), "give one of them")
        if isinstance(coordinate, Square):
            if isinstance(constraint, LogNormal):
                return SquaredWidth(constraint.median * self.unit, constraint.width, coordinate.scale * self.unit)
            return SquaredScale(self.unit, coordinate.scale * self.unit)
        if isinstance(coordinate, str):
            if isinstance(constraint, LogNormal):
                self._refuse("a squared coordinate with lognormal", "identity", "take hz.square, or gaussian")
            return Standard(self.nominal, self.unit) if self.kind == "shift" else Standard()
        return coordinate

    @property
    def kind(self) -> Literal["shift", "files", "weights"]:
        """In which way it is given."""
        return "shift" if self.shift is not None else "files" if self.files is not None else "weights"

    @property
    def settings(self) -> tuple[float, ...]:
        """Its points, ascending."""
        given = self.points if self.kind == "shift" else (self.files or self.weights or {})
        if self.kind == "shift" and not given:
            square = self.coordinate
            given = [square.scale * p for p in SQUARED_POINTS] if isinstance(square, Square) else POINTS
        return tuple(sorted(float(point) for point in given))

    def value(self, point: float) -> float:
        """What the shift function is given at a point; the point itself where there is no function."""
        return self.nominal + self.unit * point if self.kind == "shift" else point

    def point(self, value: float) -> float:
        """The point at which the shift function is given a value; see `value`."""
        return (value - self.nominal) / self.unit if self.kind == "shift" else value

    def t(self, point: float) -> float:
        """The coordinate at a point."""
        return self.clothes.t_of(self.value(point))

    def acts_on(self, process: str) -> bool:
        """Whether it changes a process."""
        if self.files is not None:
            return process in next(iter(self.files.values()))
        return not self.processes or process in self.processes

    def axis(self) -> Axis:
        """What the design needs to know."""
        return Axis(self.name, self.settings, self.t, together=self.kind != "files", anywhere=self.kind == "shift")

    def _theta(self, point: float) -> float:
        return self.clothes.theta(self.value(point))

    def _limits(self) -> tuple[float, float]:
        """Of theta."""
        if self.limits is not None:
            return self._theta(self.limits[0]), self._theta(self.limits[1])
        if isinstance(self.constraint, Uniform):
            return self._theta(self.constraint.lower), self._theta(self.constraint.upper)
        if isinstance(self.clothes, SquaredWidth):
            return -FARTHEST, self._theta(max(self.settings))  # exponents of a square run away beyond
        if isinstance(self.clothes, SquaredScale):
            return 0.0, self._theta(max(self.settings))  # exponents of a square run away beyond
        return -FARTHEST, FARTHEST

    def parameter(self) -> ShapeParameter:
        """Its parameter in fits."""
        lower, upper = self._limits()
        kind: Literal["gaussian", "uniform", "none"] = (
            "uniform" if isinstance(self.constraint, Uniform) else "none" if self.constraint == "none" else "gaussian"
        )
        # at a width of zero the derivative of its square vanishes, and no fit would leave it
        start = {SquaredWidth: -1.0, SquaredScale: 1.0}.get(type(self.clothes), 0.0)
        if not lower < start < upper:
            start = 0.5 * (max(lower, -FARTHEST) + min(upper, FARTHEST))
        return ShapeParameter(self.name, self.clothes, Constraint(kind, (lower, upper)), start)


@dataclass(frozen=True)
class NormNuisance:
    """A systematic uncertainty that is a factor on the yields of processes.

    Attributes:
        name: Of its parameter.
        sizes: Relative size a of one standard deviation, by process.
        kind: "gaussian" is 1 + a nu, "lognormal" is (1 + a)^nu; they differ by 0.14 at nu = -2 for a = 0.25.
        constraint: "none" lets the data alone find it.
        limits: Of the nuisance in fits, in standard deviations.

    Raises:
        InputError: A size is zero, or below -1.

    Example:
        >>> hz.NormNuisance("top", {"ttbar": 0.02}).effect().sizes
        {'ttbar': 0.02}
    """

    name: str
    sizes: Mapping[str, float]
    kind: Literal["gaussian", "lognormal"] = "gaussian"
    constraint: Literal["gaussian", "none"] = "gaussian"
    limits: tuple[float, float] = (-FARTHEST, FARTHEST)

    def __post_init__(self) -> None:
        for process, size in self.sizes.items():
            if not (math.isfinite(size) and size != 0.0 and size > -1.0):
                raise InputError.from_parts(
                    expected=f"a size of nuisance {self.name} for {process} that is not zero",
                    got=f"{size:g}",
                    do="write 0.02 for 2 %",
                )
        if not self.sizes:
            raise InputError.from_parts(
                expected=f"processes that nuisance {self.name} scales", got="none", do="name one"
            )

    def effect(self) -> NormEffect:
        """What the likelihood needs to know."""
        return NormEffect(self.name, dict(self.sizes), self.kind, Constraint(self.constraint, self.limits))


def nuisances_of(options: Mapping[str, NuisanceOptions]) -> tuple[ShapeNuisance | NormNuisance, ...]:
    """Nuisances of a configuration file, in their order.

    Raises:
        InputError: A function cannot be found.
    """
    return tuple(_nuisance(name, own) for name, own in options.items())


def _nuisance(name: str, own: NuisanceOptions) -> ShapeNuisance | NormNuisance:
    if isinstance(own, NormOptions):
        return NormNuisance(name, own.norm, own.kind, own.constraint, own.limits)
    constraint: Literal["gaussian", "none"] | LogNormal | Uniform = "gaussian"
    if isinstance(own.constraint, dict):
        ((word, numbers),) = own.constraint.items()
        constraint = LogNormal(*numbers) if word == "lognormal" else Uniform(*numbers)
    else:
        constraint = own.constraint
    limits, processes = own.limits, own.processes
    if isinstance(own, FilesOptions):
        files = {value: dict(by_process) for value, by_process in own.files.items()}
        return ShapeNuisance(name, files=files, constraint=constraint, limits=limits, processes=processes)
    if isinstance(own, WeightsOptions):
        return ShapeNuisance(name, weights=own.weights, constraint=constraint, limits=limits, processes=processes)
    if not isinstance(own, ShiftOptions):
        raise TypeError(type(own))
    return ShapeNuisance(
        name,
        shift=load_function(own.shift),
        points=own.points,
        unit=own.unit,
        nominal=own.nominal,
        coordinate=Square(*own.coordinate["square"]) if isinstance(own.coordinate, dict) else "identity",
        constraint=constraint,
        stochastic=own.stochastic,
        sets=own.sets,
        limits=limits,
        processes=processes,
    )
