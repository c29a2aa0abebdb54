"""Shares of the processes in the reference, event by event, from classifiers that have not seen the event.

A classifier of all processes with balanced classes has q_p(x); with N_p expected events of each,

    g_p(x) = q_p(x) N_p / sum_q q_q(x) N_q                                                                     (eq. 2)

is the share of process p in the expected events at x, which `calibration` then makes right on average.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, get_args

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, hashed, hashed_uniform, seed_for
from hisigma_zfit.ratio.network import Network, Networks, train_networks
from hisigma_zfit.ratio.trees import MOST_LEAVES, Trees, bin_edges, in_bins
from hisigma_zfit.workers import finished

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Float32, Integers, Mask
    from hisigma_zfit.ratio.rows import ProcessRows

__all__ = ["Boosting", "Posterior", "data_folds", "event_folds", "train_posterior"]

Kind = Literal["boosting", "network"]

_NETWORK = Network()

LEAST_ROWS = 100  # of a process in a training: fewer say nothing


@dataclass(frozen=True)
class Boosting:
    """How trees are grown; the defaults were chosen on the simulation of H to tau tau of the worked example.

    Attributes:
        rounds: Trees of each process; all of them are grown, whatever a held-out loss would say.
        learning_rate: Share of each tree's answer that is taken.
        leaves: Most leaves of a tree.
        rows: Fewest rows of a leaf.
        l2: Pull of the leaves towards zero.
        bins: Of each feature, 255 at most.

    Raises:
        InputError: A number is outside of its range.
    """

    rounds: int = 150
    learning_rate: float = 0.12
    leaves: int = 24
    rows: int = 80
    l2: float = 1.0
    bins: int = 127

    def __post_init__(self) -> None:
        right = (
            self.rounds >= 1
            and self.learning_rate > 0.0
            and 2 <= self.leaves <= MOST_LEAVES
            and self.rows >= 1
            and self.l2 >= 0.0
            and 2 <= self.bins <= 255
        )
        if not right:
            raise InputError.from_parts(
                expected=f"1 round or more, a positive rate, 2 to {MOST_LEAVES} leaves, 2 to 255 bins",
                got=str(self),
                do="correct the options of the trees",
            )


class _Member(Protocol):
    """A trained classifier."""

    def log_probabilities(self, x: Float32) -> Array:
        """Of the processes, shape (n, P)."""

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything, as arrays of numbers."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """Classifiers by fold.

    Attributes:
        processes: Names, P of them.
        sizes: Expected events N of each, shape (P,).
        members: The classifier of fold k, which has seen no row of fold k.
        kind: What they are.
    """

    processes: tuple[str, ...]
    sizes: Array
    members: tuple[_Member, ...] = field(repr=False)
    kind: Kind = "boosting"

    def scores(self, x: Float32, fold: Integers) -> Array:
        """Shares g of the processes before calibration; rows sum to one, shape (n, P).

        Args:
            x: Features, shape (n, d).
            fold: Whose classifier scores each event, shape (n,): of simulated events the fold that they are in, of data
                the one that `data_folds` gives.  Never average over folds: a mean of classifiers is less noisy than
                each, and rates and calibrations, which are made with single ones, are then wrong for it.

        Raises:
            InputError: A feature is not finite, or there is no such fold.
        """
        _check_finite(x)
        if len(fold) and not 0 <= fold.min() <= fold.max() < len(self.members):
            raise InputError.from_parts(
                expected=f"folds from 0 to {len(self.members) - 1}",
                got=f"{fold.min()} to {fold.max()}",
                do="give every event a fold of this posterior",
            )
        log_g = np.empty((len(x), len(self.processes)))
        for k, member in enumerate(self.members):
            own = np.flatnonzero(fold == k)
            log_g[own] = member.log_probabilities(x[own])
        log_g += np.log(self.sizes)
        log_g -= log_g.max(axis=1, keepdims=True)
        g = np.exp(log_g)
        return np.asarray(g / g.sum(axis=1, keepdims=True))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything, as arrays of numbers and words; see `from_arrays`."""
        own = {"processes": np.array(self.processes), "sizes": self.sizes, "kind": np.array(self.kind)}
        parts = {f"{k}.{name}": a for k, member in enumerate(self.members) for name, a in member.arrays().items()}
        return {**own, **parts}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The inverse of `arrays`."""
        parts: dict[int, dict[str, npt.NDArray[Any]]] = {}
        for key, values in arrays.items():
            k, dot, name = key.partition(".")
            if dot:
                parts.setdefault(int(k), {})[name] = values
        kind: Kind = "network" if str(arrays["kind"]) == "network" else "boosting"
        load = Networks.from_arrays if kind == "network" else Trees.from_arrays
        members = tuple(load(parts[k]) for k in sorted(parts))
        return cls(tuple(map(str, arrays["processes"])), np.asarray(arrays["sizes"]), members, kind)


def train_posterior(
    samples: Sequence[ProcessRows],
    *,
    kind: Kind = "boosting",
    folds: int = 2,
    seed: int,
    processes: int = 1,
    scheduler: Any = None,
    boosting: Boosting = Boosting(),
    network: Network = _NETWORK,
) -> Posterior:
    """Train a classifier of all processes for every fold, without the rows of the fold.

    Classes are balanced: the loss is sum_p [sum_{i in p} w_i (-ln q_p(x_i))] / sum_{i in p} w_i.

    Args:
        samples: Of the processes.  Rows of weight zero are not trained with; the order of rows does not matter.
        kind: ``"boosting"``: gradient boosting of scikit-learn, stored as plain arrays; ``"network"``: small nets,
            which are smooth.
        folds: Number of folds K; ``fold`` of the samples counts from 0 to K - 1.
        seed: Of everything random.
        processes: Worker processes for the trees of different folds; nets of all folds share one.
        scheduler: Address of a Dask scheduler, or a cluster, to be used instead for the trees.
        boosting: How trees are grown.
        network: How nets are trained.

    Raises:
        InputError: Fewer than two processes or folds, a feature that is not finite, negative weights, or a process with
            fewer than 100 rows or no weight for one of the trainings.
    """
    if kind not in get_args(Kind):
        raise InputError.from_parts(
            expected=f"kind to be one of {', '.join(get_args(Kind))}", got=repr(kind), do="correct it"
        )
    _check(samples, folds)
    pooled = _Pool.of(samples)
    members: dict[int, _Member] = {}
    if kind == "network":
        parts = [pooled.without(k) for k in range(folds)]
        for k, (x, y, weights, event) in enumerate(parts):
            members[k] = train_networks(x, y, weights, event, classes=len(samples), options=network, seed=seed, fold=k)
    else:
        tasks = [(k, seed, boosting) for k in range(folds)]
        done = finished(_grow, pooled, tasks, processes=processes, scheduler=scheduler, name="folds of the classifier")
        for (k, *_), trees in done:
            members[k] = trees
    sizes = np.array([sample.weights.sum() for sample in samples])
    return Posterior(tuple(s.name for s in samples), sizes, tuple(members[k] for k in range(folds)), kind)


def event_folds(event: Integers, *, folds: int, seed: int) -> Integers:
    """Fold of simulated rows, from 0, by the hard event behind them, shape (n,): its rows stay together.

    Args:
        event: Identity of the hard event, shape (n,).
        folds: Number of folds.
        seed: Of the analysis.
    """
    return (hashed_uniform(event, seed, Purpose.FOLD, folds) * folds).astype(np.int64)


def data_folds(digest: str, rows: Integers, *, folds: int, seed: int, swapped: int = 0) -> Integers:
    """Fold whose models score each event of data, from 0, shape (n,).

    Args:
        digest: Of the file, in hexadecimal: equal rows of different files are independent.
        rows: Number of each event in the file, shape (n,).
        folds: Number of folds.
        seed: Of the analysis.
        swapped: How many folds further every event is moved, 0 to folds - 1, for a second fit of the same data by other
            models; results of both are to be compared, scores not to be averaged.

    Raises:
        InputError: The digest is not hexadecimal.

    Example:
        >>> data_folds("0123456789abcdef", np.arange(8), folds=2, seed=1)
        array([0, 1, 1, 0, 0, 0, 1, 0])
    """
    try:
        # numbers that name a stream count 32 bits each
        key = [int(digest[at : at + 8], 16) for at in range(0, len(digest), 8)]
    except ValueError:
        raise InputError.from_parts(
            expected="the digest of a file in hexadecimal", got=repr(digest), do="give its SHA-256"
        ) from None
    first = hashed(rows, seed, Purpose.DATA_FOLD, *key) % np.uint64(folds)
    return (first.astype(np.int64) + swapped) % folds


@dataclass(frozen=True)
class _Pool:
    """Rows of all processes, in an order that depends on nothing but themselves."""

    x: Float32
    label: Integers
    weights: Array
    event: Integers
    fold: Integers

    @classmethod
    def of(cls, samples: Sequence[ProcessRows]) -> Self:
        used = []
        for sample in samples:
            # rows of one hard event are told apart by what they look like
            order = np.lexsort((*sample.x.T[::-1], sample.event))
            used.append(order[sample.weights[order] > 0.0])
        joined = list(zip(samples, used, strict=True))
        return cls(
            x=np.concatenate([s.x[rows] for s, rows in joined]),
            label=np.repeat(np.arange(len(samples)), [len(rows) for rows in used]),
            weights=np.concatenate([s.weights[rows] for s, rows in joined]),
            event=np.concatenate([s.event[rows] for s, rows in joined]),
            fold=np.concatenate([s.fold[rows] for s, rows in joined]),
        )

    def without(self, fold: int) -> tuple[Float32, Integers, Array, Integers]:
        """Features, labels, balanced weights of mean one, and events of the rows outside of a fold."""
        seen: Mask = self.fold != fold
        y, weights = self.label[seen], self.weights[seen]
        totals = np.bincount(y, weights)
        return self.x[seen], y, weights * (len(y) / len(totals) / totals)[y], self.event[seen]


def _grow(pooled: _Pool, fold: int, seed: int, options: Boosting) -> Trees:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    x, y, weights, _ = pooled.without(fold)
    edges = [bin_edges(column, weights, options.bins) for column in x.T]
    classifier = HistGradientBoostingClassifier(
        max_iter=options.rounds,
        learning_rate=options.learning_rate,
        max_leaf_nodes=options.leaves,
        min_samples_leaf=options.rows,
        l2_regularization=options.l2,
        max_bins=options.bins,
        early_stopping=False,
        random_state=seed_for(seed, Purpose.RATIO_POSTERIOR, fold) % 2**32,
    )
    # one thread: on a busy machine the threads wait for each other many times longer than they work
    with threadpool_limits(1, user_api="openmp"):
        classifier.fit(in_bins(x, edges), y, sample_weight=weights)
    return Trees.of(classifier, edges)


def _check(samples: Sequence[ProcessRows], folds: int) -> None:
    if len(samples) < 2 or folds < 2:
        raise InputError.from_parts(
            expected="two processes or more and two folds or more",
            got=f"{len(samples)} and {folds}",
            do="give both a signal and a background, and folds=2",
        )
    for sample in samples:
        _check_finite(sample.x, f" of {sample.name}")
        if (sample.weights < 0.0).any():
            raise InputError.from_parts(
                expected=f"weights of at least zero for {sample.name}",
                got=f"{np.count_nonzero(sample.weights < 0.0)} negative ones",
                do="give their absolute values to learn with",
            )
        if len(sample.fold) and not 0 <= sample.fold.min() <= sample.fold.max() < folds:
            raise InputError.from_parts(
                expected=f"folds of {sample.name} from 0 to {folds - 1}",
                got=f"{sample.fold.min()} to {sample.fold.max()}",
                do="give as many folds as the rows have",
            )
        for k in range(folds):
            rows = int(np.count_nonzero((sample.fold != k) & (sample.weights > 0.0)))
            if rows < LEAST_ROWS:
                raise InputError.from_parts(
                    expected=f"at least {LEAST_ROWS} rows of {sample.name} outside of fold {k}",
                    got=str(rows),
                    do="give more simulation, or join the process with another one",
                )


def _check_finite(x: Float32, whose: str = "") -> None:
    bad = np.flatnonzero(~np.isfinite(x).all(axis=0))
    if len(bad):
        raise InputError.from_parts(
            expected=f"finite features{whose}",
            got=f"NaN or infinity in column {bad[0]} of {x.shape[1]}",
            do="give what is missing a number at the edge of the feature's range",
        )
