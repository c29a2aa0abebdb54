"""One observable's histogram in data and in the fitted model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.results.base import JsonArray, Result

if TYPE_CHECKING:
    from collections.abc import Mapping

    import hist

    from hisigma_zfit.arrays import Array

__all__ = ["Chi2", "Projection"]


@dataclass(frozen=True)
class Chi2(Result):
    """How well a fitted model describes the bins of a histogram.

    Attributes:
        value: Sum over the bins, which are merged until each expects a few events.
        ndf: Combinations of bins that the fit does not follow.
        p_value: Probability of a larger value if the model is right.
    """

    schema: ClassVar[str] = "hisigma-zfit/chi2/1"
    value: float
    ndf: int
    p_value: float

    def __str__(self) -> str:
        return f"chi2 / ndf = {self.value:.1f} / {self.ndf}, p = {self.p_value:.2g}"


@dataclass(frozen=True)
class Projection(Result):
    """One observable's histogram in data and in the fitted model.

    The data are a histogram for every library that knows the protocol of UHI, such as mplhep; `hist` gives `hist.Hist`
    objects of data, components and their sum.

    Attributes:
        observable: Name of the column.
        edges: Bin edges, shape (n + 1,), in the column's unit.
        data: Sum of event weights by bin, shape (n,).
        data_variance: Sum of squared weights by bin, shape (n,).
        components: Expected events of each component by bin, each of shape (n,), in drawing order (bottom first).
        component_variance: Variance of those templates from their finite samples, each of shape (n,).
        signal: Names of the components that count as signal.
        selection: Words that say which events are shown, for example ``"signal region"``.
        category: Name of the category that is shown, where there are several.
        model_error: Error of the sum of all components by bin from the covariance of the fit, shape (n,); None where
            it was not propagated.
        model: What the model is: ``"Post-fit"``, or ``"Pre-fit"`` where the events that are shown had no part in it.
        outside: Sums of weights of the data below and above the edges; None where they were not counted.
        model_outside: Events that the model expects there.
        chi2: Data against model, by what the covariance of the fit leaves; None where it was not propagated.
        masked: Windows of the mass without data or model, if it is the mass that is shown.
        region: The signal region, to be told from these; None where nothing is masked.
    """

    schema: ClassVar[str] = "hisigma-zfit/projection/1"
    observable: str
    edges: JsonArray
    data: JsonArray
    data_variance: JsonArray
    components: dict[str, JsonArray]
    component_variance: dict[str, JsonArray]
    signal: tuple[str, ...] = ()
    selection: str = ""
    category: str = ""
    model_error: JsonArray | None = None
    model: str = "Post-fit"
    outside: tuple[float, float] | None = None
    model_outside: tuple[float, float] | None = None
    chi2: Chi2 | None = None
    masked: tuple[tuple[float, float], ...] = ()
    region: tuple[float, float] | None = None

    @classmethod
    def of(
        cls,
        data: Any,
        components: Mapping[str, Any],
        *,
        signal: tuple[str, ...] = (),
        observable: str | None = None,
        selection: str = "",
    ) -> Self:
        """Take histograms of any library that knows the protocol of UHI: hist, boost-histogram, uproot.

        Args:
            data: Histogram of the data in one dimension; without variances its contents are counts.
            components: Expected events of each component in the same bins, bottom first; without variances exact.
            signal: Names of the components that count as signal.
            observable: Name of the observable; that of the data's axis by default.
            selection: Words that say which events are shown.

        Raises:
            InputError: A histogram has another number of dimensions or other bins, or holds no counts; or the axis has
                no name.
        """
        edges = _edges("data", data)
        for name, histogram in components.items():
            own = _edges(name, histogram)
            if not np.array_equal(own, edges):
                raise InputError.from_parts(
                    expected=f"{name} in the {edges.size - 1} bins of the data",
                    got=f"{own.size - 1} from {own[0]:g} to {own[-1]:g}",
                    do="fill all histograms with one axis",
                )
        title = observable or getattr(data.axes[0], "name", "")
        if not title:
            raise InputError.from_parts(
                expected="the name of the observable", got="an axis without one", do="pass observable="
            )
        values, variances = np.asarray(data.values(), dtype=float), data.variances()
        return cls(
            observable=title,
            edges=edges,
            data=values,
            data_variance=values if variances is None else np.asarray(variances, dtype=float),
            components={k: np.asarray(v.values(), dtype=float) for k, v in components.items()},
            component_variance={
                k: np.zeros_like(values) if v.variances() is None else np.asarray(v.variances(), dtype=float)
                for k, v in components.items()
            },
            signal=signal,
            selection=selection,
        )

    @property
    def kind(self) -> str:
        """What the histogram of the data holds, for UHI."""
        return "COUNT"

    @property
    def axes(self) -> tuple[hist.axis.Variable]:
        """The axis of the observable, for UHI."""
        import hist

        return (hist.axis.Variable(self.edges, name=self.observable, flow=False),)

    def values(self, *, flow: bool = False) -> Array:  # noqa: ARG002 - what lies beyond the edges is not kept
        """Data by bin, for UHI."""
        return self.data

    def variances(self, *, flow: bool = False) -> Array:  # noqa: ARG002 - likewise
        """Variance of the data by bin, for UHI."""
        return self.data_variance

    def counts(self) -> Array:
        """Number of events without weights that are worth as much as the data, by bin, for UHI."""
        filled = self.data_variance > 0
        return np.divide(self.data**2, self.data_variance, out=np.zeros_like(self.data), where=filled)

    def hist(self, name: str = "data") -> hist.Hist:
        """A histogram with weights of the data, of one component, or of the ``"model"``, their sum.

        Args:
            name: Which one.

        Raises:
            InputError: There is no such histogram.
        """
        import hist

        zero = np.zeros_like(self.data)
        every = {
            "data": (self.data, self.data_variance),
            "model": (sum(self.components.values(), zero), sum(self.component_variance.values(), zero)),
            **{k: (v, self.component_variance[k]) for k, v in self.components.items()},
        }
        if name not in every:
            raise InputError.from_parts(expected=f"one of {', '.join(every)}", got=repr(name), do="correct the name")
        return hist.Hist(*self.axes, storage=hist.storage.Weight(), data=np.stack(every[name], axis=-1), name=name)


def _edges(name: str, histogram: Any) -> Array:
    """Bin edges of a histogram of counts in one dimension."""
    kind = str(getattr(histogram.kind, "value", histogram.kind))
    if len(histogram.axes) != 1 or kind != "COUNT":
        raise InputError.from_parts(
            expected=f"{name} as a histogram of counts in one dimension",
            got=f"{kind} in {len(histogram.axes)}",
            do="project it on the observable",
        )
    bins = list(histogram.axes[0])
    return np.array([bins[0][0], *(upper for _, upper in bins)], dtype=float)
