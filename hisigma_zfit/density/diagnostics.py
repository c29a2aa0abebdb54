"""Is a learned density good enough?  Closure of p(x'|m) against events, and what to mend when it fails.

What to use when:

* `closure`: a trained flow and events that it should describe (sidebands, a control sample, simulation).
* `held_out_closure`: a trained flow and the data of its training, of which it takes those that did not train.
* `interpolation_closure`: before the signal region is opened.  A mass window inside the sidebands plays the signal
  region: it is hidden from the training and then compared.

Three questions are asked, each blind to something that another one sees:

==============  ==================================================  ==========================================
question        how                                                 sees
==============  ==================================================  ==========================================
marginal        histogram of flow samples at the data's masses      the sampler; each feature alone
conditional     integral transform of p(x_j | other features, m),   the density; edges that move with another
                flat in slices of every other feature and of m      feature, and with which one
classifier      gradient-boosted trees, data against flow samples   anything, but names no cause
==============  ==================================================  ==========================================

With many events any model is rejected, so a feature is *flagged* only when its misfit is significant and also larger
than a tolerance in nats: a misfit of T nats shifts the log-likelihood by T per event.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.resampling import held_out_events
from hisigma_zfit.learn.streams import Purpose, seed_for, stream
from hisigma_zfit.results.base import JsonArray, Result
from hisigma_zfit.statistics.classified import Classified, classify, conditional_pit, conditional_test, marginal_test

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import zfit

    from hisigma_zfit.data import Dataset, SignalRegion
    from hisigma_zfit.density.flows import ConditionalFlow

__all__ = ["MIN_EVENTS", "Closure", "FeatureClosure", "closure", "held_out_closure", "interpolation_closure"]


_COPIES = 2  # flow samples by event: more of them would cost more than the noise that they remove
MIN_EVENTS = 500
_MEMBER_EVENTS = 20_000  # events of the conditional test times members, half a minute for four features
_SIGNIFICANCE = 1e-5  # chance that a perfect model has any feature flagged, before the tolerance


@dataclass(frozen=True)
class FeatureClosure(Result):
    """How well one feature is modelled.

    Attributes:
        feature: Its name.
        chi2: Of the data's histogram against flow samples at the data's masses.
        ndf: Degrees of freedom of `chi2`.
        p_value: Of `chi2`.
        misfit: Marginal misfit in nats per event, (chi2 - ndf) / 2n; near 0 for a perfect model.
        conditional_p_value: That p(x_j | other features, m) is right, corrected for the number of slicings.
        conditional_misfit: The largest conditional misfit in nats per event over the slicings.
        partner: Slicing variable with the largest conditional misfit: the feature that this one moves with.
        importance: Fall of the classifier's AUC when this feature is shuffled; None without classifier.
        edges: Bin edges of the histogram, shape (b + 1,), in the feature's unit.
        data: Data events (sum of weights) by bin, shape (b,).
        expected: Events that the flow expects, scaled to the data, shape (b,).
        pit_edges: Bin edges of the conditional integral transform in [0, 1], shape (k + 1,); finer at both ends.
        pit: Events in its bins, shape (k,); proportional to the widths for a perfect model.
    """

    schema: ClassVar[str] = "hisigma-zfit/feature-closure/1"
    feature: str
    chi2: float
    ndf: int
    p_value: float
    misfit: float
    conditional_p_value: float
    conditional_misfit: float
    partner: str
    importance: float | None
    edges: JsonArray
    data: JsonArray
    expected: JsonArray
    pit_edges: JsonArray
    pit: JsonArray


@dataclass(frozen=True)
class Closure(Result):
    """The verdict on a density, feature by feature.

    Attributes:
        selection: Words that say which events were compared.
        n_events: How many of them were used.
        n_outside: Events outside the flow's domain; they have no density and are left out.
        features: One entry by feature, in the flow's order.
        flagged: Names of the badly modelled features, worst first.
        tolerance: Misfit in nats per event below which a feature is never flagged.
        auc: Area under the curve of the classifier (0.5: it cannot tell), or None without classifier.
        auc_error: Its standard error from cross-validation, or None.
        kl: Lower bound of KL(data || flow) in nats from the classifier (Donsker-Varadhan), or None.
        kl_error: Its standard error, or None.
        seed: Seed of the comparison.
    """

    schema: ClassVar[str] = "hisigma-zfit/closure/1"
    selection: str
    n_events: int
    n_outside: int
    features: tuple[FeatureClosure, ...]
    flagged: tuple[str, ...]
    tolerance: float
    auc: float | None
    auc_error: float | None
    kl: float | None
    kl_error: float | None
    seed: int

    def __getitem__(self, feature: str) -> FeatureClosure:
        return next(f for f in self.features if f.feature == feature)

    @property
    def passed(self) -> bool:
        """No feature is flagged and the classifier sees no more than the tolerance (at three sigma)."""
        seen = self.kl is not None and self.kl_error is not None and self.kl - 3.0 * self.kl_error > self.tolerance
        return not self.flagged and not seen

    def __str__(self) -> str:
        head = f"closure of {self.n_events} events ({self.selection}): {'passed' if self.passed else 'FAILED'}"
        if self.auc is not None:
            head += f", AUC {self.auc:.4f} +- {self.auc_error:.4f}, KL > {self.kl:.4f} +- {self.kl_error:.4f} nats"
        rows = [
            f"  {f.feature:<20} chi2/ndf {f.chi2:.1f}/{f.ndf}, misfit {f.misfit:.4f} nats; conditional "
            f"{f.conditional_misfit:.4f} nats with {f.partner}{'  <- flagged' if f.feature in self.flagged else ''}"
            for f in self.features
        ]
        return "\n".join([head, *rows])


def closure(
    flow: ConditionalFlow,
    data: Dataset,
    *,
    region: SignalRegion | None = None,
    seed: int,
    selection: str | None = None,
    tolerance: float = 0.01,
    max_events: int = 40_000,
    pit_events: int = 4_000,
    classifier: bool = True,
) -> Closure:
    """Compare a learned density with events.

    The events should not be those of the training: on its own events a flow looks better than it is.  The flow should
    be the one that is used: a mixture is better than any of its members.

    Args:
        flow: Trained density p(x'|m).
        data: Events with the flow's mass and features; weights are honoured and must not be negative.
        region: Compare only events whose mass lies in this region; all events otherwise.
        seed: Seed of subsampling, flow samples, transforms and classifier folds.
        selection: Words for the report; made from `region` when not given.
        tolerance: Misfit in nats per event that is acceptable.
        max_events: Events used at most, drawn at random.
        pit_events: Events used at most for the conditional test, which needs about 32 densities by event and feature.
        classifier: Train the classifier.

    Raises:
        InputError: Fewer than 500 usable events, a column is missing, or a weight is negative.
    """
    chosen = data if region is None else data.select(region.contains(data[flow.given]), reason="outside the region")
    x, m = chosen.array(flow.features), chosen[flow.given]
    weights = chosen.require_nonnegative_weights().weights
    w = np.ones(len(m)) if weights is None else weights
    inside = flow.inside(x, m)
    usable = inside & (w > 0)
    n_outside = int(np.sum(~inside))
    rows = stream(seed, Purpose.SUBSAMPLE).permutation(np.flatnonzero(usable))[:max_events]
    if len(rows) < MIN_EVENTS:
        raise InputError.from_parts(
            expected=f"at least {MIN_EVENTS} events in the flow's domain",
            got=str(len(rows)),
            do="widen the region or take another sample",
        )
    x, m, w = x[rows], m[rows], w[rows]
    masses = np.tile(m, _COPIES)
    y = flow.sample(masses, seed=seed_for(seed, Purpose.COMPARISON))

    few = slice(0, pit_events)
    names = (*flow.features, flow.given)
    pit_rng = stream(seed, Purpose.TRANSFORM)
    found = []
    for j, name in enumerate(flow.features):
        marginal = marginal_test(x[:, j], w, y[:, j], np.tile(w, _COPIES))
        u = conditional_pit(
            flow.log_prob_array, x[few], m[few], j, proposal=y[:, j], rng=pit_rng, atoms=flow.atoms.get(name, ())
        )
        slices = np.delete(np.column_stack([x, m])[few], j, axis=1)
        conditional = conditional_test(u, w[few], slices, [other for other in names if other != name])
        found.append(FeatureClosure(feature=name, **marginal._asdict(), **conditional._asdict(), importance=None))
    seen: Classified | None = None
    if classifier:
        seen = classify(x, y[: len(x)], m, w, seed=seed_for(seed, Purpose.CLASSIFIER))
        found = [replace(f, importance=float(v)) for f, v in zip(found, seen.importance, strict=True)]
    return Closure(
        selection=selection if selection is not None else f"mass in {region}" if region is not None else "all masses",
        n_events=len(x),
        n_outside=n_outside,
        features=tuple(found),
        flagged=_flag(found, tolerance),
        tolerance=tolerance,
        auc=None if seen is None else seen.auc,
        auc_error=None if seen is None else seen.auc_error,
        kl=None if seen is None else seen.kl,
        kl_error=None if seen is None else seen.kl_error,
        seed=seed,
    )


def held_out_closure(
    flow: ConditionalFlow, data: Dataset, *, training_seed: int, seed: int, **options: Any
) -> Closure | None:
    """Compare a learned density with the events of its data that did not train it; see `held_out_events`.

    The conditional test takes fewer of them the more members the density has, but 500 at least: it asks every member
    for about 32 densities by event and feature.

    Args:
        flow: The density as it is used: what `train_flow` returned, with all of its bootstraps and members.
        data: The data that were given to `train_flow`.
        training_seed: The seed that was given to it.
        seed: Seed of the comparison.
        **options: Further options of `closure`.

    Returns:
        The verdict, or None where fewer than 500 events were held out: they would not tell a misfit from chance.
    """
    held_out = held_out_events(data, seed=training_seed)
    if len(held_out) < MIN_EVENTS:
        return None
    pit_events = max(_MEMBER_EVENTS // len(flow.members), MIN_EVENTS)
    return closure(flow, held_out, seed=seed, **{"selection": "held-out events", "pit_events": pit_events, **options})


def interpolation_closure(
    data: Dataset,
    features: zfit.Space | Sequence[str],
    *,
    given: zfit.Space | str,
    window: SignalRegion,
    region: SignalRegion | None = None,
    seed: int,
    training: Mapping[str, Any] | None = None,
    **options: Any,
) -> Closure:
    """Rehearse the interpolation: hide a mass window inside the sidebands, train without it, compare inside it.

    Args:
        data: Events with the mass and the features.
        features: Space or names of the features, as for `train_flow`.
        given: Space or name of the mass.
        window: The hidden window.  As wide as the signal region it is a fair rehearsal; it should have trained
            masses on both sides.
        region: Signal region, never used: neither to train nor to compare.  Default: what `data.sidebands` cut out.
        seed: Seed of training and comparison.
        training: Further options of `train_flow`, for example ``{"flow": maf(), "members": 5}``.
        **options: Further options of `closure`.

    Raises:
        InputError: The window overlaps the signal region, or too few events are left on either side of it or in it.
    """
    from hisigma_zfit.density.training import train_flow

    mass = given if isinstance(given, str) else given.obs[0]
    hidden = region if region is not None else data.region
    if hidden is not None:
        if window.lower < hidden.upper and hidden.lower < window.upper:
            raise InputError.from_parts(
                expected=f"a window beside the signal region {hidden}", got=str(window), do="move it into a sideband"
            )
        data = data.select(~hidden.contains(data[mass]), reason="signal region")
    m = data[mass]
    sides = {"below": int(np.sum(m < window.lower)), "above": int(np.sum(m >= window.upper))}
    if min(sides.values()) < MIN_EVENTS:
        raise InputError.from_parts(
            expected=f"at least {MIN_EVENTS} events on each side of the window {window}",
            got=", ".join(f"{n} {side}" for side, n in sides.items()),
            do="move or narrow it",
        )
    outside = data.select(~window.contains(m), reason="interpolation window")
    flow = train_flow(outside, features, given=given, seed=seed, **(training or {}))
    words = f"{mass} in {window}, hidden in training"
    return closure(flow, data, region=window, seed=seed, **{"selection": words, **options})


def _flag(found: Sequence[FeatureClosure], tolerance: float) -> tuple[str, ...]:
    """Names of the features whose misfit is both significant and large, worst first."""
    threshold = _SIGNIFICANCE / (2 * len(found))
    severity = {
        f.feature: max(
            f.misfit if f.p_value < threshold else 0.0,
            f.conditional_misfit if f.conditional_p_value < threshold else 0.0,
        )
        for f in found
    }
    bad = [name for name, misfit in severity.items() if misfit > tolerance]
    return tuple(sorted(bad, key=lambda name: -severity[name]))
