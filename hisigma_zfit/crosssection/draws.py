"""One draw of the true nuisances with its toys; numpy only, for worker processes.

The simulation itself is shifted to the true nuisances, by default with new random numbers, and scored by models that
have not seen its events.  Of stochastic shifts there are as many sets of numbers as in the design: in data no two
events share a number, and the fluctuation of a single set would be in all toys of the draw, beside that of the Poisson
copies.  A toy has a Poisson number of copies of every row.  So toys test what was learned, unlike those of
`hisigma_zfit.toys.ratio`, which are toys of the learned model.  They do not contain the error of the simulation: truth
and model are made of the same rows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import chi2

from hisigma_zfit.crosssection.analysis import Analysis
from hisigma_zfit.crosssection.expectation import Expectation, methods_scored
from hisigma_zfit.crosssection.inputs import Inputs
from hisigma_zfit.crosssection.learning import Simulation
from hisigma_zfit.crosssection.methods import Unbinned
from hisigma_zfit.crosssection.nuisances import nuisances_of
from hisigma_zfit.crosssection.recipe import recipe_of
from hisigma_zfit.crosssection.regions import regions_of
from hisigma_zfit.crosssection.shifted import Shifter
from hisigma_zfit.errors import FitError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.learn.streams import Purpose, stream
from hisigma_zfit.ratio.coordinates import SquaredScale
from hisigma_zfit.results import CoverageDraw, DrawnAnswers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.crosssection.methods import Method
    from hisigma_zfit.crosssection.model import RatioModel, Scored
    from hisigma_zfit.crosssection.options import CrossSectionOptions
    from hisigma_zfit.crosssection.regions import Cells
    from hisigma_zfit.crosssection.restoring import Restored
    from hisigma_zfit.crosssection.samples import Sample
    from hisigma_zfit.crosssection.shifted import Placed
    from hisigma_zfit.likelihood.ratio import RatioLikelihood
    from hisigma_zfit.ratio.structure import NormEffect, ShapeParameter

__all__ = ["DrawPlan", "draw_toys"]


@dataclass(frozen=True)
class DrawPlan:
    """What all draws have in common: sent once to every worker, which finds the user's functions again by their texts.

    Attributes:
        settings: Options of the run.
        samples: Simulation by process.
        placed: The same in its cells.
        cells: Regions and bins.
        methods: By name; "unbinned" is always there, for the scores.
        fitted: Names of those that answer.
        poi: Parameter of interest; all others are 1.
        mu: Ends of the range of its true value.
        toys: Toys of each draw.
        nuisances: See `hisigma_zfit.results.CoverageStudy`.
        cl: Confidence level of the intervals.
        seed: Of the toys.
        numbers: Random numbers of stochastic shifts.
    """

    settings: CrossSectionOptions
    samples: tuple[Sample, ...]
    placed: tuple[Placed, ...]
    cells: Cells
    methods: Mapping[str, Method]
    fitted: tuple[str, ...]
    poi: str
    mu: tuple[float, float]
    toys: int
    nuisances: Literal["random", "fixed"]
    cl: float
    seed: int
    numbers: Literal["new", "design"] = "new"

    @classmethod
    def of(cls, run: Restored, settings: CrossSectionOptions, fitted: Sequence[str], **options: object) -> DrawPlan:
        """Of a run; see the attributes for `options`."""
        # of a sample's process only the name is needed, and data sets travel to every worker
        samples = tuple(replace(own, process=replace(own.process, events=own.events)) for own in run.inputs.samples)
        return cls(
            settings,
            samples,
            run.simulation.placed,
            run.simulation.shifter.cells,
            _bare(run.methods),
            tuple(fitted),
            **options,  # type: ignore[arg-type]
        )

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "expectation"}

    @cached_property
    def expectation(self) -> Expectation:
        """Shifts the simulation."""
        settings = self.settings
        analysis = Analysis(
            tuple(own.process for own in self.samples),
            nuisances_of(settings.nuisances),
            recipe_of(settings),
            regions_of(settings),
            settings.joint_points,
            quick=settings.preset == "quick",
        )
        model = self.methods["unbinned"].model  # type: ignore[union-attr]
        shifter = Shifter(analysis.shapes, analysis.recipe, self.cells, model.scorer.scores, seed=settings.seed)
        simulation = Simulation(shifter, self.placed, ())
        return Expectation(Inputs(analysis, self.samples, (), (), ()), simulation, model)


def _bare(methods: Mapping[str, Method]) -> dict[str, Method]:
    """The same without simulated events; methods of one model go on sharing it."""
    models: dict[int, RatioModel] = {}
    found: dict[str, Method] = {}
    for name, own in methods.items():
        if isinstance(own, Unbinned):
            found[name] = Unbinned(models.setdefault(id(own.model), replace(own.model, reference=None)))
        else:
            found[name] = own
    return found


@dataclass(frozen=True)
class _Truth:
    """True nuisances of a draw.

    Attributes:
        theta: In units of their constraints, by name.
        settings: Of those that move events, as the options write them.
        observed: Names of those whose auxiliary measurements are drawn for each toy.
    """

    theta: dict[str, float]
    settings: dict[str, float]
    observed: tuple[str, ...]


def _truth(plan: DrawPlan, number: int) -> _Truth:
    analysis = plan.expectation.analysis
    rng = stream(plan.seed, Purpose.RATIO_TOYS, number)
    parameters: list[ShapeParameter | NormEffect] = [own.parameter() for own in analysis.shapes]
    parameters += [own.effect() for own in analysis.norms]
    # what files and weights do is known at their points only
    still = {own.name for own in analysis.shapes if own.kind != "shift"}
    theta, observed = {}, []
    for own in parameters:
        value = _from_prior(own, rng)
        moves = plan.nuisances == "random" and own.name not in still
        theta[own.name] = value if moves else float(np.clip(0.0, *own.constraint.limits))
        if own.constraint.kind == "gaussian" and not moves:
            observed.append(own.name)
    settings = {
        own.name: own.point(own.clothes.value(theta[own.name])) for own in analysis.shapes if own.kind == "shift"
    }
    return _Truth(theta, settings, tuple(observed))


def _from_prior(own: ShapeParameter | NormEffect, rng: np.random.Generator) -> float:
    """Theta from its constraint, inside of the limits of fits; the centre where nothing is known of it."""
    limits = own.constraint.limits
    normal, flat = float(rng.standard_normal()), float(rng.uniform())  # both, so that others do not depend on the kind
    if own.constraint.kind == "uniform":
        return limits[0] + (limits[1] - limits[0]) * flat
    value = normal if own.constraint.kind == "gaussian" else 0.0
    if isinstance(getattr(own, "coordinate", None), SquaredScale):
        value = abs(value)  # both signs are the same width
    return float(np.clip(value, *limits))


def draw_toys(plan: DrawPlan, number: int) -> CoverageDraw:
    """Draw nuisances, shift the simulation to them, and fit toys.

    Args:
        plan: What all draws have in common.
        number: Of the draw.
    """
    start = time.process_time()
    truth, expectation = _truth(plan, number), plan.expectation
    # more than one number: random numbers that no design point has
    rows = expectation.rows(truth.settings, *((plan.seed, number, 1) if plan.numbers == "new" else ()))
    wanted = {name: own for name, own in plan.methods.items() if name in plan.fitted or name == "unbinned"}
    scored = methods_scored(wanted, rows)
    del rows
    mu = np.empty(plan.toys)
    answers: dict[str, list[_Fitted]] = {name: [] for name in plan.fitted}
    for toy in range(plan.toys):
        rng = stream(plan.seed, Purpose.RATIO_TOYS, number, toy, 0)
        mu[toy] = rng.uniform(*plan.mu)
        auxiliary = {name: truth.theta[name] + float(rng.standard_normal()) for name in truth.observed}
        factors = expectation.factors({**truth.theta, plan.poi: float(mu[toy])})
        drawn: dict[int, Scored] = {}
        for name in plan.fitted:
            own = scored[name]
            if id(own) not in drawn:
                # the same copies for every method
                copies = stream(plan.seed, Purpose.RATIO_TOYS, number, toy, 1)
                drawn[id(own)] = _copied(own.times(factors), copies)
            likelihood = plan.methods[name].likelihood(drawn[id(own)], auxiliary=auxiliary)
            answers[name].append(_fitted(likelihood, plan.poi, plan.cl, truth.theta))
    return CoverageDraw(
        number=number,
        nuisances={name: truth.settings.get(name, value) for name, value in truth.theta.items()},
        truth=mu,
        methods={name: _joined(own, truth.theta) for name, own in answers.items()},
        cpu_s=round(time.process_time() - start, 2),
    )


def _copied(expected: Scored, rng: np.random.Generator) -> Scored:
    """As `Scored.drawn`, but each row once, with its number of copies as its weight: the same likelihood, quicker."""
    assert expected.weights is not None
    copies = rng.poisson(expected.weights)
    at = np.flatnonzero(copies)
    return replace(
        expected,
        posterior=expected.posterior[at],
        exponents=expected.exponents[at],
        region=expected.region[at],
        score=expected.score[at],
        weights=copies[at].astype(np.float64),
        counts=rng.poisson(expected.counts).astype(np.float64),
        process=None,
        event=None,
        counted=None,
        x=None,
    )


@dataclass(frozen=True)
class _Fitted:
    """Best value, ends of the interval and pulls of the nuisances of one toy; nan where there is none."""

    value: float
    lower: float
    upper: float
    pulls: dict[str, float]


def _fitted(likelihood: RatioLikelihood, poi: str, cl: float, theta: Mapping[str, float]) -> _Fitted:
    try:
        profiler = Profiler(likelihood, poi, quick=True)
        lower, upper = profiler.interval(float(chi2.ppf(cl, 1)))
    except FitError:
        return _Fitted(np.nan, np.nan, np.nan, dict.fromkeys(theta, np.nan))
    names = [str(p.name) for p in likelihood.parameters]
    errors = _errors(profiler)
    pulls = {}
    for name, true in theta.items():
        k = names.index(name)
        pulls[name] = (float(profiler.minimum.theta[k]) - true) / errors[k] if errors[k] > 0.0 else np.nan
    return _Fitted(profiler.best, float(lower), float(upper), pulls)


def _errors(profiler: Profiler) -> Array:
    """Of all parameters, shape (T,); 0 for those at a limit, and where there is no parabola."""
    try:
        variance = np.diag(profiler.covariance)
    except FitError:
        return np.zeros(len(profiler.minimum.theta))
    return np.sqrt(np.maximum(variance, 0.0))


def _joined(fits: Sequence[_Fitted], names: Mapping[str, float]) -> DrawnAnswers:
    return DrawnAnswers(
        value=np.array([own.value for own in fits]),
        lower=np.array([own.lower for own in fits]),
        upper=np.array([own.upper for own in fits]),
        nuisance_pulls={name: np.array([own.pulls[name] for own in fits]) for name in names},
    )
