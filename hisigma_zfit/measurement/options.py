"""What `hisigma measure` and `hz.measure` can be told, checked before anything is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from hisigma_zfit.configuration.arguments import Flag
from hisigma_zfit.configuration.figures import FIGURE_OPTIONS, FigureOptions
from hisigma_zfit.configuration.options import PAIR_OR_PAIRS, Files, Names, Options, Pair
from hisigma_zfit.data import SignalRegion
from hisigma_zfit.data.region import require_apart
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.kinds import FeatureKind
from hisigma_zfit.measurement.component_options import BackgroundOptions, CategoryOptions, require_factors
from hisigma_zfit.measurement.shape_options import PoiOptions, ShapeOptions
from hisigma_zfit.model.shape_names import DEFAULT_PEAK

__all__ = [
    "AskOptions",
    "EventOptions",
    "InputOptions",
    "MeasureOptions",
    "ModelOptions",
    "TrainOptions",
]

_RESERVED = ("signal", "background")
_FILES = Flag(metavar="FILE")
_EDGES = Flag(metavar=("LO", "HI"))
_WINDOW = Flag(metavar=("LO", "HI"), repeated=True)
_VARIED = Flag(metavar="NAME:UP:DOWN", split=":", example="jes:up.root:down.root")


class EventOptions(FigureOptions):
    """The data and how they are cut, of every task."""

    data: Annotated[Files, _FILES] = Field(min_length=1, description="data (ROOT, HDF5 or Parquet)")
    tree: str | None = Field(
        None,
        description="tree in the files, or behind a file as in data.root:events; not needed where there is only one",
    )
    mass: Annotated[str, Flag(metavar="NAME")] = Field(description="column of the resonance mass")
    range: Annotated[tuple[float, float], _EDGES] = Field(description="range of the mass, in its own unit")
    signal_region: Annotated[tuple[float, float], _WINDOW, PAIR_OR_PAIRS] = Field(description="window of the signal")
    features: Annotated[Names, Flag(metavar="A,B,...", split=",")] = Field(
        min_length=1, description="columns of the features"
    )
    columns: Annotated[
        dict[str, str],
        Flag(name="column", metavar="NAME=EXPRESSION", split="=", example="pt_over_m=pt/mass"),
    ] = Field({}, description="define a column from branches, such as pt_over_m=pt/mass; may be repeated")
    sideband_training: Annotated[Files, _FILES] = Field(
        (), description="more events to train the background with, of which only the sidebands are used"
    )
    blind: bool = Field(
        False,
        description="say what may be known before the signal region is opened, from the sidebands and simulation; the "
        "data in the region are dropped where they are read, and hisigma unblind opens it later",
    )
    cut: Annotated[str | None, Flag(metavar="EXPRESSION")] = Field(None, description="selection applied to every file")

    @field_validator("signal_region", mode="before")
    @classmethod
    def _one_region(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)) and any(isinstance(each, (list, tuple)) for each in value):
            raise ValueError(f"expected one window, got {len(value)}; look into them one by one")
        return value

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


class InputOptions(EventOptions):
    """What is read."""

    signal: Annotated[Files, _FILES] = Field(min_length=1, description="simulated signal")
    systematic: Annotated[dict[str, Pair], _VARIED] = Field(
        {}, description="nuisance with simulated signal at +1 and -1 standard deviations; may be repeated"
    )
    background_systematic: Annotated[dict[str, Pair], _VARIED] = Field(
        {},
        description="nuisance with events to train the background with at +1 and -1 standard deviations, of which only "
        "the sidebands are used; may be repeated, and the same name for signal and background is one nuisance. Vary "
        "the very events of the nominal training (data, then sideband training) in their order, so that the noise of "
        "the trainings cancels",
    )
    backgrounds: dict[str, BackgroundOptions] = Field(
        {}, description="more backgrounds by name, learned from simulation, with numbers that are known beforehand"
    )
    masked: Annotated[tuple[tuple[float, float], ...], _WINDOW] = Field(
        (),
        description="another window of the mass, such as that of a second peak or of bad events: its events are "
        "dropped where they are read, train nothing and are not fitted, and yields are those beside it; may be "
        "repeated. Of several signal regions the first is the one in which signal is measured, the others are masked",
    )
    weight: Annotated[str | None, Flag(metavar="EXPRESSION")] = Field(None, description="weight of simulated events")
    data_weight: Annotated[str | None, Flag(metavar="EXPRESSION")] = Field(
        None,
        description="weight of the events of data and sideband training, not negative; errors, intervals and limits "
        "take their fluctuation into account (arXiv:1911.01303)",
    )
    kinds: Annotated[dict[str, str], Flag(name="kind", metavar="NAME=KIND", split="=", example="n_jets=integer")] = (
        Field(
            {},
            description="what a feature is that is not continuous, such as n_jets=integer, pt_j2=spike:0 (a value that "
            "many events share beside a density), dphi=periodic (radian), phi=periodic:0:360, "
            "dphi_j2=periodic+spike:-999 or btag=values:0,1,4; may be repeated",
        )
    )

    @model_validator(mode="before")
    @classmethod
    def _several_regions(cls, values: Any) -> Any:
        """Of several signal regions the first is that of the signal, the others are masked."""
        found = values.get("signal_region") if isinstance(values, Mapping) else None
        if not isinstance(found, (list, tuple)) or not all(isinstance(own, (list, tuple)) for own in found):
            return values
        first, *others = [[*own] for own in found] or [[]]
        known = values.get("masked") or ()
        return {**values, "signal_region": first, "masked": [*known, *others]}

    @model_validator(mode="after")
    def _windows_apart(self) -> Self:
        for lower, upper in self.masked:
            if not lower < upper:
                raise ValueError(f"masked: expected lower < upper, got {lower:g} {upper:g}; order the edges")
        try:
            require_apart((self.region, *self.masked_windows), *self.range)
        except InputError as error:
            raise ValueError(f"masked: {error}") from None
        return self

    @property
    def masked_windows(self) -> tuple[SignalRegion, ...]:
        """The masked windows, from low to high masses."""
        return tuple(SignalRegion(*edges) for edges in sorted(self.masked))

    @model_validator(mode="after")
    def _known_kinds(self) -> Self:
        for name, words in self.kinds.items():
            try:
                FeatureKind.parse(words, name=name)
            except InputError as error:
                raise ValueError(f"kind: {error}") from None
        return self


class TrainOptions(Options):
    """How densities are learned."""

    bootstraps: Annotated[int, Flag(metavar="N")] = Field(
        5, ge=1, description="trainings on resampled events, whose spread is its error; 1: none (combine: mixture)"
    )
    members: Annotated[int, Flag(metavar="N")] = Field(5, ge=1, description="seeds of each model, averaged")
    flow: Annotated[Literal["spline", "maf"], Flag(metavar="KIND")] = Field(
        "spline", description="kind of density; maf is an independent and slower one to compare with"
    )
    preset: Annotated[Literal["quick", "standard", "paper"], Flag(metavar="NAME")] = Field(
        "standard", description="length of the training"
    )
    seed: Annotated[int, Flag(metavar="N")] = Field(
        1, ge=0, description="seed of every random step, of the training and after it"
    )


class ModelOptions(ShapeOptions, PoiOptions):
    """What is fitted."""

    yield_systematic: Annotated[
        dict[str, float], Flag(metavar="NAME:FACTOR", split=":", example="lumi:1.02 for 2 %")
    ] = Field(
        {},
        description="nuisance that changes the expected signal by this factor at +1 standard deviation (log-normal), "
        "such as lumi:1.02; may be repeated. The parameter of interest is then the yield at its nominal value, and a "
        "name of another systematic is the same nuisance",
    )
    interpolation: Annotated[Literal["polyexp", "quadratic"], Flag(metavar="FORM")] = Field(
        "polyexp", description="form between the variations"
    )
    sidebands: Annotated[Literal["mass-only", "full"], Flag(metavar="RULE")] = Field(
        "mass-only", description="whether the features count in the sidebands of the fit; in the paper they do not"
    )

    @model_validator(mode="after")
    def _factors(self) -> Self:
        require_factors(self.yield_systematic)
        return self


class AskOptions(Options):
    """How the trained members are combined to one answer."""

    combine: Annotated[Literal["nuisance", "envelope", "mixture", "discrete", "weights"], Flag(metavar="METHOD")] = (
        Field(
            "nuisance",
            description="how the bootstraps are combined: nuisance takes the value of densities that saw the events as "
            "they are, and the spread of the bootstraps as a nuisance; envelope is as published and 1.4 times as "
            "wide; mixture and discrete cover too little, weights was not measured",
        )
    )
    penalties: Annotated[tuple[float, ...], Flag(metavar="X")] = Field(
        (), description="what discrete profiling adds to -2 log L of each bootstrap"
    )
    inject: Annotated[float | None, Flag(metavar="S")] = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="signal for which a blind run also says what to expect, beside those of 3 and 5 sigma",
    )


class MeasureOptions(AskOptions, ModelOptions, TrainOptions, InputOptions):
    """Options of one measurement; the command line has the same names with dashes."""

    categories: dict[str, CategoryOptions] = Field(
        {},
        description="events that are fitted together, by name; all events are one category by default",
    )

    def parts(self) -> dict[str, Self]:
        """Options of each category by its name; of all events under an empty name where there are no categories."""
        return {name: self._part(own) for name, own in self.categories.items()} or {"": self}

    def _part(self, category: CategoryOptions) -> Self:
        own = {
            "cut": category.cut if self.cut is None else f"({self.cut}) & ({category.cut})",
            "features": category.features or self.features,
            "yield_systematic": self.yield_systematic | category.yield_systematic,
        }
        return type(self)(**{name: getattr(self, name) for name in type(self).model_fields} | own | {"categories": {}})

    def signal_factors(self) -> dict[str, float]:
        """Factors on the signal's yield by nuisance."""
        return self.yield_systematic | self.interest_factors()

    @property
    def value(self) -> Literal["members", "bootstraps"]:
        """What the densities are, see `train_flow`: combinations of before average the bootstraps themselves."""
        return "members" if self.combine == "nuisance" else "bootstraps"

    def nuisances(self) -> tuple[str, ...]:
        """Names of all nuisances but those of the backgrounds' numbers; each is one parameter, whatever it changes."""
        groups: list[Mapping[str, Any]] = [self.systematic, self.background_systematic, self.signal_factors()]
        groups += [own.yield_systematic for own in self.categories.values()]
        groups += [group for own in self.backgrounds.values() for group in (own.systematic, own.yield_systematic)]
        return tuple(dict.fromkeys(name for group in groups for name in group))

    @model_validator(mode="after")
    def _names(self) -> Self:
        features = {*self.features, *(f for own in self.categories.values() for f in own.features)}
        suffixes = [f"_{category}" for category in self.categories] or [""]
        for kind, names in (("backgrounds", self.backgrounds), ("categories", self.categories)):
            for name in names:
                if not name.isidentifier() or name in {*_RESERVED, self.mass, *features}:
                    raise ValueError(
                        f"{kind}: expected names of letters, digits and underscores that are no other thing's, got "
                        f"{name!r}; choose another"
                    )
        simulated = ["signal", *self.backgrounds]
        falling = ("n_bkg", *self.falling_parameters())
        parameters = [self.poi, "training", *(f"{p}{end}" for p in falling for end in suffixes)]
        parameters += [name for own in self.backgrounds for name in (f"n_{own}", f"{own}_yield")]
        if self.categories:
            parameters += [f"n_{component}{end}" for component in simulated for end in suffixes]
        densities = [f"{component}{end}" for component in ("background", *simulated) for end in suffixes]
        for group in (parameters, densities):
            if repeated := sorted({name for name in group if group.count(name) > 1}):
                raise ValueError(
                    "poi, backgrounds, categories: expected names that tell all parameters and densities apart, got "
                    f"{repeated[0]!r} twice; choose others"
                )
        if unknown := sorted(self.kinds.keys() - features):
            raise ValueError(f"kind: expected features ({', '.join(sorted(features))}), got {unknown[0]}; correct it")
        if self.kinds and self.flow != "spline":
            raise ValueError(f"kind: expected flow spline for features with kinds, got {self.flow}; choose spline")
        taken = {*parameters, self.mass, *features}
        for name in self.nuisances():
            if not name.isidentifier() or name in taken or name.startswith("peak_"):
                raise ValueError(
                    f"systematic: expected a name of letters, digits and underscores that is no other parameter's, got "
                    f"{name!r}; choose another"
                )
        return self

    @model_validator(mode="after")
    def _combination(self) -> Self:
        if self.combine == "weights" and self.categories:
            raise ValueError(
                "combine: expected nuisance, envelope, mixture or discrete for several categories, got weights; "
                "choose another, or measure each category alone"
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

    @model_validator(mode="after")
    def _shapes_and_weights(self) -> Self:
        powers = [name for name in self.falling if name.startswith(("power-law", "laurent"))]
        if powers and not self.range[0] > 0.0:
            raise ValueError(
                f"falling: expected a range of positive masses for {powers[0]}, got one from {self.range[0]:g}; choose "
                "another shape"
            )
        if len(self.falling) > 1 and self.combine == "weights":
            raise ValueError(
                "falling: expected one shape for combine weights, got "
                f"{', '.join(self.falling)}; name one, or combine by nuisance"
            )
        if self.data_weight is not None and self.blind:
            raise ValueError(
                "data_weight: expected events without weights in a blind run, whose expected errors are those of such, "
                f"got {self.data_weight!r}; leave one of the two out"
            )
        for name in self.interest_factors():
            if name in self.yield_systematic:
                raise ValueError(
                    f"yield-systematic: expected the uncertainty of the {name} once, got it here and as "
                    f"{name}_uncertainty; leave one of them out"
                )
        return self

    @model_validator(mode="after")
    def _categories(self) -> Self:
        for name, own in self.categories.items():
            try:
                self._part(own)
            except ValidationError as error:
                text = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
                raise ValueError(f"categories.{name}: {text}") from error
        return self

    @model_validator(mode="after")
    def _blindness(self) -> Self:
        if self.inject is not None and not self.blind:
            raise ValueError(
                f"inject: expected a blind run, got a signal of {self.inject:g} for an open one; add blind, or leave "
                "it out (hisigma toys has it too)"
            )
        return self

    def opened(self) -> Self:
        """The same options for the run that follows a blind one."""
        return self.model_copy(update={"blind": False, "inject": None})

    def numbers(self) -> dict[str, Any]:
        """Options that change numbers: all but the paths, whose content is hashed instead."""
        varied = ("systematic", "background_systematic")
        unused = {"data", "signal", "sideband_training", *varied, *FIGURE_OPTIONS}
        unused -= {"luminosity"} if self.poi_kind == "cross_section" else set()
        plain = self.model_dump(mode="json", exclude=unused)
        for name, own in self.backgrounds.items():
            del plain["backgrounds"][name]["files"]
            plain["backgrounds"][name]["systematic"] = sorted(own.systematic)
            if own.peak == DEFAULT_PEAK:
                del plain["backgrounds"][name]["peak"]
        # left out where they are not used: runs of before they were options stay what they are
        late = {"yield_systematic", "penalties", "backgrounds", "categories", "blind", "inject", "masked"}
        late |= {*ShapeOptions.model_fields, *PoiOptions.model_fields, "data_weight"} - {"poi", *FIGURE_OPTIONS}
        for name in late:
            if getattr(self, name) == type(self).model_fields[name].default:
                del plain[name]
        return plain | {name: sorted(getattr(self, name)) for name in varied}
