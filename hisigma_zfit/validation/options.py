"""What `hisigma validate` and `hz.validate` can be told: the options of the measurement, and how to try it."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from hisigma_zfit.configuration.arguments import Flag
from hisigma_zfit.configuration.figures import FIGURE_OPTIONS
from hisigma_zfit.configuration.options import Names  # noqa: TC001 - pydantic reads it
from hisigma_zfit.errors import InputError
from hisigma_zfit.measurement.options import MeasureOptions
from hisigma_zfit.measurement.shape_options import PoiOptions

__all__ = ["VARIANTS", "ValidateOptions"]

VARIANTS = ("seed", "quick", "standard", "paper", "spline", "maf")


class ValidateOptions(MeasureOptions):
    """Options of one validation: those of the measurement, whose configuration file can be given, and a few more."""

    windows: Annotated[int, Flag(metavar="N")] = Field(
        3, ge=2, le=40, description="pseudo-signal regions in the sidebands"
    )
    strengths: Annotated[tuple[float, ...], Flag(metavar="S")] = Field(
        (0.0, 0.0, 2.0, 5.0),
        min_length=2,
        description="signal that is injected into pseudo-experiments, one for each number, in units of the expected "
        "statistical error",
    )
    replicas: Annotated[int, Flag(metavar="N")] = Field(
        1, ge=1, description="how often all strengths are repeated; the error of the spurious signal falls as its root"
    )
    variants: Annotated[Names, Flag(metavar="A,B,...", split=",")] = Field(
        ("seed", "quick", "paper"),
        description="other trainings whose answer is compared: another seed, a length (quick, standard, paper), "
        "a kind of density (spline, maf)",
    )
    category: Annotated[str | None, Flag(metavar="NAME")] = Field(
        None, description="which of the categories is validated, where the measurement has some"
    )

    @model_validator(mode="after")
    def _trials(self) -> Self:
        if not all(0.0 <= s <= 100.0 for s in self.strengths):
            raise ValueError(
                f"strengths: expected numbers from 0 to 100, got {', '.join(f'{s:g}' for s in self.strengths)}; they "
                "are in units of the expected error"
            )
        if unknown := [name for name in self.variants if name not in VARIANTS]:
            raise ValueError(
                f"variants: expected some of {', '.join(VARIANTS)}, got {unknown[0]!r}; correct or leave it out"
            )
        if len(self.falling) > 1:
            raise ValueError(
                f"falling: expected one shape for a validation, got {', '.join(self.falling)}; validate each alone"
            )
        if self.data_weight is not None:
            raise ValueError(
                f"data_weight: expected data without weights for a validation, got {self.data_weight!r}; leave it out"
            )
        if self.categories and self.category not in self.categories:
            raise ValueError(
                f"category: expected one of {', '.join(self.categories)}, got {self.category or 'none'!r}; each learns "
                "a density of its own and is validated alone"
            )
        return self

    def measured(self) -> MeasureOptions:
        """The measurement that is tried: that of one category, without what is not learned from the sidebands.

        Raises:
            InputError: A category is named where there are none.
        """
        parts = self.parts()
        if (self.category or "") not in parts:
            raise InputError.from_parts(
                expected="no category for a measurement without categories", got=repr(self.category), do="leave it out"
            )
        part = parts[self.category or ""]
        own = {name: getattr(part, name) for name in MeasureOptions.model_fields}
        # signal is injected as events, so that the yield is what is measured
        kept = {"poi", "poi_kind", *FIGURE_OPTIONS}
        plain: dict[str, Any] = {name: None for name in PoiOptions.model_fields if name not in kept}
        return MeasureOptions(
            **own | {name: {} for name in (*_NOT_TRIED, "categories")} | plain | {"poi_kind": "yield"}
        )

    def left_out(self) -> tuple[str, ...]:
        """Words for what `measured` has not."""
        return tuple(words for name, words in _NOT_TRIED.items() if getattr(self, name))


_NOT_TRIED = {
    "systematic": "systematic variations of the signal",
    "background_systematic": "systematic variations of the background",
    "yield_systematic": "systematic uncertainties of the signal's yield",
    "backgrounds": "backgrounds that are learned from simulation",
}
