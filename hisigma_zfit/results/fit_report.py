"""What a reviewer asks of a fit: did it converge, what are its parameters, and does it describe the events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from hisigma_zfit.results.answers import UpperLimit
from hisigma_zfit.results.base import JsonArray, Result
from hisigma_zfit.results.estimates import Estimate
from hisigma_zfit.results.explanations import Impacts
from hisigma_zfit.results.projection import Chi2

Matrix = tuple[tuple[float, ...], ...]  # rows; reports of fits can be compared by ==

__all__ = ["ExpectedSignificance", "FitReport", "FitStatus", "FitTest", "RegionYields", "ShapeFit", "ShapeParameters"]


@dataclass(frozen=True)
class FitStatus(Result):
    """What came of the minimisation.

    Attributes:
        converged: Whether a minimum was found.
        edm: Estimated distance to the minimum, in units of -log L.
        at_limit: Parameters that stopped at one of their limits, whose errors say nothing.
        undetermined: Parameters without effect on the likelihood.
    """

    schema: ClassVar[str] = "hisigma-zfit/fit-status/1"
    converged: bool
    edm: float
    at_limit: tuple[str, ...] = ()
    undetermined: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = ["converged" if self.converged else "NOT converged", f"edm {self.edm:.1e}"]
        words += [f"at a limit: {', '.join(self.at_limit)}"] if self.at_limit else ["no parameter at a limit"]
        words += [f"undetermined: {', '.join(self.undetermined)}"] if self.undetermined else []
        return ", ".join(words)


@dataclass(frozen=True)
class ShapeParameters(Result):
    """A fitted mass shape.

    Attributes:
        shape: Name of its class, such as ``"DoubleCB"``.
        parameters: All its parameters by name; the error of one that is held, at a limit or not determined is zero.
        names: Those that the events determine, F of them.
        covariance: Of these, shape (F, F).
        held: Why other parameters have no error, by name: ``"at its limit"`` or ``"not determined"`` by the events.
        chi2: Of the bins of the figure; None where there are too few events.
    """

    schema: ClassVar[str] = "hisigma-zfit/shape-parameters/1"
    shape: str
    parameters: dict[str, Estimate]
    names: tuple[str, ...]
    covariance: Matrix
    held: dict[str, str] = field(default_factory=dict)
    chi2: Chi2 | None = None


@dataclass(frozen=True)
class ShapeFit(Result):
    """A fitted mass shape beside the events that it was fitted to.

    Attributes:
        name: Of the component.
        category: Of the events, where there are several.
        events: What the points are: ``"simulation"`` or ``"data"``.
        observable: Name of the mass.
        fitted: The parameters.
        edges: Bin edges, shape (n + 1,).
        data: Sums of weights by bin, shape (n,).
        data_variance: Their variances, shape (n,).
        expected: What the shape expects in the bins, shape (n,).
        masses: Where the curve is known, shape (k,).
        curve: Events by bin width there, shape (k,).
        curve_error: Its error from the covariance, shape (k,).
        closed: Part of the mass that is not the component's alone: its points are shown open and do not count in the
            chi2.
        masked: Windows of the mass without events, where the shape is zero.
    """

    schema: ClassVar[str] = "hisigma-zfit/shape-fit/1"
    name: str
    category: str
    events: str
    observable: str
    fitted: ShapeParameters
    edges: JsonArray
    data: JsonArray
    data_variance: JsonArray
    expected: JsonArray
    masses: JsonArray
    curve: JsonArray
    curve_error: JsonArray
    closed: tuple[float, float] | None = None
    masked: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class RegionYields(Result):
    """Events in one region of the mass.

    Attributes:
        region: ``"signal region"``, ``"sidebands"`` or ``"all"``.
        category: Of the events, where there are several.
        observed: Events of the data.
        components: What each component of the fit expects there, with the error of the fit.
        total: Their sum.
    """

    schema: ClassVar[str] = "hisigma-zfit/region-yields/1"
    region: str
    category: str
    observed: float
    components: dict[str, Estimate]
    total: Estimate


@dataclass(frozen=True)
class FitTest(Result):
    """Whether the fitted model describes the data.

    Attributes:
        what: What is compared.
        category: Of the events, where there are several.
        method: ``"chi2"`` of bins, or the name of a two-sample test.
        statistic: Its value.
        p_value: Probability of a larger one if the model is right.
        ndf: Degrees of freedom of a chi2; None for other tests.
        n_events: Events of the data that were compared.
    """

    schema: ClassVar[str] = "hisigma-zfit/fit-test/1"
    what: str
    category: str
    method: str
    statistic: float
    p_value: float
    ndf: int | None
    n_events: int


@dataclass(frozen=True)
class ExpectedSignificance(Result):
    """Significance in the Asimov set of some signal, all else as the data fit it.

    Attributes:
        name: Why this signal: ``"fitted"`` or ``"simulation"``.
        signal: Its yield.
        z: Median significance.
    """

    schema: ClassVar[str] = "hisigma-zfit/expected-significance/1"
    name: str
    signal: float
    z: float


@dataclass(frozen=True)
class FitReport(Result):
    """The fit with the average of all members, for those who review it.

    Attributes:
        status: Of the minimisation.
        names: Parameters that floated and are not at a limit, P of them.
        covariance: Of these, shape (P, P).
        correlations: The same in units of the errors, shape (P, P).
        shapes: Fitted mass shapes by component, behind its category where there are several.
        yields: Events by region and component.
        tests: Goodness of fit.
        expected: Expected significances; empty where no Asimov set can be made.
        expected_limit: Limit without signal with its bands, of the average of all members; None likewise.
        impacts: Pulls and ranked impacts of all nuisances; None where there are none.
    """

    schema: ClassVar[str] = "hisigma-zfit/fit-report/1"
    status: FitStatus
    names: tuple[str, ...]
    covariance: Matrix
    correlations: Matrix
    shapes: dict[str, ShapeParameters]
    yields: tuple[RegionYields, ...]
    tests: tuple[FitTest, ...] = ()
    expected: tuple[ExpectedSignificance, ...] = ()
    expected_limit: UpperLimit | None = None
    impacts: Impacts | None = None
