"""What a measurement can be told of its backgrounds from simulation and of its categories."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hisigma_zfit.configuration.options import Files, Names, Options, Pair
from hisigma_zfit.measurement.shape_options import Peak  # noqa: TC001 - pydantic reads it
from hisigma_zfit.model.shape_names import DEFAULT_PEAK

__all__ = ["BackgroundOptions", "CategoryOptions", "require_factors"]


class BackgroundOptions(Options):
    """A background that the sidebands do not show, such as one with a peak: learned from simulation."""

    files: Files = Field(min_length=1, description="its simulated events")
    expected: float = Field(
        gt=0, allow_inf_nan=False, description="events expected in the range of the mass, in all categories together"
    )
    uncertainty: Annotated[float, Field(gt=0, lt=1)] | Literal["free"] = Field(
        description="relative uncertainty of that number, such as 0.2; free lets the data alone find it"
    )
    constraint: Literal["lognormal", "gaussian"] = Field(
        "lognormal", description="form of that uncertainty; log-normal is a factor of 1 + uncertainty"
    )
    systematic: dict[str, Pair] = Field(
        {}, description="nuisances with its simulation at +1 and -1 standard deviations: name -> [up, down]"
    )
    yield_systematic: dict[str, float] = Field(
        {}, description="nuisances that change its expected number by a factor, as those of the signal"
    )
    peak: Peak = Field(DEFAULT_PEAK, description="shape of its mass, fitted to its simulation; as that of the signal")

    @model_validator(mode="after")
    def _factors(self) -> Self:
        require_factors(self.yield_systematic)
        return self


class CategoryOptions(Options):
    """Events that are fitted together with other events: densities and mass shape of their own, one signal for all."""

    cut: str = Field(description="selects its events, in addition to the cut for all; categories share no event")
    features: Names = Field((), description="its features, where they are not those of all categories")
    yield_systematic: dict[str, float] = Field(
        {}, description="factors on the expected signal that are other in this category, such as migrations"
    )

    @model_validator(mode="after")
    def _factors(self) -> Self:
        require_factors(self.yield_systematic)
        return self


def require_factors(factors: dict[str, float]) -> None:
    """Refuse factors that are none, for pydantic."""
    for name, factor in factors.items():
        if not (math.isfinite(factor) and factor > 0 and factor != 1):
            raise ValueError(
                f"yield-systematic: expected a positive factor other than 1 for {name}, got {factor:g}; write 1.02 "
                "for 2 %"
            )
