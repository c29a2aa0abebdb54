"""What toys are drawn from, whatever the data are: the faces that samples, Asimov sets and pools share.

A `Sample` is made once for a likelihood (`samples.sample_of`), its `asimov` gives the `Hypothesis` of parameters, and
`Hypothesis.pool` the `ToySource` of it: plain numbers, which other processes can have.

=================  ===================================  =========================  ==============================
likelihood         sample                               hypothesis                 source
=================  ===================================  =========================  ==============================
`ExtendedNLL`      `asimov.ImportanceSample`            `asimov.AsimovSet`         `pool.Pool`
templates          ``baselines``: ``TemplateSample``    ``TemplateAsimov``         ``TemplatePool``
`RatioLikelihood`  `ratio.RatioSample`                  `ratio.RatioAsimov`        `ratio.RatioPool`
`LikelihoodSum`    `joint.JointSample`                  `joint.JointAsimov`        `joint.JointPool`
=================  ===================================  =========================  ==============================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hisigma_zfit.errors import InputError
from hisigma_zfit.likelihood.protocol import has_weights, limits_of, names_of

if TYPE_CHECKING:
    import numpy as np

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.fitting.profiler import Profiler
    from hisigma_zfit.likelihood.protocol import Likelihood, PlainParameter

__all__ = ["Hypothesis", "PlainSource", "Sample", "ToySource", "require_no_weights"]


def require_no_weights(loss: Likelihood) -> None:
    """Refuse to make pseudo-experiments of a likelihood whose events have weights.

    Raises:
        InputError: They have: a model of the events' density says nothing of their weights.
    """
    if has_weights(loss):
        raise InputError.from_parts(
            expected="events without weights for pseudo-experiments",
            got="weights, whose distribution no model knows",
            do="use asymptotic answers, or pass expected=True to hz.ExtendedNLL if they stand for expected numbers",
        )


class ToySource(Protocol):
    """One hypothesis, from which pseudo-experiments are drawn."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all parameters, P of them."""

    @property
    def theta(self) -> Array:
        """Their true values, shape (P,)."""

    @property
    def free(self) -> tuple[int, ...]:
        """Indices of those that float in the fit."""

    @property
    def limits(self) -> tuple[Array, Array]:
        """Lower and upper limits, each of shape (P,)."""

    @property
    def n_categories(self) -> int:
        """Number of data sets C."""

    @property
    def n_auxiliary(self) -> int:
        """Number of observations A of the auxiliary measurements behind constraint terms."""

    @property
    def portable(self) -> bool:
        """Whether other processes can have it."""

    @property
    def digest(self) -> str:
        """Hash of all that the toys depend on."""

    @property
    def background(self) -> ToySource | None:
        """The background-only hypothesis, for upper limits of toys; None if it was not prepared."""

    def asimov(self) -> Likelihood:
        """-log L of the data that the hypothesis expects."""

    def draw(self, rng: np.random.Generator) -> tuple[Likelihood, list[int], Array]:
        """One pseudo-experiment.

        Returns:
            Its likelihood, the numbers of events of the C data sets, and the auxiliary observations, which fluctuate
            too, shape (A,).
        """


class Hypothesis(Protocol):
    """The Asimov set of some parameters."""

    @property
    def theta(self) -> Array:
        """All parameters, shape (P,)."""

    @property
    def likelihood(self) -> Likelihood:
        """-log L of the set."""

    def profiler(self, poi: str) -> Profiler:
        """Its profile likelihood in one parameter: t(s) is the Asimov value of the test statistic.

        Raises:
            FitError: The global fit did not converge.
        """

    def pool(self, *, background: ToySource | None = None) -> ToySource:
        """Pseudo-experiments of the hypothesis.

        Args:
            background: Those of the background-only one, which upper limits of the toys need.
        """


class Sample(Protocol):
    """What the Asimov sets of a likelihood are made of, whatever the hypothesis."""

    def asimov(self, theta: Array, *, poi: str | None = None) -> Hypothesis:
        """The Asimov set of a hypothesis.

        Args:
            theta: All parameters, shape (P,), in the order of the likelihood's `parameters`.
            poi: Name of the parameter of interest.

        Raises:
            FitError: The density is negative at `theta`, or what was drawn does not represent it.
        """


@dataclass(frozen=True, repr=False)
class PlainSource:
    """The part of a `ToySource` that its parameters tell.

    Attributes:
        fit_parameters: All parameters without zfit, P of them.
        theta: Their true values, shape (P,).
    """

    fit_parameters: tuple[PlainParameter, ...]
    theta: Array

    def __repr__(self) -> str:
        truth = zip(self.fit_parameters, self.theta.tolist(), strict=True)
        return f"{type(self).__name__}({', '.join(f'{p.name}={value:.6g}' for p, value in truth if p.floating)})"

    @property
    def parameters(self) -> tuple[str, ...]:
        """See `ToySource`."""
        return names_of(self.fit_parameters)

    @property
    def free(self) -> tuple[int, ...]:
        """See `ToySource`."""
        return tuple(k for k, parameter in enumerate(self.fit_parameters) if parameter.floating)

    @property
    def limits(self) -> tuple[Array, Array]:
        """See `ToySource`."""
        return limits_of(self.fit_parameters)
