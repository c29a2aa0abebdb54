"""Find a signal that nobody has described: lumps over a learned background, and what can be said of them.

System of arXiv:2506.00119.  The background's density comes from the sidebands; the signal is a Gaussian lump, or a few,
in the coordinates of `hisigma_zfit.density.gaussianised`.  Whatever is quoted of a lump comes from events that did not
choose it: scores and regions are cross-fitted by folds of the events' identity, the e-value bets on later blocks.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import chi2

from hisigma_zfit.density.blob import blob_flow
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.blobs import Blobs, Maximum, Points, maximise
from hisigma_zfit.inference.lump_starts import promising
from hisigma_zfit.inference.lump_yields import fiducial_yield, learned_yield
from hisigma_zfit.inference.search_scene import Scene, fold_of, scene
from hisigma_zfit.learn.streams import Purpose, stream
from hisigma_zfit.model.learned import LearnedPeak
from hisigma_zfit.results.search import EValue, LearnedYield, Lump, Optimum, SearchResult, SignalProperty
from hisigma_zfit.results.show import Shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import zfit

    from hisigma_zfit.arrays import Array, Integers
    from hisigma_zfit.data import Dataset, SignalRegion
    from hisigma_zfit.density.base import ConditionalFlow
    from hisigma_zfit.model.spectrum import Spectrum
    from hisigma_zfit.results.search import FiducialYield

__all__ = ["VERSION", "FoundSignal", "best_lumps", "cross_fit", "e_value", "find_signal"]

_log = logging.getLogger(__name__)

VERSION = 4  # of what is searched for: test statistics of another one are not comparable
KEEP = 10  # starts that are followed to the end
CENTRES, KEEP_PART = 300, 4  # the same for folds and blocks
BLOCKS, FIRST_BET = 8, 2  # blocks of the e-value, and those that only teach
SHUFFLES = 5
MUCH = 0.02  # signal in the window, of which the part beside it bends the density
RESAMPLES = 20  # of the events, for the errors of properties
CONTAINED = 0.8  # share of the learned lump in its fiducial region
_BLOCKS, _BOOTSTRAP, _REGION, _STARTS = range(1, 5)  # streams of a search, after that of its folds


@dataclass(frozen=True)
class FoundSignal(Shown):
    """A search and all that it needs to be looked at further.

    Attributes:
        result: The numbers.
        scene: Events and background.
        blobs: The best lumps, one search.
        scores: Cross-fitted log p_s / p_b of every event of the window, shape (n,).
        folds: Fold of every event, shape (n,).
        parts: The lumps that were learned without each fold.
        centres: Starts that were tried.
    """

    result: SearchResult
    scene: Scene
    blobs: Blobs
    scores: Array
    folds: Integers
    parts: tuple[Blobs, ...]
    centres: int

    def shown(self) -> dict[str, Any]:
        """What a notebook shows: the numbers."""
        return self.result.shown()

    @property
    def t(self) -> float:
        """Test statistic."""
        return self.result.t

    @property
    def signal_yield(self) -> float:
        """Events of the best lumps."""
        return self.result.signal_yield

    @property
    def fiducial(self) -> FiducialYield:
        """Yield in the published regions."""
        return self.result.fiducial

    @property
    def learned(self) -> LearnedYield:
        """Yield of the learned signal."""
        return self.result.learned

    @property
    def e_value(self) -> EValue:
        """Evidence without toys."""
        return self.result.e_value

    @property
    def properties(self) -> dict[str, SignalProperty]:
        """Of the learned signal."""
        return self.result.properties

    @property
    def useful(self) -> tuple[str, ...]:
        """Features in which the best lumps differ from the background; in the others they follow it."""
        return self.result.useful

    def mass_pdf(self, mass: zfit.Space) -> LearnedPeak:
        """The learned signal's mass as a zfit PDF."""
        blobs = self.blobs
        return LearnedPeak(
            mass,
            self.scene.place.mass,
            shares=blobs.shares[0],
            means=blobs.means[0, :, 0],
            widths=np.sqrt(blobs.covariances[0, :, 0, 0]),
        )

    @property
    def flow(self) -> ConditionalFlow:
        """The learned signal's features given the mass; with `mass_pdf` it makes a `FlowProductPDF`."""
        return blob_flow(self.scene.place, self.blobs.shares[0], self.blobs.means[0], self.blobs.covariances[0])

    def __str__(self) -> str:
        return str(self.result)


def best_lumps(
    points: Points, rng: np.random.Generator, *, components: int = 1, centres: int = 400, keep: int = KEEP
) -> Maximum:
    """Maxima of the likelihood from a matched filter's starts, the best first; more components are added greedily.

    Args:
        points: Events.
        rng: Source of randomness of the starts.
        components: K.
        centres: Starts that are tried.
        keep: Starts that are followed to the end.
    """
    begin = promising(points, number=centres, keep=keep, rng=rng)
    found = _sorted(maximise(points, begin))
    for _ in range(1, components):
        best = found.blobs.take(np.zeros(len(begin), dtype=np.intp))
        found = _sorted(maximise(points, Blobs.joined([best, begin], axis=1)))
    return found


def _sorted(found: Maximum) -> Maximum:
    return found.take(np.argsort(-found.objective))


def find_signal(
    data: Dataset,
    background: ConditionalFlow,
    shape: zfit.pdf.BasePDF | Spectrum,
    *,
    region: SignalRegion,
    components: int = 1,
    folds: int = 5,
    centres: int = 400,
    properties: Mapping[str, Callable[[Mapping[str, Array]], Array]] | None = None,
    seed: int,
) -> FoundSignal:
    """Search one window for lumps over a learned background.

    A lump is one in the mass and in those features that tell it from the background, chosen by the likelihood with a
    price for each; in the others it follows the background, so that useless features cost next to nothing.

    Args:
        data: Events; those of the window are searched.  No event weights.
        background: p_b(x | m), trained on the sidebands with `train_flow`; its bootstraps give the error that comes
            from it.
        shape: Mass shape of the background, fitted to the sidebands, for example by `fit_spectrum`; only its slope in
            the window counts.
        region: The window.
        components: Lumps; more than one describe a signal better, but find more in nothing.
        folds: Of the cross-fitted scores and regions.
        centres: Starts of the matched filter.
        properties: Further observables of the learned signal: functions of the columns by name.
        seed: Same seed, same result.

    Returns:
        What was found, which may be noise: `t` has no meaning by itself.

    Raises:
        InputError: Weighted or duplicate events, too few of them, events outside of the background's domain or on an
            edge of a feature, or an option out of its range.

    Example:
        >>> shape = hz.ExpQuadratic(hz.examples.mass(), p1=2.0, p2=0.0)
        >>> options = {"region": hz.examples.REGION, "seed": 1}
        >>> found = hz.find_signal(hz.examples.events(), hz.examples.flow("background"), shape, **options)
        >>> found.properties["m"].median  # the signal is at 125
        124.7
    """
    here = scene(data, background, shape, region=region, components=components, folds=folds)
    found = best_lumps(here.points, stream(seed, Purpose.SEARCH, _STARTS), components=components, centres=centres)
    best = found.blobs.take(np.array([0]))
    if best.total[0] > MUCH:
        _log.warning(
            "%.1f %% of the window's events are signal: what of it lies beside the window was learned as background, "
            "and the yield is too small; leave its masses out of the training",
            100.0 * best.total[0],
        )
    number = fold_of(here.identity, seed, folds)
    streams = (stream(seed, Purpose.SEARCH, _STARTS, 1 + fold) for fold in range(folds))
    parts, scores = cross_fit(here.points, number, streams, components=components)
    result = SearchResult(
        region=(region.lower, region.upper),
        features=background.features,
        given=background.given,
        n_events=len(here),
        t=float(found.statistic[0]),
        signal_yield=float(best.total[0]) * len(here),
        lumps=lumps_of(best),
        useful=tuple(background.features[j] for j in np.flatnonzero(best.mask[0, :, 1:].any(axis=0))),
        optima=_optima(here, found),
        e_value=e_value(here.points, here.bootstraps, components=components, seed=seed),
        fiducial=fiducial_yield(
            here,
            parts,
            number,
            radius_squared=float(chi2.ppf(CONTAINED, here.points.y.shape[1])),
            contained=CONTAINED,
            rng=stream(seed, Purpose.SEARCH, _REGION),
        ),
        learned=learned_yield(scores),
        properties=_properties(here, best, dict(properties or {}), seed),
        seed=seed,
        likelihood_ratio=float(found.gain[0]),
    )
    return FoundSignal(result, here, best, scores, number, tuple(parts), centres)


def lumps_of(blobs: Blobs) -> tuple[Lump, ...]:
    """Components of the first search, as results."""
    return tuple(
        Lump(float(share), mean, covariance)
        for share, mean, covariance in zip(blobs.shares[0], blobs.means[0], blobs.covariances[0], strict=True)
    )


def cross_fit(
    points: Points, number: Integers, streams: Iterable[np.random.Generator], *, components: int = 1
) -> tuple[list[Blobs], Array]:
    """Lumps learned without each fold, and the log ratio of every event by those of its fold.

    Args:
        points: Events with the background's density.
        number: Fold of every event, shape (n,).
        streams: Source of randomness of the starts of each fold.
        components: Lumps.

    Returns:
        The lumps of each fold, and log p_s / p_b, shape (n,).
    """
    parts, scores = [], np.empty(len(points))
    for fold, rng in enumerate(streams):
        own = number == fold
        learned = best_lumps(
            points.select(~own), rng, components=components, centres=CENTRES, keep=KEEP_PART
        ).blobs.take(np.array([0]))
        parts.append(learned)
        scores[own] = learned.log_ratio(points.select(own))[:, 0]
    return parts, scores


def _optima(here: Scene, found: Maximum) -> tuple[Optimum, ...]:
    """The best that are more than two standard deviations of the better one apart."""
    chosen: list[int] = []
    for k in range(len(found.gain)):
        step = found.blobs.means[chosen, 0] - found.blobs.means[k, 0]
        distance = np.einsum("ri,rij,rj->r", step, np.linalg.inv(found.blobs.covariances[chosen, 0]), step)
        if np.all(distance > 4.0):
            chosen.append(k)
    return tuple(
        Optimum(
            float(found.statistic[k]),
            float(found.blobs.total[k]) * len(here),
            dict(zip(here.names, here.observables_at(found.blobs.means[k, 0]), strict=True)),
        )
        for k in chosen[:3]
    )


def e_value(
    points: Points, bootstraps: Sequence[Array] = (), *, components: int = 1, shuffles: int = SHUFFLES, seed: int
) -> EValue:
    """Prequential likelihood ratio: bet on each block of events with the lumps and shares that earlier blocks taught.

    Whatever is bet, a ratio of normalised densities has the expectation one under the background, so that the product
    over blocks is an e-value, the mean over shuffles too, and its inverse bounds the p-value (Ville's inequality).

    Args:
        points: Events with the background's density.
        bootstraps: log p_b of the events by other densities of the background, shape (n,) each.
        components: Lumps that are learned.
        shuffles: Orders of the events, over which e is averaged; each takes as long.
        seed: Of shuffles and starts.
    """
    totals = np.empty((shuffles, 1 + len(bootstraps)))
    for shuffle in range(shuffles):
        order = stream(seed, Purpose.SEARCH, _BLOCKS, shuffle).permutation(len(points))
        blocks = np.array_split(order, BLOCKS)
        total = np.zeros(totals.shape[1])
        for b in range(FIRST_BET, BLOCKS):
            rng = stream(seed, Purpose.SEARCH, _STARTS, 0, shuffle, b)
            past = points.select(np.concatenate(blocks[:b]))
            learned = best_lumps(past, rng, components=components, centres=CENTRES, keep=KEEP_PART).blobs
            learned = learned.take(np.array([0]))
            log_signal = learned.log_densities(points.select(blocks[b]))[:, 0]
            share = learned.shares[0]
            for k, log_background in enumerate((points.log_background, *bootstraps)):
                ratio = np.exp(np.minimum(log_signal - log_background[blocks[b], None], 700.0)) @ share
                total[k] += np.log1p(ratio - share.sum()).sum()
        totals[shuffle] = total
    logs = np.logaddexp.reduce(totals, axis=0) - np.log(shuffles)
    smallest = float(logs.min())
    return EValue(float(logs[0]), smallest, float(np.exp(min(0.0, -smallest))))


def _properties(
    here: Scene, best: Blobs, extra: Mapping[str, Callable[[Mapping[str, Array]], Array]], seed: int
) -> dict[str, SignalProperty]:
    """Quantiles of observables weighted by the probability to be signal, with errors by resampled events."""
    rng = stream(seed, Purpose.SEARCH, _BOOTSTRAP)
    counts = rng.poisson(1.0, size=(len(here), RESAMPLES)).astype(np.float64)
    start = best.take(np.zeros(RESAMPLES, dtype=np.intp))
    again = maximise(here.points, start, weights=counts).blobs
    probabilities = np.column_stack([_probability(here, best), _probability(here, again) * counts])
    columns: dict[str, Array] = dict(zip(here.names, here.observables.T, strict=True))
    columns |= {name: np.asarray(function(columns), dtype=np.float64) for name, function in extra.items()}
    for name in extra:
        if bad := int(np.sum(~np.isfinite(columns[name]))):
            raise InputError.from_parts(
                expected=f"a property {name} of every event", got=f"{bad} that are not finite", do="change its formula"
            )
    found = {}
    for name, values in columns.items():
        order = np.argsort(values)
        cumulative = np.cumsum(probabilities[order], axis=0)
        cumulative /= np.maximum(cumulative[-1], 1e-300)
        medians = [_quantile(values[order], cumulative[:, k], 0.5) for k in range(1 + RESAMPLES)]
        low, high = (_quantile(values[order], cumulative[:, 0], level) for level in (0.16, 0.84))
        found[name] = SignalProperty(medians[0], float(np.std(medians[1:], ddof=1)), low, high)
    return found


def _quantile(ordered: Array, cumulative: Array, level: float) -> float:
    return float(ordered[min(int(np.searchsorted(cumulative, level)), len(ordered) - 1)])


def _probability(here: Scene, blobs: Blobs) -> Array:
    """Of every event to be signal in each search, shape (n, R)."""
    logs: Any = blobs.log_densities(here.points) - here.points.log_background[:, None, None]
    ratio = (np.exp(np.minimum(logs, 80.0)) * blobs.shares).sum(axis=2)
    return np.asarray(ratio / (1.0 - blobs.total + ratio))
