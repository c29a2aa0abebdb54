"""Boosted trees as plain arrays, with a prediction of their own: stored without pickle, and quicker than by nodes.

A feature has few distinct thresholds, so that an event is known by the step of each of its features.  By step there is
a word of bits for every tree: the leaves that are still possible, leaves counted from left to right.  The words of all
features, joined by "and", leave the exit leaf as their lowest bit (Lucchese et al., SIGIR 2015).  This is the same for
all trees and events, whole rows of words at once, where a walk from node to node would branch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Float32, Integers

__all__ = ["MOST_LEAVES", "Trees", "bin_edges", "in_bins"]

MOST_LEAVES = 64  # bits of the largest word
_BLOCK = 256  # events at once, so that their words stay in the processor's cache

_Words = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, eq=False)
class Trees:
    """Boosted trees of P classes: tree t adds to the logit of class t modulo P.

    Two classes have one logit, that of the second against the first.

    Attributes:
        start: First node of each tree, and their number at the end, shape (T + 1,).
        feature: On which feature a node splits, shape (n,); -1 for a leaf.
        threshold: Events with at most this value go to the left, shape (n,).
        left: Number of the left child, counted from the tree's first node, shape (n,); 0 for a leaf.
        right: Of the right child.
        value: What a leaf adds to the logit, shape (n,); 0 elsewhere.
        baseline: Logits before all trees, shape (P,), or (1,) for two classes.
        features: Number of features.
    """

    start: Integers
    feature: Integers
    threshold: Float32
    left: Integers
    right: Integers
    value: Array
    baseline: Array
    features: int

    @classmethod
    def of(cls, classifier: Any, edges: Sequence[Float32] | None = None) -> Self:
        """Copy a trained `sklearn.ensemble.HistGradientBoostingClassifier`.

        Args:
            classifier: That was trained on features, or on their numbers of bins.
            edges: Upper edges of the bins by feature, rising, as from `bin_edges`; None for features as they are.

        Raises:
            InputError: Features with categories, or trees of more than `MOST_LEAVES` leaves.
        """
        rounds = classifier._predictors  # noqa: SLF001 - no public way to them; the test compares with sklearn's own
        trees = [tree.nodes for grown in rounds for tree in grown]
        nodes = np.concatenate(trees)
        leaf = nodes["is_leaf"].astype(bool)
        most = max(int(tree["is_leaf"].sum()) for tree in trees)
        if nodes["is_categorical"].any() or most > MOST_LEAVES:
            raise InputError.from_parts(
                expected=f"trees that split on numbers, with {MOST_LEAVES} leaves at most",
                got=f"{most} leaves" if most > MOST_LEAVES else "splits on categories",
                do="train with other options",
            )
        feature = np.where(leaf, -1, nodes["feature_idx"]).astype(np.int16)
        threshold = _rounded_down(np.where(leaf, 0.0, nodes["num_threshold"]))
        for j, own in enumerate(edges or ()):
            split = feature == j
            # a bin of at most k, that is a value of at most the upper edge of bin k
            threshold[split] = own[np.floor(threshold[split]).astype(np.intp)]
        return cls(
            start=np.cumsum([0, *(len(tree) for tree in trees)]),
            feature=feature,
            threshold=threshold,
            left=np.where(leaf, 0, nodes["left"]).astype(np.int16),
            right=np.where(leaf, 0, nodes["right"]).astype(np.int16),
            value=np.where(leaf, nodes["value"], 0.0),
            baseline=np.asarray(classifier._baseline_prediction, dtype=np.float64).ravel(),  # noqa: SLF001 - see above
            features=int(classifier.n_features_in_),
        )

    def log_probabilities(self, x: Float32) -> Array:
        """Of the classes, shape (n, P).

        Args:
            x: Features, finite, shape (n, d).
        """
        bits = self._bits
        trees, outputs = len(self.start) - 1, len(self.baseline)
        steps = np.stack([np.searchsorted(edges, x[:, j]) for j, edges in zip(bits.used, bits.edges, strict=True)])
        logits = np.empty((len(x), outputs))
        word, other = np.empty((2, _BLOCK, trees), dtype=bits.every.dtype)
        for first in range(0, len(x), _BLOCK):
            rows = slice(first, min(first + _BLOCK, len(x)))
            n = rows.stop - first
            possible, more = word[:n], other[:n]
            possible[:] = bits.every
            for table, step in zip(bits.tables, steps[:, rows], strict=True):
                # "clip" alone writes into `out` without a copy; all steps are inside
                np.take(table, step, axis=0, out=more, mode="clip")
                possible &= more
            leaf = bits.first_leaf + _lowest_bit(possible)
            logits[rows] = np.take(bits.leaves, leaf).reshape(n, -1, outputs).sum(axis=1)
        logits += self.baseline
        if outputs == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        logits -= logits.max(axis=1, keepdims=True)
        return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything, as arrays of numbers."""
        return {
            "start": self.start,
            "feature": self.feature,
            "threshold": self.threshold,
            "left": self.left,
            "right": self.right,
            "value": self.value,
            "baseline": self.baseline,
            "features": np.array(self.features),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The inverse of `arrays`."""
        return cls(**{**arrays, "features": int(arrays["features"])})  # type: ignore[arg-type]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_bits"}  # made again where needed

    @cached_property
    def _bits(self) -> _Bits:
        trees = [self._leaves(t) for t in range(len(self.start) - 1)]
        counts = np.array([len(leaves) for leaves, _ in trees])
        kind: type[np.unsignedinteger[Any]] = np.uint32 if counts.max() <= 32 else np.uint64
        splits = self.feature >= 0
        used = np.unique(self.feature[splits])
        edges = [np.unique(self.threshold[self.feature == j]) for j in used]
        every: _Words = np.array([(1 << int(n)) - 1 for n in counts], dtype=kind)
        tables = [np.broadcast_to(every, (len(e) + 1, len(every))).copy() for e in edges]
        where = {int(j): at for at, j in enumerate(used)}
        for t, (_, lost) in enumerate(trees):
            for node, mask in lost:
                at = where[int(self.feature[node])]
                step = int(np.searchsorted(edges[at], self.threshold[node]))
                # an event beyond the threshold does not reach the leaves on the left
                tables[at][step + 1 :, t] &= kind(~mask & int(every[t]))
        return _Bits(
            used=used,
            edges=edges,
            every=every,
            tables=tables,
            first_leaf=np.cumsum([0, *counts[:-1]]),
            leaves=np.concatenate([self.value[leaves] for leaves, _ in trees]),
        )

    def _leaves(self, t: int) -> tuple[list[int], list[tuple[int, int]]]:
        """Leaves of a tree from left to right, and by node the bits of the leaves on its left."""
        first, leaves, lost = int(self.start[t]), [], []

        def visit(node: int) -> None:
            if self.feature[node] < 0:
                leaves.append(node)
                return
            before = len(leaves)
            visit(first + int(self.left[node]))
            lost.append((node, (1 << len(leaves)) - (1 << before)))
            visit(first + int(self.right[node]))

        visit(first)
        return leaves, lost


@dataclass(frozen=True)
class _Bits:
    """The same trees as tables of words.

    Attributes:
        used: Features on which some tree splits.
        edges: Thresholds of each, rising.
        every: All leaves of each tree, shape (T,).
        tables: By used feature the leaves that are possible, shape (len(edges) + 1, T).
        first_leaf: Number of each tree's first leaf, shape (T,).
        leaves: What the leaves add, all trees one after the other.
    """

    used: Integers
    edges: list[Float32]
    every: _Words
    tables: list[_Words]
    first_leaf: Integers
    leaves: Array


def bin_edges(column: Float32, weights: Array, bins: int) -> Float32:
    """Upper edges of bins of about equal weight, all but the last one's, halfway between values that occur.

    The same in every version of scikit-learn, and its own edges of weighted events take longer than its trees.

    Args:
        column: Values of a feature, shape (n,).
        weights: Positive, shape (n,).
        bins: Their number at most; as many as there are values where these are fewer.
    """
    order = np.argsort(column)
    values = column[order]
    last = np.flatnonzero(values[1:] > values[:-1])  # of each distinct value, without the largest
    if len(last) >= bins:
        content = np.cumsum(weights[order])[last]
        levels = np.arange(1, bins) / bins * weights.sum()
        last = last[np.unique(np.minimum(np.searchsorted(content, levels), len(last) - 1))]
    below, above = values[last], values[last + 1]
    middle = below + np.float32(0.5) * (above - below)
    return np.where(middle < above, middle, below)  # neighbouring numbers have none between them


def in_bins(x: Float32, edges: Sequence[Float32]) -> npt.NDArray[np.uint8]:
    """Number of the bin of each feature, 255 bins at most, shape (n, d)."""
    return np.stack([np.searchsorted(own, column) for own, column in zip(edges, x.T, strict=True)], axis=1).astype(
        np.uint8
    )


def _rounded_down(threshold: Array) -> Float32:
    """The largest numbers of single precision below or at the thresholds: features of it fall on the same sides."""
    rounded = threshold.astype(np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _lowest_bit(words: _Words) -> Integers:
    """Number of the lowest bit that is set; `words` are overwritten."""
    words &= ~words + words.dtype.type(1)
    # a power of two is exact as a floating point number, whose exponent is its logarithm
    if words.dtype == np.uint32:
        return ((words.astype(np.float32).view(np.uint32) >> np.uint32(23)).astype(np.intp)) - 127
    return ((words.astype(np.float64).view(np.uint64) >> np.uint64(52)).astype(np.intp)) - 1023
