"""Many trained members, one answer: the envelope of paper (arXiv:2506.06438) section 3.1 and its alternatives.

What to use when:

- ``"nuisance"``: the default.  The value of densities that were trained on the events as they are; the spread of
  redrawn trainings is a Gaussian nuisance of the signal, see `hisigma_zfit.inference.training_error`.
- ``"envelope"``: the published, conservative choice; no member is preferred.  Its value, the mean of single bootstraps,
  is further from the truth, and its interval wider by a half at 31,000 sideband events (docs/coverage.md).
- ``"mixture"``: the average of all members as one density; it has the statistical error only.
- ``"discrete"``: discrete profiling, which lets the data choose the member.  With 40,000 events two members differ by
  many units of log L, so that one of them usually decides alone; the paper gives this as the reason for the envelope.
  A penalty for each member, in units of 2 log L, can stand for its number of parameters.
- ``"weights"``: one density whose weights of the members are nuisances, held by the likelihood of the sidebands; see
  `hisigma_zfit.inference.weights`, whose `weights_profiler` makes the profile.

All of them are sets of profiles with offsets: t(s) = min_d [t_d(s) + offset_d], with t_d each member's own profiled
2 dNLL.  The offsets are zero for the envelope, which is eq. 3.1, and 2 (-log L_d + log L_best) at the minima for
discrete profiling.  An N-sigma interval is the union of the members' intervals at N^2 - offset_d, which for the
envelope is eq. 3.2.

Events with weights have their t_d and the offsets of discrete profiling divided by the inflation of
`hisigma_zfit.fitting.profiler`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.limits import cls_limit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.hypotests import as_discovery, background_t
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.results import Discovery, Interval, LikelihoodScan, UpperLimit

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.model.compose import SignalPlusBackground
    from hisigma_zfit.toys.source import Sample

__all__ = ["Combination", "Method", "absolute_minima", "bootstrap_profilers", "combination"]

Method = Literal["nuisance", "envelope", "mixture", "discrete", "weights"]


@dataclass(frozen=True)
class Combination:
    """Profiles of D members with offsets; see the module's text.

    Attributes:
        method: Name of the combination.
        profilers: One for each member, on the same data.
        offsets: What is added to each member's t, shape (D,), smallest zero.
        groups: Which trained member each profile is of; one each by default.  Those of one member are of several shapes
            of the background, see `hisigma_zfit.inference.shape_envelope`.
        shapes: Which shape it is of.
    """

    method: str
    profilers: tuple[Profiler, ...]
    offsets: Array
    groups: tuple[int, ...] = ()
    shapes: tuple[int, ...] = ()

    def _members(self) -> list[tuple[tuple[Profiler, ...], Array]]:
        """Profiles and offsets of each trained member."""
        groups = np.array(self.groups or range(len(self.profilers)))
        return [
            (tuple(self.profilers[k] for k in np.flatnonzero(groups == g)), self.offsets[groups == g])
            for g in np.unique(groups)
        ]

    def shape_at(self, value: float) -> int:
        """Which shape has the least t at one value."""
        t = [p.t(value) + o for p, o in zip(self.profilers, self.offsets, strict=True)]
        return self.shapes[int(np.argmin(t))] if self.shapes else 0

    @property
    def poi(self) -> str:
        """Name of the parameter of interest."""
        return self.profilers[0].name

    @property
    def weighted(self) -> bool:
        """Whether the fluctuation of event weights is part of the answers; see `fitting.profiler`."""
        return any(p.weighted for p in self.profilers)

    @property
    def best(self) -> float:
        """Best value: the mean of the members for the envelope (paper), else that of the best member."""
        if self.method == "envelope":
            return float(np.mean([own[int(np.argmin(offsets))].best for own, offsets in self._members()]))
        return self.profilers[int(np.argmin(self.offsets))].best

    def t(self, value: float) -> float:
        """Combined test statistic at one value."""
        return float(min(p.t(value) + o for p, o in zip(self.profilers, self.offsets, strict=True)))

    def interval(self, *, cl: float) -> Interval:
        """Two-sided interval where the combined t stays below the chi-square quantile; eq. 3.2 for the envelope."""
        level = float(chi2.ppf(cl, 1))
        edges = [
            p.interval(level - offset) for p, offset in zip(self.profilers, self.offsets, strict=True) if offset < level
        ]
        return Interval(
            poi=self.poi,
            value=self.best,
            lower=min(lower for lower, _ in edges),
            upper=max(upper for _, upper in edges),
            cl=cl,
            method=self.method,
            weights_corrected=self.weighted,
        )

    def discovery(self) -> Discovery:
        """Significance of the combined t at zero; no excess unless every member that counts finds one.

        Raises:
            FitError: A fit did not converge, or the likelihood is zero without signal.
        """
        q0 = self.t(0.0)
        for own, offsets in self._members():
            first = int(np.argmin(offsets))
            if own[first].best <= 0 and offsets[first] <= q0:
                q0 = 0.0
        return as_discovery(self.poi, q0, weighted=self.weighted)

    def upper_limit(self, *, cl: float, seed: int = 0, sample: Sample | None = None) -> UpperLimit:
        """CLs limit: the largest of the members' for the envelope, else from the combined t.

        The members are trained on much the same events, so one background-only Asimov set serves all of them: that of
        the best member, or for the envelope, which prefers none, of the first.  Where there is none (`background_t`
        says why) the limit takes Wald's form, and its `method` tells.

        Args:
            cl: Confidence level.
            seed: Seed of the Asimov set.
            sample: Its events, if some were drawn before from the model of the best member.
        """
        asimov = background_t(self.profilers[int(np.argmin(self.offsets))], seed=seed, sample=sample)
        if self.method == "envelope":
            limit = max(cls_limit(own, offsets, cl=cl, asimov=asimov) for own, offsets in self._members())
        else:
            limit = cls_limit(self.profilers, self.offsets, cl=cl, asimov=asimov)
        form = "CLs" if asimov is not None else "CLs, Wald"
        method = f"{form}, {self.method}"
        return UpperLimit(poi=self.poi, limit=limit, cl=cl, method=method, weights_corrected=self.weighted)

    def scan(
        self, values: npt.ArrayLike, *, statistical: Array | None = None, reference: Array | None = None
    ) -> LikelihoodScan:
        """Members and combination at scan points of shape (n,).

        Args:
            values: The points.
            statistical: t of the nominal model with all nuisances held, to be shown beside.
            reference: t of another fit, to be shown beside.
        """
        values = np.asarray(values, dtype=np.float64)
        members = np.stack([p.scan(values) for p in self.profilers])
        return LikelihoodScan(
            poi=self.poi,
            values=values,
            combined=(members + self.offsets[:, None]).min(axis=0),
            members=members,
            statistical=statistical,
            reference=reference,
            method=self.method,
            weights_corrected=self.weighted,
        )


def absolute_minima(members: Sequence[Profiler]) -> Array:
    """-2 log L of several models of the same data at their best fits, shape (D,); only differences mean anything."""
    minima = np.array([2.0 * float(p.minimum.value + p.loss.data_constant()) for p in members])
    # weighted events tell members apart as little as they tell signals; one factor, because these numbers are large
    minima /= float(np.mean([p.inflation for p in members]))
    return minima


def combination(
    method: Method,
    nominal: Profiler,
    members: Sequence[Profiler] = (),
    *,
    weighted: Profiler | None = None,
    penalties: npt.ArrayLike | None = None,
) -> Combination:
    """Combine the members of one measurement.

    Args:
        method: See the module's text.
        nominal: Profile of the mixture of all members, for ``"nuisance"`` of the model with the error of the training.
        members: Profiles of the bootstraps.
        weighted: Profile with fitted weights, for ``"weights"`` only.
        penalties: What is added to -2 log L of each member, shape (D,), for ``"discrete"`` only; zero by default.

    Raises:
        InputError: The method is unknown, lacks the profiles that it needs, or got penalties that it does not take.
    """
    if method not in get_args(Method):
        raise InputError.from_parts(
            expected=f"one of {', '.join(get_args(Method))}", got=repr(method), do="choose a combination"
        )
    if penalties is not None and (method != "discrete" or np.shape(penalties) != (len(members),)):
        raise InputError.from_parts(
            expected="one penalty for each member in discrete profiling",
            got=f"shape {np.shape(penalties)} for {len(members)} members and {method}",
            do="correct or leave them out",
        )
    if method in {"nuisance", "mixture"}:
        return Combination(method, (nominal,), np.zeros(1))
    if method == "weights":
        if weighted is None:
            raise InputError.from_parts(
                expected="a profile with fitted weights", got="none", do="pass weighted=weights_profiler(...)"
            )
        return Combination(method, (weighted,), np.zeros(1))
    if len(members) < 2:
        raise InputError.from_parts(
            expected=f"two or more bootstraps for {method}",
            got=str(len(members)),
            do="train with bootstraps=5, or combine by mixture",
        )
    if method == "envelope":
        return Combination(method, tuple(members), np.zeros(len(members)))
    minima = absolute_minima(members)
    minima += 0.0 if penalties is None else np.asarray(penalties, dtype=np.float64)
    return Combination(method, tuple(members), minima - minima.min())


def bootstrap_profilers(
    model: SignalPlusBackground | Sequence[SignalPlusBackground],
    data: Any,
    *,
    constraints: Any = None,
    poi: str | None = None,
) -> tuple[Profiler, ...]:
    """Fit the data with every combination of the components' bootstraps, d = 1 ... D_b x D_s.

    All members share the model's parameters; the fits do not depend on each other, because every one starts from the
    parameters' current values and leaves them alone.

    Args:
        model: The model with flows that hold their bootstraps, or those of several categories: the d-th bootstraps of
            all of them are then one resample of the whole data set.
        data: A `Dataset` or zfit Data, or one for each category.
        constraints: zfit constraints.
        poi: Name of the parameter of interest; the model's by default.

    Raises:
        InputError: The categories have different numbers of bootstraps.
    """
    models, datasets = (list(model), list(data)) if isinstance(model, Sequence) else ([model], [data])
    resamples = [list(one.bootstraps()) for one in models]
    if len({len(members) for members in resamples}) > 1:
        raise InputError.from_parts(
            expected="as many bootstraps in each category",
            got=", ".join(str(len(members)) for members in resamples),
            do="train all with the same bootstraps=",
        )
    return tuple(
        Profiler(
            ExtendedNLL(list(members), datasets, constraints=constraints),
            poi or models[0].poi.name,
        )
        for members in zip(*resamples, strict=True)
    )
