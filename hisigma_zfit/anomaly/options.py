"""What `hisigma search` and `hz.search` can be told, checked before anything is read."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from hisigma_zfit.anomaly.family import FamilyText
from hisigma_zfit.configuration.arguments import Flag
from hisigma_zfit.configuration.figures import FIGURE_OPTIONS
from hisigma_zfit.configuration.options import Names  # noqa: TC001 - pydantic reads it
from hisigma_zfit.measurement.options import EventOptions, TrainOptions

__all__ = ["SearchOptions"]

OTHERS = ("classifier", "flow", "supervised")
WINDOWS = 4  # in the sidebands, by default where toys are made or the region is closed


class SearchOptions(TrainOptions, EventOptions):
    """Options of one search; the command line has the same names with dashes."""

    blind: bool = Field(
        False,
        description="say what the sidebands say and keep no event of the signal region; everything else is left to "
        "hisigma unblind, which opens it later",
    )
    members: Annotated[int, Flag(metavar="N")] = Field(2, ge=1, description="seeds of each model, averaged")
    flow: Annotated[Literal["spline"], Flag(metavar="KIND")] = Field(
        "spline", description="kind of density, whose marginal transforms make the coordinates of the search"
    )
    components: Annotated[int, Flag(metavar="N")] = Field(
        1,
        ge=1,
        le=4,
        description="lumps that describe the signal; more than one find more where nothing is, and are for description",
    )
    folds: Annotated[int, Flag(metavar="N")] = Field(
        5, ge=2, le=20, description="folds of the cross-fitted scores and of the fiducial regions"
    )
    toys: Annotated[int, Flag(metavar="N")] = Field(
        0, ge=0, description="retrained background-only experiments for the p-value; half a CPU minute each"
    )
    responses: Annotated[int, Flag(metavar="N")] = Field(
        0,
        ge=0,
        description="experiments at each of four injected strengths for the interval of the learned yield; 5 or more, "
        "five CPU seconds each; none by default",
    )
    sideband_windows: Annotated[int | None, Flag(metavar="N")] = Field(
        None,
        ge=0,
        le=20,
        description="windows in the sidebands that are searched as the signal region is, each with a training of its "
        f"own; up to {WINDOWS} by default where toys are made or the run is blind",
    )
    degree: Annotated[int | None, Flag(metavar="N")] = Field(
        None, ge=1, le=8, description="of the polynomial in the exponent of the mass spectrum; chosen by default"
    )
    properties: Annotated[
        dict[str, str], Flag(name="property", metavar="NAME=EXPRESSION", split="=", example="m_heavy=mj+dmj")
    ] = Field({}, description="observable of the learned signal, of mass and features; may be repeated")
    truth: Annotated[str | None, Flag(metavar="COLUMN")] = Field(
        None, description="column of the data that is 1 for signal and 0 for background, to judge scores by"
    )

    compare: Annotated[Names, Flag(metavar="A,B,...", split=",")] = Field(
        (),
        description=f"other scores beside the search's, judged by the truth: some of {', '.join(OTHERS)}",
    )
    scan: Annotated[tuple[float, float, float, float] | None, Flag(metavar=("LO", "HI", "WIDTH", "STEP"))] = Field(
        None,
        description="also search windows of this width all along the mass, each with a training of its own; toys are "
        "scanned in the same way",
    )

    family: Annotated[str | None, Flag(metavar="KIND:...")] = Field(
        None,
        description="also fit a signal that is known up to parameters, from one simulated sample, "
        "scaled:FILE:EXPRESSION=PARAMETER,...@PARAMETER=VALUE,..., or from samples with the parameters as columns, "
        "grid:FILES:PARAMETER,...[:MOVING,...]",
    )

    @model_validator(mode="before")
    @classmethod
    def _continuous(cls, values: Any) -> Any:
        # a lump is a normal distribution in coordinates in which the background is one, and an atom has no such
        # coordinate: its image would be another one in every event
        if isinstance(values, dict) and values.get("kinds"):
            name, words = next(iter(dict(values["kinds"]).items()))
            raise ValueError(
                f"kind: expected continuous features for a search, whose lumps need continuous coordinates, got "
                f"{name}={words}; leave {name} out, and search at its values by --cut '{name} == ...'"
            )
        return values

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if 0 < self.responses < 5:
            raise ValueError(f"responses: expected 5 or more, or 0 for none, got {self.responses}; raise it")
        known = {self.mass, *self.features}
        if taken := sorted(known & set(self.properties)):
            raise ValueError(f"property: expected another name than a feature's, got {taken[0]}; rename it")
        if self.truth is not None and self.truth in known:
            raise ValueError(f"truth: expected another column than mass and features, got {self.truth}; name that one")
        if unknown := [name for name in self.compare if name not in OTHERS]:
            raise ValueError(f"compare: expected some of {', '.join(OTHERS)}, got {unknown[0]!r}; correct it")
        if self.compare and self.truth is None:
            raise ValueError("truth: expected a column to judge the compared scores by, got none; name it")
        if self.family is not None:
            FamilyText.parse(self.family)
        if self.scan is not None:
            low, high, width, step = self.scan
            if not (width > 0 and step > 0 and high - low >= width):
                raise ValueError(
                    "scan: expected LO and HI at least a positive WIDTH apart, and a positive STEP, got "
                    f"{low:g} {high:g} {width:g} {step:g}; correct them"
                )
            if not (self.range[0] < low and high < self.range[1]):
                raise ValueError(
                    f"scan: expected windows inside the range {self.range[0]:g} to {self.range[1]:g} with sidebands on "
                    f"both sides, got {low:g} to {high:g}; narrow it"
                )
        if self.sideband_training and (self.toys or self.sideband_windows or self.scan):
            raise ValueError(
                "sideband-training: expected none together with toys, sideband windows or a scan, which have no such "
                "events, got some; leave one of them out"
            )
        return self

    @property
    def windows_beside(self) -> int:
        """Windows in the sidebands that are searched."""
        if self.sideband_windows is not None:
            return self.sideband_windows
        return WINDOWS if (self.toys or self.blind) and not self.sideband_training else 0

    def numbers(self) -> dict[str, Any]:
        """Options that change numbers: all but the paths, whose content is hashed instead."""
        return self.model_dump(mode="json", exclude={"data", "sideband_training", *FIGURE_OPTIONS})
