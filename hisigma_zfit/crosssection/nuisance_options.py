"""What a configuration file says about one nuisance: a shift, varied files, varied weights, or factors on yields."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from hisigma_zfit.configuration.documents import Functions
from hisigma_zfit.configuration.options import Files, Names, Options

__all__ = ["FilesOptions", "NormOptions", "NuisanceOptions", "ShiftOptions", "VariedOptions", "WeightsOptions"]

_KINDS = ("shift", "files", "weights", "norm")
_SIDES = {"up": 1.0, "down": -1.0}


def _of(*allowed: str, **numbers: int) -> BeforeValidator:
    """Check a word, or one word with as many numbers as it takes."""
    forms = [*allowed, *(f"{{{word}: {'[x, y]' if n == 2 else 'x'}}}" for word, n in numbers.items())]

    def check(value: Any) -> Any:
        if isinstance(value, str) and value in allowed:
            return value
        if isinstance(value, Mapping) and len(value) == 1:
            ((word, given),) = value.items()
            parts = list(given) if isinstance(given, (list, tuple)) else [given]
            if numbers.get(word) == len(parts) and all(_is_finite(part) for part in parts):
                return {word: tuple(float(part) for part in parts)}
        raise ValueError(f"expected {' or '.join(forms)}, got {value!r}; write one of them")

    return BeforeValidator(check)


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _by_value(given: Any) -> Any:
    return {_SIDES.get(k, k): v for k, v in given.items()} if isinstance(given, Mapping) else given


_Constraint = Annotated[
    Literal["gaussian", "none"] | dict[str, tuple[float, ...]], _of("gaussian", "none", lognormal=2, uniform=2)
]
_Coordinate = Annotated[Literal["identity"] | dict[str, tuple[float, ...]], _of("identity", square=1)]


class VariedOptions(Options):
    """What all nuisances that move events have in common."""

    constraint: _Constraint = Field(
        "gaussian",
        description="what is known beforehand: gaussian, {lognormal: [median, width]}, {uniform: [lower, upper]}, none",
    )
    limits: tuple[float, float] | None = Field(
        None, description="of the nuisance in fits, in the unit of its points; 5 standard deviations by default"
    )
    processes: Names = Field((), description="processes that it acts on; all by default")

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        ranges = {"limits": self.limits}
        if isinstance(self.constraint, dict):
            word, numbers = next(iter(self.constraint.items()))
            if word == "uniform":
                ranges["uniform"] = (numbers[0], numbers[1])
            elif not (numbers[0] > 0.0 and numbers[1] > 0.0):
                raise ValueError(
                    f"constraint: expected a positive median and a positive width, got {list(numbers)}; correct them"
                )
        for name, pair in ranges.items():
            if pair is not None and not pair[0] < pair[1]:
                raise ValueError(f"{name}: expected lower < upper, got {list(pair)}; order them")
        return self


class ShiftOptions(VariedOptions):
    """A nuisance that is a function of the columns of an event."""

    shift: Annotated[str, Functions()] = Field(
        description="module:function or file.py:function, f(columns, value, rng) -> columns, or columns and a mask"
    )
    unit: float = Field(1.0, gt=0, allow_inf_nan=False, description="value of the function for one unit of the points")
    nominal: float = Field(0.0, allow_inf_nan=False, description="value at which it changes nothing")
    points: tuple[float, ...] = Field((), description="where it is simulated, in units around the nominal value")
    coordinate: _Coordinate = Field(
        "identity",
        description="of the exponents; {square: scale} for a width, whose effect is even: t = (width/scale)^2",
    )
    stochastic: bool = Field(False, description="whether the function draws random numbers, which it takes from rng")
    sets: int = Field(1, ge=1, le=20, description="how many times a row is drawn for, where it is stochastic")

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if 0.0 in self.points or len(set(self.points)) < len(self.points):
            raise ValueError(f"points: expected different ones without 0, got {list(self.points)}; correct them")
        if not all(math.isfinite(point) for point in self.points):
            raise ValueError(f"points: expected finite numbers, got {list(self.points)}; correct them")
        scale = self.coordinate["square"][0] if isinstance(self.coordinate, dict) else 1.0
        squared = isinstance(self.coordinate, dict)
        if squared and (scale <= 0.0 or min(self.points, default=1.0) < 0.0):
            raise ValueError("coordinate: expected a positive scale and positive points, got others; correct them")
        if squared and self.nominal != 0.0:
            raise ValueError(f"nominal: expected 0 for a squared coordinate, got {self.nominal:g}; leave it out")
        if isinstance(self.constraint, dict) and "lognormal" in self.constraint and not squared:
            raise ValueError(
                "constraint: expected lognormal together with coordinate: {square: scale}, got coordinate: identity; "
                "take gaussian, or a squared coordinate"
            )
        if self.sets > 1 and not self.stochastic:
            raise ValueError(f"sets: expected 1 where nothing is drawn, got {self.sets}; add stochastic: true")
        return self


def _require_two(kind: str, values: Mapping[float, Any]) -> None:
    if 0.0 in values or len(values) < 2 or not all(math.isfinite(value) for value in values):
        raise ValueError(f"{kind}: expected up and down, or two or more values, got {sorted(values)}; add the others")


class FilesOptions(VariedOptions):
    """A nuisance that is known from files with the varied events."""

    files: Annotated[dict[float, dict[str, Files]], BeforeValidator(_by_value)] = Field(
        description="{up: {process: files}, down: {process: files}}, or by value in standard deviations"
    )

    @model_validator(mode="after")
    def _sides(self) -> Self:
        _require_two("files", self.files)
        named = [set(own) for own in self.files.values()]
        if any(own != named[0] for own in named):
            raise ValueError("files: expected the same processes at all values, got others; add the missing ones")
        if extra := set(self.processes) - named[0]:
            raise ValueError(f"files: expected files of every process it acts on, got none of {min(extra)}; add them")
        return self


class WeightsOptions(VariedOptions):
    """A nuisance that changes the weights of events."""

    weights: Annotated[dict[float, str], BeforeValidator(_by_value)] = Field(
        description="{up: column, down: column}, or by value in standard deviations: the whole weight of the event"
    )

    @model_validator(mode="after")
    def _sides(self) -> Self:
        _require_two("weights", self.weights)
        return self


class NormOptions(Options):
    """A nuisance that is a factor on the yields of processes."""

    norm: dict[str, float] = Field(min_length=1, description="relative size of one standard deviation by process")
    kind: Literal["gaussian", "lognormal"] = Field(
        "gaussian", description="gaussian is 1 + a nu, lognormal is (1 + a)^nu, for a of one standard deviation"
    )
    constraint: Literal["gaussian", "none"] = Field("gaussian", description="none lets the data alone find it")
    limits: tuple[float, float] = Field((-5.0, 5.0), description="of the nuisance in fits, in standard deviations")

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        for name, size in self.norm.items():
            if not (math.isfinite(size) and size != 0.0 and size > -1.0):
                raise ValueError(f"norm: expected a size that is not zero for {name}, got {size:g}; write 0.02 for 2 %")
        if not self.limits[0] < self.limits[1]:
            raise ValueError(f"limits: expected lower < upper, got {list(self.limits)}; order them")
        return self


def _kind_of(given: Any) -> str | None:
    names = [kind for kind in _KINDS if (kind in given if isinstance(given, Mapping) else getattr(given, kind, None))]
    return names[0] if len(names) == 1 else None


NuisanceOptions = Annotated[
    Annotated[ShiftOptions, Tag("shift")]
    | Annotated[FilesOptions, Tag("files")]
    | Annotated[WeightsOptions, Tag("weights")]
    | Annotated[NormOptions, Tag("norm")],
    Discriminator(
        _kind_of,
        custom_error_type="nuisance_kind",
        custom_error_message="expected exactly one of shift, files, weights, norm",
    ),
]
