"""hepstats' calculators and tests for unbinned likelihoods in many dimensions, behind hepstats' own interface.

Replace the imports and keep the rest of a hepstats script:

    from hisigma_zfit.inference.calculators import AsymptoticCalculator, Discovery, UpperLimit
    from hepstats.hypotests.parameters import POI, POIarray

    calculator = AsymptoticCalculator(result, Newton())
    limits = UpperLimit(calculator, POIarray(n_sig, np.linspace(0, 100, 20)), POI(n_sig, 0), qtilde=True).upperlimit()

What differs from hepstats 0.10:

- `AsymptoticCalculator` has a weighted Asimov set, where hepstats bins all dimensions; p-values go through the
  survival function, hold at the boundary of a non-negative parameter, and Asimov values are kept apart by hypothesis.
- `FrequentistCalculator` draws a Poisson number of events and new auxiliary observations for every toy and takes
  events from one evaluated sample, so that a toy costs a few fits and no density.
- `UpperLimit` returns numbers under numpy 2, `Discovery` finite significances beyond 8 sigma.
- `ConfidenceInterval` with ``qtilde=True`` is the interval of Feldman and Cousins with either calculator.

The `minimizer` of a calculator finds the global best fit; conditional fits use Newton's method.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from hepstats.hypotests.parameters import POI, POIarray
from hepstats.hypotests.toyutils import ToyResult
from hepstats.utils import base_sample, base_sampler
from scipy.stats import norm

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.hepstats_internals import OpenAsymptotic, OpenFrequentist, Tails
from hisigma_zfit.inference.hepstats_tests import ConfidenceInterval, Discovery, UpperLimit
from hisigma_zfit.likelihood.protocol import Likelihood
from hisigma_zfit.toys.asimov import AsimovSet
from hisigma_zfit.toys.samples import sample_of
from hisigma_zfit.toys.source import require_no_weights
from hisigma_zfit.toys.toy_fits import conditional_fits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.toys.source import Hypothesis, Sample

__all__ = ["AsymptoticCalculator", "ConfidenceInterval", "Discovery", "FrequentistCalculator", "UpperLimit"]


_log = logging.getLogger(__name__)


class _Sampled:
    """What both calculators share: profiles of the data and one importance sample of the model."""

    loss: Any
    bestfit: Any
    _events: int
    _seed: int
    _drawn: Sample | None = None
    _profilers: dict[str, Profiler]

    def _prepare(self, events: int, seed: int) -> None:
        if not isinstance(self.loss, Likelihood):
            raise InputError.from_parts(
                expected="an hz.ExtendedNLL or its fit result",
                got=type(self.loss).__name__,
                do="use hepstats' own calculators for other losses",
            )
        self._events, self._seed, self._profilers = events, seed, {}

    def _profiler(self, name: str) -> Profiler:
        """Profile of the data, from the best fit whatever the parameters' current values are."""
        if name not in self._profilers:
            self._profilers[name] = Profiler.of(self.bestfit, name)
        return self._profilers[name]

    def _pool(self, name: str) -> Sample:
        if self._drawn is None:
            theta = self._profiler(name).minimum.theta
            self._drawn = sample_of(self.loss, theta=theta, events=self._events, seed=self._seed)
        return self._drawn

    def _hypothesis(self, poi: POI) -> Hypothesis:
        """The hypothesis poi = value, with the other parameters as the data fit them there."""
        theta = self._profiler(poi.name).at(float(poi.value)).theta
        return self._pool(poi.name).asimov(theta, poi=poi.name)

    def obs_nll(self, pois: POIarray) -> Array:
        """Observed -log L, profiled at the values of a parameter of interest."""
        profiler = self._profiler(pois.name)
        return np.array([profiler.nll(profiler.at(float(p.value))) for p in pois])

    def qobs(
        self, poinull: POIarray, onesided: bool = True, onesideddiscovery: bool = True, qtilde: bool = False
    ) -> Array:
        """Observed values of the test statistic; see hepstats."""
        profiler = self._profiler(poinull.name)
        best = POI(poinull.parameter, 0.0 if qtilde and profiler.best < 0 else profiler.best)
        reference = profiler.minimum if best.value == profiler.best else profiler.at(0.0)
        return self.q(  # type: ignore[attr-defined]
            nll1=self.obs_nll(poinull),
            nll2=np.array([profiler.nll(reference)]),
            poi1=poinull,
            poi2=best,
            onesided=onesided,
            onesideddiscovery=onesideddiscovery,
        )


class AsymptoticCalculator(_Sampled, OpenAsymptotic):
    """Asymptotic formulae of arXiv:1007.1727 with a weighted Asimov set, in any number of dimensions.

    Args:
        input: An `ExtendedNLL` or a `RatioLoss`, or the result of its fit.
        minimizer: Any zfit minimiser, for the global fit.
        asimov_bins: Not used: nothing is binned.  Kept so that hepstats code runs unchanged.
        events: Events of the Asimov set for every component and category.
        seed: Same seed, same Asimov set.

    Raises:
        InputError: The loss is neither.
    """

    def __init__(
        self,
        input: Any,  # noqa: A002 - hepstats' name
        minimizer: Any,
        asimov_bins: Any = None,
        *,
        events: int = 50_000,
        seed: int = 0,
    ) -> None:
        del asimov_bins
        super().__init__(input, minimizer)
        self._prepare(events, seed)
        self._sets: dict[POI, Hypothesis] = {}
        self._datasets: dict[POI, Any] = {}
        self._losses: dict[POI, Any] = {}
        self._asimov_profilers: dict[POI, Profiler] = {}

    def _asimov(self, poi: POI) -> Hypothesis:
        if poi not in self._sets:
            self._sets[poi] = self._hypothesis(poi)
        return self._sets[poi]

    def _events_of(self, poi: POI) -> AsimovSet:
        """The set of a hypothesis as zfit data."""
        asimov = self._asimov(poi)
        if not isinstance(asimov, AsimovSet):
            raise InputError.from_parts(
                expected="an hz.ExtendedNLL for an Asimov set in zfit's data",
                got=type(self.loss).__name__,
                do="use sample_of(loss).asimov(theta) of hisigma_zfit.toys.samples",
            )
        return asimov

    def asimov_dataset(self, poi: POI, ntrials_fit: int | None = None) -> Any:
        """Weighted Asimov events of a hypothesis: a list of zfit data, one for each category."""
        del ntrials_fit
        if poi not in self._datasets:
            self._datasets[poi] = self._events_of(poi).data()
        return self._datasets[poi]

    def asimov_loss(self, poi: POI) -> Any:
        """Loss of the Asimov set, with the constraints moved to its parameters."""
        if poi not in self._losses:
            self._losses[poi] = self._events_of(poi).loss()
        return self._losses[poi]

    def asimov_nll(self, pois: POIarray, poialt: POI) -> Array:
        """-log L of the Asimov set of `poialt`, profiled at `pois`, up to a constant for each `poialt`."""
        self.check_pois(pois)
        self.check_pois(poialt)
        if poialt not in self._asimov_profilers:
            inflation = self._profiler(poialt.name).inflation
            self._asimov_profilers[poialt] = self._asimov(poialt).profiler(poialt.name).scaled(inflation)
        profiler = self._asimov_profilers[poialt]
        return np.array([profiler.nll(profiler.at(float(p.value))) for p in pois])

    def pnull(
        self,
        qobs: Array,
        qalt: Array | None = None,
        onesided: bool = True,
        onesideddiscovery: bool = False,
        qtilde: bool = False,
        nsigma: float = 0,
    ) -> Array:
        """p-value of the null hypothesis (arXiv:1007.1727, eqs. 44, 59 and 66); arguments as in hepstats."""
        root = np.sqrt(qobs)
        first = norm.sf(root - nsigma)
        one_sided = onesided or onesideddiscovery
        p = first if one_sided else 2.0 * first
        if qalt is None or not qtilde or onesideddiscovery:
            return np.asarray(p)
        # at the boundary itself qalt is zero, and the second term with it
        with np.errstate(divide="ignore", invalid="ignore"):
            beyond = np.where(qalt > 0.0, norm.sf((qobs + qalt) / (2.0 * np.sqrt(qalt)) - nsigma), 0.0)
        if one_sided:
            return np.where((qobs > qalt) & (qalt > 0.0), beyond, p)
        return np.where(qobs > qalt, first + beyond, p)

    def palt(
        self,
        qobs: Array,
        qalt: Array,
        onesided: bool = True,
        onesideddiscovery: bool = False,
        qtilde: bool = False,
    ) -> Array:
        """p-value of the alternative hypothesis (arXiv:1007.1727, eqs. 57 and 65); arguments as in hepstats."""
        root, root_alt = np.sqrt(qobs), np.sqrt(qalt)
        one_sided = onesided or onesideddiscovery
        other = 0.0 if one_sided else norm.sf(root + root_alt)
        p = norm.sf(root - root_alt)
        if qtilde:
            with np.errstate(divide="ignore", invalid="ignore"):
                beyond = norm.sf((qobs - qalt) / (2.0 * root_alt))
            p = np.where((qobs > qalt) & (qalt > 0.0), beyond, p)
        return np.asarray(p + other)

    def null_and_alternative(
        self, poinull: POIarray, poialt: POI | None, **tails: Unpack[Tails]
    ) -> tuple[Array, Array | None]:
        """p-values of the null hypotheses, and of the alternative if there is one; arguments as hepstats' `pvalue`."""
        qobs = self.qobs(poinull, **tails)
        bounded = tails["qtilde"] and not tails["onesideddiscovery"]
        # how t-tilde is distributed near the boundary takes the Asimov value of poi = 0, with or without alternative
        reference = poialt if poialt is not None else POI(poinull.parameter, 0.0) if bounded else None
        if reference is None:
            return self.pnull(qobs, None, **tails), None
        qalt = np.asarray(self.qalt(poinull, reference, **tails))
        return self.pnull(qobs, qalt, **tails), None if poialt is None else self.palt(qobs, qalt, **tails)


class FrequentistCalculator(_Sampled, OpenFrequentist):
    """Distributions of the test statistic from pseudo-experiments.

    Every toy has Poisson numbers of events and its own auxiliary observations.  Events come from one sample that is
    evaluated once; toys are generated at the parameters that the data prefer under each hypothesis.

    Args:
        input: An `ExtendedNLL` or a `RatioLoss`, or the result of its fit.
        minimizer: Any zfit minimiser, for the global fit.
        ntoysnull: Toys for each value of the null hypothesis.
        ntoysalt: Toys for the alternative hypothesis.
        sampler: hepstats' hook; another function than hepstats' default is refused.
        sample: The same.
        events: Events of the sample for every component and category.
        seed: Same seed, same toys.

    Raises:
        InputError: The loss is neither, its events have weights, or a sampler of one's own.
    """

    def __init__(
        self,
        input: Any,  # noqa: A002 - hepstats' name
        minimizer: Any,
        ntoysnull: int = 100,
        ntoysalt: int = 100,
        sampler: Callable[..., Any] = base_sampler,
        sample: Callable[..., Any] = base_sample,
        *,
        events: int = 50_000,
        seed: int = 0,
    ) -> None:
        if sampler is not base_sampler or sample is not base_sample:
            raise InputError.from_parts(
                expected="the default sampler", got="one of your own", do="use hepstats' own FrequentistCalculator"
            )
        super().__init__(input, minimizer, ntoysnull, ntoysalt)
        self._prepare(events, seed)
        require_no_weights(self.loss)

    def generate_and_fit_toys(self, ntoys: int, poigen: POI, poieval: POIarray) -> None:
        """Generate toys at `poigen` and profile them at `poieval`; called by hepstats when toys are missing."""
        result = ToyResult(poigen, poieval)
        if self.ntoys(poigen, poieval):
            result = self.get_toyresult(poigen, poieval)
        else:
            self.add_toyresult(result)
        poieval = result.poieval
        # the value and the number of toys so far are part of the seed: every hypothesis and every addition is new
        stream = (self._seed, result.ntoys, *np.array([poigen.value], dtype=np.float64).view(np.uint32).tolist())
        pool = self._hypothesis(poigen).pool()
        fits = conditional_fits(pool, poigen.name, poieval.values, toys=ntoys, seed=stream)
        nlls = {p: fits.conditional[:, k] for k, p in enumerate(poieval)}
        result.add_entries(bestfit=fits.best, nll_bestfit=fits.minimum, nlls=nlls)

    def get_toys_null(
        self, poigen: POIarray, poieval: POIarray | None = None, qtilde: bool = False
    ) -> dict[POI, ToyResult]:
        """Toys of the null hypothesis, profiled at their own value only unless `poieval` names other ones.

        hepstats asks for all scanned values on the toys of each, which nothing uses.
        """
        toys: dict[POI, ToyResult] = super().get_toys_null(poigen, None if poieval is poigen else poieval, qtilde)
        return toys

    def null_and_alternative(
        self, poinull: POIarray, poialt: POI | None, **tails: Unpack[Tails]
    ) -> tuple[Array, Array | None]:
        """p-values of the null hypotheses, and of the alternative if there is one; arguments as hepstats' `pvalue`."""
        qobs = self.qobs(poinull, **tails)

        def fractions(toys: dict[POI, Array]) -> Array:
            p = [_fraction(toys[p], q) for p, q in zip(poinull, qobs, strict=True)]
            unreached = [p.value for p, q in zip(poinull, qobs, strict=True) if not np.any(toys[p] >= q)]
            if unreached:
                _log.warning(
                    "no toy of %s = %s reaches the observed value; their number bounds p", poinull.name, unreached
                )
            return np.array(p)

        pnull = fractions(self.qnull(poinull, poialt, **tails))
        return pnull, None if poialt is None else fractions(self.qalt(poinull, poialt, **tails))

    def expected(
        self, poinull: POIarray, poialt: POI, nsigma: Sequence[float], *, cls: bool, **tails: Unpack[Tails]
    ) -> list[Array]:
        """Expected p-values, one array for each of `nsigma`; arguments as hepstats' `expected_pvalue`."""
        null, alternative = self.qnull(poinull, poialt, **tails), self.qalt(poinull, poialt, **tails)
        expected = []
        for n in nsigma:
            # p falls with q: the upper band of p is the lower quantile of q among toys of the alternative
            q = [float(np.quantile(alternative[p], norm.sf(n), method="higher")) for p in poinull]
            clsb = np.array([_fraction(null[p], value) for p, value in zip(poinull, q, strict=True)])
            clb = np.array([_fraction(alternative[p], value) for p, value in zip(poinull, q, strict=True)])
            expected.append(clsb / clb if cls else clsb)
        return expected


def _fraction(toys: Array, observed: float) -> float:
    """Fraction of toys at or above a value; one over their number, which bounds the p-value, if there are none."""
    return max(int(np.count_nonzero(toys >= observed)), 1) / toys.size
