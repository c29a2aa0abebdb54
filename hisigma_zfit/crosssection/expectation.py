"""Expected events anywhere in the space of the nuisances: the simulation itself, shifted, and not the model of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.ratio.powers import norm_factor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.crosssection.inputs import Inputs
    from hisigma_zfit.crosssection.learning import Simulation
    from hisigma_zfit.crosssection.methods import Method
    from hisigma_zfit.crosssection.model import RatioModel, Scored
    from hisigma_zfit.crosssection.samples import Sample
    from hisigma_zfit.crosssection.shifted import Placed
    from hisigma_zfit.ratio.rows import ShiftedRows

__all__ = ["Expectation", "methods_scored"]


class Expectation:
    """Shifts all processes at once.

    Args:
        inputs: Samples and analysis.
        simulation: Their places.
        model: What was learned.
        samples: Others than those that were learned from, held back for example.
    """

    def __init__(
        self, inputs: Inputs, simulation: Simulation, model: RatioModel, samples: Sequence[Sample] | None = None
    ) -> None:
        self.analysis, self.model = inputs.analysis, model
        self._shifter = simulation.shifter
        self._samples = inputs.samples if samples is None else tuple(samples)
        self._placed: tuple[Placed, ...] = (
            simulation.placed if samples is None else tuple(map(self._shifter.nominal, self._samples))
        )

    def rows(self, settings: Mapping[str, float], *numbers: int) -> list[ShiftedRows]:
        """Shifted events by process.

        Args:
            settings: Of the shape nuisances as the options write them; nominal where they are not named.
            numbers: Which random numbers; those of the design if none.
        """
        point = tuple(float(settings.get(own.name, 0.0)) for own in self.analysis.shapes)
        return [
            self._shifter.shifted(sample, point, placed, *numbers, keep=True)
            for sample, placed in zip(self._samples, self._placed, strict=True)
        ]

    def factors(self, values: Mapping[str, float]) -> Array:
        """C by process, shape (P,), for parameters of interest and nuisances of rates by name."""
        structure = self.model.structure
        found = np.ones(len(structure.processes))
        for p, process in enumerate(structure.processes):
            for poi in structure.pois.get(process, ()):
                found[p] *= values.get(poi, 1.0)
            for norm in structure.norms:
                if process in norm.sizes and norm.name in values:
                    found[p] *= norm_factor(values[norm.name], norm.sizes[process], norm.kind)[0]
        return found

    def auxiliary(self, settings: Mapping[str, float]) -> dict[str, float]:
        """What the constraints measure where these settings are true, so that they pull no fit away from it.

        Args:
            settings: As of `rows`.
        """
        nuisances = {own.name: own for own in self.analysis.shapes}
        found = {}
        for own in self.model.structure.shapes:
            if own.constraint.kind == "gaussian":
                value = nuisances[own.name].value(float(settings.get(own.name, 0.0)))
                # a width of zero is at minus infinity
                found[own.name] = float(np.clip(own.coordinate.theta(value), *own.constraint.limits))
        return found

    def medians(self) -> dict[str, float]:
        """Settings of the shape nuisances at the centre of their constraints."""
        return {own.name: own.point(own.clothes.value(0.0)) for own in self.analysis.shapes}


def methods_scored(methods: Mapping[str, Method], rows: Sequence[ShiftedRows]) -> dict[str, Scored]:
    """Shifted events as each method wants them; those of the same model once."""
    found: dict[int, Scored] = {}
    own: dict[str, Scored] = {}
    first = methods["unbinned"].model  # type: ignore[union-attr]
    for name, method in methods.items():
        model: RatioModel = getattr(method, "model", first)
        if id(model) not in found:
            found[id(model)] = model.simulated(rows)
        own[name] = found[id(model)]
    return own
