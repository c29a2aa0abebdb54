"""What `hisigma measure` and `hz.measure` can be told, checked before anything is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hisigma_zfit.data import SignalRegion
from hisigma_zfit.errors import InputError

__all__ = ["AskOptions", "InputOptions", "MeasureOptions", "ModelOptions", "TrainOptions"]


class InputOptions(BaseModel):
    """What is read.

    Attributes:
        data: Files with the data.
        signal: Files with simulated signal.
        tree: Tree in the files; the only one by default.
        mass: Name of the resonance mass.
        range: Lower and upper edge of the mass, in the mass's unit.
        signal_region: Lower and upper edge of the signal region.
        features: Names of the features x'.
        columns: Expression by column name, for names that are not branches.
        sideband_training: Files with more events for the training of the background; only their sidebands are used.
        systematic: Simulated signal at +1 and -1 standard deviations by nuisance: name -> (up, down).
        background_systematic: The same for the events that the background is trained with, of which only the sidebands
            are used.  A name that is in both is one nuisance that signal and background share.  Vary the very events of
            the nominal training, the data and then `sideband_training`, in their order: resamples and starts agree
            then, and the noise of the trainings cancels.
        cut: Selection applied to every file.
        weight: Expression of the weight of simulated events.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: tuple[str, ...] = Field(min_length=1)
    signal: tuple[str, ...] = Field(min_length=1)
    tree: str | None = None
    mass: str
    range: tuple[float, float]
    signal_region: tuple[float, float]
    features: tuple[str, ...] = Field(min_length=1)
    columns: dict[str, str] = {}
    sideband_training: tuple[str, ...] = ()
    systematic: dict[str, tuple[str, str]] = {}
    background_systematic: dict[str, tuple[str, str]] = {}
    cut: str | None = None
    weight: str | None = None

    @field_validator("data", "signal", "sideband_training", "features", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (str(value),) if isinstance(value, (str, Path)) else tuple(map(str, value))

    @field_validator("systematic", "background_systematic", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: [str(f) if isinstance(f, Path) else f for f in files] for name, files in value.items()}

    @model_validator(mode="after")
    def _columns_and_ranges(self) -> Self:
        repeated = sorted({f for f in self.features if self.features.count(f) > 1})
        if repeated:
            raise ValueError(f"features: expected distinct names, got {', '.join(repeated)} twice; name each once")
        if self.mass in self.features:
            raise ValueError(f"features: expected other columns than the mass, got {self.mass}; leave it out")
        lower, upper = self.range
        if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
            raise ValueError(f"range: expected lower < upper, got {lower:g} {upper:g}; give the edges of the mass")
        first, last = self.signal_region
        if not first < last:
            raise ValueError(f"signal-region: expected lower < upper, got {first:g} {last:g}; order the edges")
        if not (lower < first and last < upper):
            raise ValueError(
                f"signal-region: expected a window inside the range {lower:g} to {upper:g} with sidebands on both "
                f"sides, got {first:g} to {last:g}; narrow it or widen the range"
            )
        return self

    @property
    def region(self) -> SignalRegion:
        """The signal region."""
        return SignalRegion(*self.signal_region)

    def column_expressions(self) -> dict[str, str]:
        """Expression of every column that is read: the mass and the features."""
        return {name: self.columns.get(name, name) for name in (self.mass, *self.features)}


class TrainOptions(BaseModel):
    """How densities are learned.

    Attributes:
        bootstraps: Bootstrapped background models; 1 means none.
        members: Seeds of each model, averaged.
        flow: Kind of density: ``"spline"`` is fast, ``"maf"`` an independent and slower one to compare with.
        preset: Length of the training.
        seed: Seed of every random step, of the training and after it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstraps: int = Field(5, ge=1)
    members: int = Field(5, ge=1)
    flow: Literal["spline", "maf"] = "spline"
    preset: Literal["quick", "standard", "paper"] = "standard"
    seed: int = Field(1, ge=0)


class ModelOptions(BaseModel):
    """What is fitted.

    Attributes:
        poi: Name of the parameter of interest.
        yield_systematic: Factor by which one standard deviation of a nuisance changes the expected signal, by
            nuisance: 1.02 for 2 %, log-normal.  The parameter of interest is then the yield at its nominal value.  A
            name of `systematic` is the same nuisance, which changes shape and yield together.
        interpolation: Form of the interpolation in the nuisances; see `hisigma_zfit.ShapeVariation`.
        sidebands: Whether the features count in the sidebands of the fit; paper: they do not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    poi: str = "n_sig"
    yield_systematic: dict[str, float] = {}
    interpolation: Literal["polyexp", "quadratic"] = "polyexp"
    sidebands: Literal["mass-only", "full"] = "mass-only"

    @model_validator(mode="after")
    def _factors(self) -> Self:
        for name, factor in self.yield_systematic.items():
            if not (math.isfinite(factor) and factor > 0 and factor != 1):
                raise ValueError(
                    f"yield-systematic: expected a positive factor other than 1 for {name}, got {factor:g}; write 1.02 "
                    "for 2 %"
                )
        return self


class AskOptions(BaseModel):
    """How the trained members are combined to one answer.

    Attributes:
        combine: How the bootstraps are combined.
        penalties: What discrete profiling adds to -2 log L of each bootstrap; none by default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    combine: Literal["envelope", "mixture", "discrete", "weights"] = "envelope"
    penalties: tuple[float, ...] = ()


class MeasureOptions(AskOptions, ModelOptions, TrainOptions, InputOptions):
    """Options of one measurement; the command line has the same names with dashes."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        taken = {self.poi, self.mass, *self.features, "n_bkg", "p1", "p2"}
        for name in (*self.systematic, *self.background_systematic, *self.yield_systematic):
            if not name.isidentifier() or name in taken or name.startswith("peak_"):
                raise ValueError(
                    f"systematic: expected a name of letters, digits and underscores that is no other parameter's, got "
                    f"{name!r}; choose another"
                )
        if self.penalties and (self.combine != "discrete" or len(self.penalties) != self.bootstraps):
            raise ValueError(
                f"penalties: expected one for each of {self.bootstraps} bootstraps in discrete profiling, got "
                f"{len(self.penalties)} for {self.combine}; correct or leave them out"
            )
        if self.combine != "mixture" and self.bootstraps < 2:
            raise ValueError(
                f"combine: expected two or more bootstraps for {self.combine}, got {self.bootstraps}; "
                "ask for more, or combine by mixture"
            )
        return self

    @classmethod
    def build(cls, **values: Any) -> Self:
        """Check plain values.

        Raises:
            InputError: An option is unknown, missing or wrong; the message names the first one.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            text = str(first["msg"]).removeprefix("Value error, ")
            place = ".".join(str(part) for part in first["loc"])
            got = "" if not place or first["type"] == "missing" else f", got {first['input']!r}"
            raise InputError(f"{place}: {text}{got}; correct the option" if place else text) from error

    def numbers(self) -> dict[str, Any]:
        """Options that change numbers: all but the paths, whose content is hashed instead."""
        varied = ("systematic", "background_systematic")
        plain = self.model_dump(mode="json", exclude={"data", "signal", "sideband_training", *varied})
        # left out where they are not used: runs of before they were options stay what they are
        for name in ("yield_systematic", "penalties"):
            if not plain[name]:
                del plain[name]
        return plain | {name: sorted(getattr(self, name)) for name in varied}
