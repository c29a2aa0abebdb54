"""What `hisigma cross-section` and `hz.cross_section` can be told, checked before anything is read."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from hisigma_zfit.configuration.arguments import Flag
from hisigma_zfit.configuration.documents import Functions, Paths
from hisigma_zfit.configuration.figures import FIGURE_OPTIONS, FigureWords
from hisigma_zfit.configuration.options import Files, Names, Options
from hisigma_zfit.crosssection.nuisance_options import (
    FilesOptions,
    NormOptions,
    NuisanceOptions,
    ShiftOptions,
    VariedOptions,
    WeightsOptions,
)

__all__ = [
    "CountingOptions",
    "CrossSectionOptions",
    "DataOptions",
    "ExponentOptions",
    "InferenceOptions",
    "MomentOptions",
    "PosteriorOptions",
    "ProcessOptions",
    "SelectionOptions",
    "UnbinnedOptions",
    "UncertaintyOptions",
]

_METHOD = re.compile(r"counting|binned-[1-9][0-9]*|unbinned-uncalibrated")
_SCORE = re.compile(r"\bscore\.([A-Za-z_]\w*)")


class ProcessOptions(Options):
    """A simulated process."""

    files: Files = Field(min_length=1, description="its simulated events")
    poi: Names = Field((), description="parameters of interest that multiply it; none for a background")
    shape: Literal["auto", "learned", "none"] = Field(
        "auto",
        description="whether nuisances change its shape; none for rates only, auto learns it where there are 20,000 "
        "effective events",
    )


class SelectionOptions(Options):
    """What is done to every event after every shift, to data too."""

    apply: Annotated[str | None, Functions()] = Field(
        None, description="module:function or file.py:function, f(columns) -> columns, or columns and a mask"
    )
    cut: str | None = Field(None, description="expression of columns that is true for the events to keep")


class PosteriorOptions(Options):
    """How the shares of the processes are learned."""

    kind: Literal["boosting", "network"] = Field("boosting", description="of the classifier")
    folds: int = Field(2, ge=2, le=20, description="folds of hard events; no event is scored by what has seen it")


class ExponentOptions(Options):
    """How the systematic variations are learned."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field((48, 48), min_length=1, description="widths of the layers")
    epochs: int = Field(4, ge=1, description="passes over the pairs of nominal and shifted events")
    seeds: int = Field(2, ge=1, description="nets that are averaged")
    bound: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = Field(
        (0.35, 0.08), description="largest exponents: of linear monomials, and of squares and products"
    )
    decay: float = Field(0.5, ge=0, allow_inf_nan=False, description="of the weights, in units of the learning rate")
    pairing: Literal["identity", "none"] = Field(
        "identity", description="whether an event and its shifted version are learned from together"
    )


class MomentOptions(Options):
    """How simulated moments are made exact."""

    score_bins: int = Field(12, ge=0, description="bins of the score whose contents are; 0, or moments: off, for none")
    inverse_for_backgrounds: bool = Field(True, description="whether shifted backgrounds are made nominal")


class UnbinnedOptions(Options):
    """A region whose events enter the likelihood one by one."""

    unbinned: str = Field(description="expression of columns and of score.PROCESS that is true for its events")


class CountingOptions(Options):
    """A region whose events are counted in bins."""

    counting: str = Field(description="expression as of an unbinned region, or else for all that is in no other one")
    bins: dict[str, tuple[Annotated[float, Field(allow_inf_nan=True)], ...]] = Field(
        {}, description="edges by column or expression; lower edges belong to a bin, and the last may be inf"
    )
    merge_below: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="neighbouring bins of fewer effective events are merged"
    )

    @model_validator(mode="after")
    def _edges(self) -> Self:
        for name, edges in self.bins.items():
            if len(edges) < 2 or any(not a < b for a, b in itertools.pairwise(edges)):
                raise ValueError(f"bins: expected two or more rising edges of {name}, got {list(edges)}; order them")
        return self


def _kind_of(given: Any) -> str | None:
    kinds = ("unbinned", "counting")
    names = [kind for kind in kinds if (kind in given if isinstance(given, Mapping) else hasattr(given, kind))]
    return names[0] if len(names) == 1 else None


_Region = Annotated[
    Annotated[UnbinnedOptions, Tag("unbinned")] | Annotated[CountingOptions, Tag("counting")],
    Discriminator(
        _kind_of,
        custom_error_type="region_kind",
        custom_error_message="expected exactly one of unbinned, counting",
    ),
]


class UncertaintyOptions(Options):
    """The error of the simulation and of what was learned from it."""

    replicas: int = Field(5, ge=2, description="of the whole learning, on resampled hard events, for all")
    what: Literal["all", "templates", "off"] = Field(
        "templates",
        description="templates draws the expected events again, in seconds; all learns everything again, each replica "
        "as long as the run",
    )


class DataOptions(Options):
    """The data."""

    files: Files = Field(min_length=1, description="observed events")
    folds: Literal["both", "one"] = Field("both", description="whether fits are made with both assignments to folds")
    pseudo_data: bool = Field(False, description="whether they are simulated events that may carry the weight")


class InferenceOptions(Options):
    """What is asked of the likelihood."""

    cl: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field((0.683, 0.954), description="of the intervals")
    interval: Literal["profile"] = Field("profile", description="with all nuisances profiled")
    impacts: bool = Field(True, description="what each nuisance moves")
    compare: Names = Field(
        ("counting", "binned-8", "binned-20", "unbinned-uncalibrated"), description="other fits of the same events"
    )
    bounds: dict[str, tuple[float | None, float | None]] = Field(
        {}, description="limits of parameters of interest in fits; none by default"
    )

    @model_validator(mode="after")
    def _methods(self) -> Self:
        if unknown := [name for name in self.compare if not _METHOD.fullmatch(name)]:
            raise ValueError(
                f"compare: expected some of counting, binned-N, unbinned-uncalibrated, got {unknown[0]!r}; correct it"
            )
        return self


def _with_files(given: Any) -> Any:
    return given if given is None or isinstance(given, Mapping) or hasattr(given, "files") else {"files": given}


def _joint_points(given: Any) -> Any:
    if given != "all" and not isinstance(given, (list, tuple)):
        raise ValueError(f"expected all, or a list of lists of nuisances, got {given!r}; write one")
    return given


def _columns(given: Any) -> Any:
    """All columns is an empty mapping; a list is a mapping of each to itself."""
    if given == "all":
        return {}
    names = (given,) if isinstance(given, str) else given
    if isinstance(names, (list, tuple)):
        if repeated := sorted({str(name) for name in names if names.count(name) > 1}):
            raise ValueError(f"expected distinct columns, got {repeated[0]!r} twice; name each once")
        return {name: name for name in names}
    return given


class CrossSectionOptions(FigureWords):
    """Options of one cross-section; most of them stand in a configuration file."""

    luminosity: float | None = Field(None, gt=0, allow_inf_nan=False, description="in fb-1; printed, not used")
    tree: str | None = Field(None, description="tree in the files; may be left out where there is only one")
    columns: Annotated[dict[str, str], BeforeValidator(_columns), Flag(name="column", split="=", example="m=a/b")] = (
        Field({}, description="columns that are read, by name or with expressions of branches; all by default")
    )
    derived: Annotated[dict[str, str] | str, Functions()] = Field(
        {},
        description="columns that are made of others after every shift and the selection: name -> expression, or "
        "module:function, f(columns) -> columns",
    )
    weight: str | None = Field(None, description="expected events that a simulated row stands for")
    negative_weights: Literal["refuse", "keep"] = Field("refuse", description="what to do with them")
    identity: str | None = Field(
        None, description="column that tells hard events apart, which several rows may share; the row by default"
    )
    processes: dict[str, ProcessOptions] = Field(min_length=1, description="simulated processes by name")
    selection: SelectionOptions = Field(SelectionOptions.build(), description="of events, after every shift")
    nuisances: dict[str, NuisanceOptions] = Field({}, description="systematic uncertainties by name, in their order")
    joint_points: Annotated[Literal["all"] | tuple[dict[str, float] | Names, ...], BeforeValidator(_joint_points)] = (
        Field(
            "all", description="nuisances that are shifted together, whose products enter: lists of names, or of values"
        )
    )
    features: Annotated[Names, Functions()] = Field(
        min_length=1, description="what is learned from: columns, expressions, or module:function"
    )
    posterior: PosteriorOptions = Field(PosteriorOptions.build(), description="shares of the processes")
    exponents: ExponentOptions = Field(ExponentOptions.build(), description="systematic variations")
    moments: MomentOptions = Field(MomentOptions.build(), description="simulated moments that are made exact")
    regions: dict[str, _Region] = Field(min_length=1, description="where events enter one by one or are counted")
    uncertainty: UncertaintyOptions = Field(UncertaintyOptions.build(), description="error of the simulation")
    held_back: float = Field(0.1, ge=0, le=0.5, description="share of hard events that nothing is learned from")
    data: Annotated[DataOptions | None, BeforeValidator(_with_files), Paths()] = Field(
        None, description="observed events"
    )
    asimov: Annotated[dict[str, float], Flag(split="=", example="mu=1")] = Field(
        {}, description="parameters of expected events that are fitted instead of data"
    )
    inference: InferenceOptions = Field(InferenceOptions.build(), description="questions")
    seed: Annotated[int, Flag(metavar="N")] = Field(1, ge=0, description="seed of every random step")
    preset: Annotated[Literal["quick", "standard", "paper"], Flag(metavar="NAME")] = Field(
        "standard", description="quick is for tests, paper makes more nets and replicas where the file does not say"
    )
    blind: bool = Field(False, description="stop before data are scored")

    @model_validator(mode="before")
    @classmethod
    def _words_and_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        values = dict(given)
        # YAML reads a bare off as false
        if values.get("moments") is False or values.get("moments") == "off":
            values["moments"] = {"score_bins": 0}
        if isinstance(uncertainty := values.get("uncertainty"), Mapping) and uncertainty.get("what") is False:
            values["uncertainty"] = {**uncertainty, "what": "off"}
        preset = values.get("preset")
        if preset == "quick":
            # a test run stays one, whatever the file asks for
            _set(values, "exponents", lambda own: {**own, "epochs": min(2, own.get("epochs", 2)), "seeds": 1})
            what = "off" if _plain(values.get("uncertainty")).get("what") == "off" else "templates"
            _set(values, "uncertainty", lambda own: {**own, "what": what})
        elif preset == "paper":
            _set(values, "exponents", lambda own: {"epochs": 8, "seeds": 4, **own})
            _set(values, "uncertainty", lambda own: {"what": "all", "replicas": 10, **own})
        return values

    @property
    def pois(self) -> tuple[str, ...]:
        """Names of the parameters of interest."""
        return tuple(dict.fromkeys(poi for own in self.processes.values() for poi in own.poi))

    @model_validator(mode="after")
    def _names(self) -> Self:
        for kind, names in (("processes", self.processes), ("nuisances", self.nuisances), ("regions", self.regions)):
            if wrong := [name for name in names if not name.isidentifier()]:
                raise ValueError(
                    f"{kind}: expected names of letters, digits and underscores, got {wrong[0]!r}; rename it"
                )
        if not self.pois:
            raise ValueError("processes: expected a process with a parameter of interest, got none; add poi: mu to one")
        for name, own in self.processes.items():
            if len(set(own.poi)) < len(own.poi):
                raise ValueError(
                    f"processes.{name}: expected each parameter of interest once, got {own.poi}; remove one"
                )
        if taken := sorted({*self.pois} & {*self.nuisances}):
            raise ValueError(f"nuisances: expected no name of a parameter of interest, got {taken[0]}; rename it")
        if unknown := [name for name in self.inference.bounds if name not in self.pois]:
            raise ValueError(
                f"inference.bounds: expected some of {', '.join(self.pois)}, got {unknown[0]!r}; correct it"
            )
        parameters = (*self.pois, *self.nuisances)
        if unknown := [name for name in self.asimov if name not in parameters]:
            raise ValueError(f"asimov: expected some of {', '.join(parameters)}, got {unknown[0]!r}; correct it")
        if self.asimov and self.data is not None:
            raise ValueError("asimov: expected none together with data, got both; leave one of them out")
        return self

    @model_validator(mode="after")
    def _known_processes(self) -> Self:
        for name, own in self.nuisances.items():
            named = set(own.norm) if isinstance(own, NormOptions) else set(own.processes)
            if isinstance(own, FilesOptions):
                named |= {process for files in own.files.values() for process in files}
            if unknown := sorted(named - set(self.processes)):
                raise ValueError(
                    f"nuisances.{name}: expected processes among {', '.join(self.processes)}, got {unknown[0]!r}; "
                    "correct it"
                )
        texts = {name: getattr(own, "unbinned", getattr(own, "counting", "")) for name, own in self.regions.items()}
        for region, text in texts.items():
            if unknown := [score for score in _SCORE.findall(text) if score not in self.processes]:
                raise ValueError(
                    f"regions.{region}: expected score. of one of {', '.join(self.processes)}, got {unknown[0]!r}; "
                    "correct it"
                )
        if list(texts.values()).count("else") > 1:
            raise ValueError("regions: expected one region of all that is in no other, got several; define the others")
        if all(text == "else" for text in texts.values()) and len(texts) != 1:
            raise ValueError("regions: expected a region beside else, got none; define one")
        return self

    @model_validator(mode="after")
    def _joint(self) -> Self:
        if self.joint_points == "all":
            return self
        fitting = {name for name, own in self.nuisances.items() if isinstance(own, (ShiftOptions, WeightsOptions))}
        for joint in self.joint_points:
            if len(joint) < 2:
                raise ValueError(f"joint_points: expected two or more nuisances each, got {list(joint)}; add another")
            for name in joint:
                if name not in fitting:
                    raise ValueError(
                        f"joint_points: expected nuisances with a shift function or weights, got {name!r}; correct it"
                    )
                if isinstance(joint, dict) and not (math.isfinite(joint[name]) and joint[name] != 0.0):
                    raise ValueError(f"joint_points: expected values other than 0, got {joint}; correct them")
        return self

    def shape_nuisances(self) -> dict[str, VariedOptions]:
        """Nuisances that move events or their weights, in their order."""
        return {name: own for name, own in self.nuisances.items() if isinstance(own, VariedOptions)}

    def functions(self) -> tuple[str, ...]:
        """Texts of all functions of the user, each once."""
        texts = [own.shift for own in self.nuisances.values() if isinstance(own, ShiftOptions)]
        texts += [text for text in (self.selection.apply, self.derived) if isinstance(text, str)]
        if self.feature_function is not None:
            texts.append(self.feature_function)
        return tuple(dict.fromkeys(texts))

    @property
    def feature_function(self) -> str | None:
        """The function that makes the features, if it is one: no expression has a colon."""
        return self.features[0] if len(self.features) == 1 and ":" in self.features[0] else None

    def numbers(self) -> dict[str, Any]:
        """Options that change numbers: all but the paths, whose content is hashed instead."""
        plain = self.model_dump(mode="json", exclude={*FIGURE_OPTIONS})
        for own in plain["processes"].values():
            del own["files"]
        for own in plain["nuisances"].values():
            if "files" in own:
                own["files"] = {value: sorted(files) for value, files in own["files"].items()}
            if "shift" in own:
                own["shift"] = _function_name(own["shift"])
        if plain["data"] is not None:
            del plain["data"]["files"]
        if isinstance(plain["derived"], str):
            plain["derived"] = _function_name(plain["derived"])
        plain["features"] = [_function_name(text) if ":" in text else text for text in plain["features"]]
        if plain["selection"]["apply"] is not None:
            plain["selection"]["apply"] = _function_name(plain["selection"]["apply"])
        return plain


def _plain(own: Any) -> dict[str, Any]:
    return dict(own) if isinstance(own, Mapping) else own.model_dump() if isinstance(own, Options) else {}


def _set(values: dict[str, Any], name: str, change: Any) -> None:
    if name not in values or isinstance(values[name], (Mapping, Options)):
        values[name] = change(_plain(values.get(name)))


def _function_name(text: str) -> str:
    return text.rpartition("/")[2]
