"""What a measurement can be told of its mass shapes, and of what its parameter of interest is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from hisigma_zfit.configuration.arguments import Flag
from hisigma_zfit.configuration.figures import FigureOptions
from hisigma_zfit.configuration.options import Options
from hisigma_zfit.model.shape_names import (
    DEFAULT_FALLING,
    DEFAULT_PEAK,
    FALLING,
    PEAKS,
    FallingName,
    peak_parts,
)

__all__ = ["InterestOptions", "Peak", "PoiOptions", "ShapeOptions", "Start"]

Kind = Literal["yield", "signal_strength", "cross_section"]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Start = tuple[float, float, float]  # value, lower and upper limit

_KNOWN_FALLING = ", ".join(name if degrees is None else f"{name}:N" for name, degrees in FALLING.items())
_NAMES = {"signal_strength": "mu", "cross_section": "cross_section"}  # of the parameter, where it has no other


def _in_words(value: Any) -> Any:
    """``{shape: bernstein, degree: 4}`` as ``"bernstein:4"``."""
    if not isinstance(value, Mapping):
        return value
    if unknown := sorted(set(value) - {"shape", "degree"}) or "shape" not in value:
        got = ", ".join(map(str, unknown)) if isinstance(unknown, list) else "no shape"
        raise ValueError(f"expected a shape and, where it has one, a degree, got {got}; write shape: bernstein")
    return str(value["shape"]) if value.get("degree") is None else f"{value['shape']}:{value['degree']}"


def _known_peak(name: str) -> str:
    return "+".join(peak_parts(name))


def _all_in_words(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    if isinstance(value, Mapping):
        return (_in_words(value),)
    return tuple(map(_in_words, value)) if isinstance(value, (list, tuple)) else value


def _known_falling(names: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(str(FallingName.parse(name)) for name in names)
    if repeated := sorted({name for name in found if found.count(name) > 1}):
        raise ValueError(f"expected different shapes, got {repeated[0]} twice; name each once")
    return found


_SHAPE: dict[str, Any] = {
    "type": "object",
    "properties": {"shape": {"type": "string"}, "degree": {"type": "integer"}},
    "required": ["shape"],
    "additionalProperties": False,
}
_ONE: list[dict[str, Any]] = [{"type": "string"}, _SHAPE]
Peak = Annotated[
    str,
    BeforeValidator(_in_words),
    AfterValidator(_known_peak),
    WithJsonSchema({"anyOf": _ONE, "default": DEFAULT_PEAK}),
]
_Falling = Annotated[
    tuple[str, ...],
    BeforeValidator(_all_in_words),
    AfterValidator(_known_falling),
    WithJsonSchema({"anyOf": [*_ONE, {"type": "array", "items": {"anyOf": _ONE}, "minItems": 1}]}),
]


class ShapeOptions(Options):
    """Mass shapes."""

    peak: Annotated[Peak, Flag(metavar="NAME")] = Field(
        DEFAULT_PEAK,
        description=f"shape of the signal's mass, fitted to its simulation and held: {', '.join(PEAKS)}, as zfit has "
        "them, or a sum around one mean such as Gauss+CrystalBall",
    )
    peak_start: Annotated[
        dict[str, Start], Flag(metavar="NAME:VALUE:LOWER:UPPER", split=":", example="alpha:-1.3:-6:-0.1")
    ] = Field({}, description="start and limits of a parameter of the peak, where others are wanted; may be repeated")
    falling: Annotated[_Falling, Flag(metavar="NAME,...", split=",")] = Field(
        (DEFAULT_FALLING,),
        min_length=1,
        description=f"shape of the background's mass, fitted with the signal: {_KNOWN_FALLING}, where N is a degree "
        f"(default {DEFAULT_FALLING}); among several the data choose, at every value of the signal (discrete "
        "profiling, arXiv:1408.6865)",
    )
    falling_penalty: Annotated[float, Flag(metavar="X")] = Field(
        1.0,
        ge=0,
        allow_inf_nan=False,
        description="what every parameter of a falling shape adds to -2 log L where several are compared",
    )

    @field_validator("peak_start")
    @classmethod
    def _within(cls, value: dict[str, Start]) -> dict[str, Start]:
        for name, (start, lower, upper) in value.items():
            if not (math.isfinite(lower) and math.isfinite(upper) and lower < start < upper):
                raise ValueError(
                    f"expected lower < value < upper for {name}, got {start:g}, {lower:g}, {upper:g}; correct them"
                )
        return value

    def falling_parameters(self) -> tuple[str, ...]:
        """Names of all parameters of all falling shapes, those of the default among them."""
        shapes = (DEFAULT_FALLING, *self.falling)
        return tuple(dict.fromkeys(name for shape in shapes for name in FallingName.parse(shape).parameters))


class InterestOptions(Options):
    """What the parameter of interest is, in one place of a configuration file."""

    kind: Kind = Field(description="kind of the parameter")
    expected: _Positive | None = Field(None, description="see expected_signal")
    efficiency: _Positive | None = Field(None, description="see efficiency")
    efficiency_uncertainty: float | None = Field(None, gt=0, lt=1, description="see efficiency_uncertainty")
    luminosity: str | float | None = Field(None, description="see luminosity")
    luminosity_uncertainty: float | None = Field(None, gt=0, lt=1, description="see luminosity_uncertainty")


class PoiOptions(FigureOptions):
    """What the parameter of interest is; the luminosity above the figures is that of a cross-section."""

    poi: Annotated[str, Flag(metavar="NAME")] = Field("n_sig", description="name of the parameter of interest")
    poi_kind: Annotated[Kind, Flag(metavar="KIND")] = Field(
        "yield",
        description="what it is: the signal's yield; the signal_strength, by which --expected-signal is multiplied; or "
        "the cross_section, by --efficiency times --luminosity",
    )
    expected_signal: Annotated[_Positive | None, Flag(metavar="N")] = Field(
        None,
        description="signal events, in the range of the mass less masked windows and in all categories, of strength 1",
    )
    efficiency: Annotated[_Positive | None, Flag(metavar="X")] = Field(
        None,
        description="part of the produced signal that is in the range less masked windows, branching fractions included",
    )
    efficiency_uncertainty: Annotated[float | None, Flag(metavar="X")] = Field(
        None, gt=0, lt=1, description="relative uncertainty of that, a log-normal nuisance 'efficiency'"
    )
    luminosity_uncertainty: Annotated[float | None, Flag(metavar="X")] = Field(
        None, gt=0, lt=1, description="relative uncertainty of --luminosity, a log-normal nuisance 'luminosity'"
    )
    parameter_of_interest: InterestOptions | None = Field(
        None, description="the same together: kind, expected, efficiency, luminosity and their uncertainties"
    )

    @model_validator(mode="before")
    @classmethod
    def _together(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        found = dict(values)
        if (given := found.get("parameter_of_interest")) is not None:
            own = InterestOptions.model_validate(given).model_dump(exclude_none=True)
            for name, value in own.items():
                long = {"kind": "poi_kind", "expected": "expected_signal"}.get(name, name)
                found.setdefault(long, value)  # what stands beside it, such as a flag, wins
            found["parameter_of_interest"] = None
        if "poi" not in found and found.get("poi_kind") in _NAMES:
            found["poi"] = _NAMES[found["poi_kind"]]
        return found

    @model_validator(mode="after")
    def _kinds(self) -> Self:
        needed = {"signal_strength": ("expected_signal",), "cross_section": ("efficiency", "luminosity")}
        own = needed.get(self.poi_kind, ())
        if missing := [name for name in own if getattr(self, name) is None]:
            raise ValueError(
                f"poi_kind: expected {' and '.join(own)} for a {self.poi_kind}, got no {missing[0]}; give it"
            )
        if self.poi_kind == "cross_section":
            _number(self.luminosity)
        known = ("luminosity", *own, *(f"{name}_uncertainty" for name in own if self.poi_kind == "cross_section"))
        for name in ("expected_signal", *_FACTORS, *(f"{name}_uncertainty" for name in _FACTORS)):
            if name not in known and getattr(self, name) is not None:
                raise ValueError(
                    f"{name}: expected it for another poi_kind, got {getattr(self, name)} for {self.poi_kind}; leave "
                    "it out, or say poi_kind"
                )
        return self

    @property
    def events_per_unit(self) -> float:
        """Signal events by unit of the parameter of interest."""
        if self.poi_kind == "signal_strength":
            return float(self.expected_signal or 1.0)
        if self.poi_kind == "cross_section":
            return (self.efficiency or 1.0) * _number(self.luminosity)
        return 1.0

    def interest_factors(self) -> dict[str, float]:
        """Factors on the signal by the nuisances of efficiency and luminosity."""
        known = {name: getattr(self, f"{name}_uncertainty") for name in _FACTORS}
        return {name: 1.0 + float(own) for name, own in known.items() if own is not None}


def _number(luminosity: str | None) -> float:
    """The number of a luminosity, whose unit is the inverse of the cross-section's."""
    first = str(luminosity).split()[0]
    try:
        number = float(first)
    except ValueError:
        number = math.nan
    if not (number > 0.0 and math.isfinite(number)):
        raise ValueError(f"luminosity: expected a positive number of a cross_section, got {luminosity!r}; correct it")
    return number


_FACTORS = ("efficiency", "luminosity")
