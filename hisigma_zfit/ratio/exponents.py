"""Learned shapes of systematic variations: Delta(x) in S(x | nu) = exp[V(nu) . (Delta(x) + delta)].

The loss is (8) of the specification, that of arXiv:2505.05544, on pairs of events before and after a shift
(`ratio.pairs`).  One small net a fold and seed learns all monomials; outputs are bounded, B tanh(net), and an untrained
net is zero, so that a process whose shape nobody learned varies in rate only.
"""

from __future__ import annotations

import hashlib
import logging
import zlib
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from threadpoolctl import threadpool_limits

from hisigma_zfit import __version__
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.small_nets import SmallNet
from hisigma_zfit.ratio.exponent_nets import ExponentRecipe, NetTraining, plan, scaled, scales_outside
from hisigma_zfit.ratio.pairs import effective_events, make_pairs
from hisigma_zfit.results.ratio_closure import ExponentTraining

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from hisigma_zfit.arrays import Array, Float32, Integers
    from hisigma_zfit.learn.small_nets import AdamState
    from hisigma_zfit.ratio.pairs import Pairs
    from hisigma_zfit.ratio.rows import ProcessRows, ShiftedRows

__all__ = ["ExponentRecipe", "Exponents", "train_exponents"]

_log = logging.getLogger(__name__)

ENOUGH_EVENTS = 20_000  # effective events of the process from which a shape is learned
ENOUGH_ROWS = 200  # in the region
JUDGED = 200_000  # held-out entries of the final loss
NEAR, TOLERATED = 0.9, 0.01  # of the bound; share of exponents near it without a warning


@dataclass(frozen=True)
class Exponents:
    """Delta of one process in one region, cross-fitted: rows of a fold by nets that have not seen it.

    Attributes:
        net: The kind of net.
        parameters: Shape (F, S, P) for F folds and S seeds; S = 0 for Delta = 0.
        centre: Means of the features by fold, shape (F, d).
        spread: Their standard deviations, shape (F, d).
        bound: B by monomial, shape (K,).
        training: How they were learned.
    """

    net: SmallNet
    parameters: Float32
    centre: Float32
    spread: Float32
    bound: Float32
    training: ExponentTraining

    def learned(self, x: Float32, fold: Integers) -> Float32:
        """Delta of events, shape (n, K).

        Args:
            x: Features, shape (n, d).
            fold: Of each event, shape (n,): the fold that it is in, or that it was given to.

        Raises:
            InputError: There is no such fold, or the number of features is another.
        """
        _, members, _ = self.parameters.shape
        _check_events(x, fold, self.centre.shape)
        delta = np.zeros((len(x), len(self.bound)), dtype=np.float32)
        if not members:
            return delta
        for f in np.unique(fold):
            rows = np.flatnonzero(fold == f)
            z = scaled(x[rows], self.centre[f], self.spread[f])
            for own in self.parameters[f]:
                delta[rows] += np.tanh(self.net.value(own, z)) * (self.bound / np.float32(members))
        return delta

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as arrays without pickle, for an ``.npz``."""
        return {
            "sizes": np.array(self.net.sizes),
            "parameters": self.parameters,
            "centre": self.centre,
            "spread": self.spread,
            "bound": self.bound,
            "training": np.array(self.training.to_json(indent=None)),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Rebuild from what `arrays` gave.

        Raises:
            InputError: The description of the training is not readable.
        """
        return cls(
            net=SmallNet(tuple(int(n) for n in arrays["sizes"])),
            parameters=np.asarray(arrays["parameters"]),
            centre=np.asarray(arrays["centre"]),
            spread=np.asarray(arrays["spread"]),
            bound=np.asarray(arrays["bound"]),
            training=ExponentTraining.from_json(str(arrays["training"])),
        )


def train_exponents(
    nominal: ProcessRows,
    shifted: Sequence[ShiftedRows],
    values: Array,
    slopes: Array,
    *,
    cell: int,
    linear: int,
    recipe: ExponentRecipe | None = None,
    folds: int,
    seed: int,
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exponents:
    """Learn Delta of one process in one unbinned region.

    Args:
        nominal: The process.
        shifted: The same at each design point, D of them; none where rates alone vary.
        values: V at the design points, shape (D, K), linear monomials first.
        slopes: delta of the rates in this cell, shape (K,).
        cell: The region.
        linear: Number of linear monomials, which have a bound of their own.
        recipe: How to learn; the defaults of `ExponentRecipe` if not given.
        folds: Number of folds, F.
        seed: Of starts and orders.
        checkpoint: Folder of this process and region that keeps the state of every net; called again with the same
            arguments, nets resume there and end with the same bits.
        progress: Called with steps done and in total.

    Raises:
        InputError: Shapes do not agree, folds are not 0 to F - 1 with at least two of them, or the checkpoint belongs
            to another training.
    """
    if folds < 2 or (len(nominal.fold) and not 0 <= nominal.fold.min() <= nominal.fold.max() < folds):
        raise InputError.from_parts(
            expected=f"folds of {nominal.name} from 0 to F - 1 with F of at least 2",
            got=f"F = {folds}",
            do="split the events by their identity first",
        )
    recipe = recipe or ExponentRecipe()
    bound = np.repeat(recipe.bound, (linear, np.shape(values)[1] - linear)).astype(np.float32)
    net = SmallNet((nominal.x.shape[1], *recipe.hidden, len(bound)))
    nothing = _nothing_learned(nominal, net, bound, folds, cell)
    enough = nothing.training.effective_events >= ENOUGH_EVENTS and nothing.training.rows >= ENOUGH_ROWS
    if not len(shifted) or recipe.shape == "none" or (recipe.shape == "auto" and not enough):
        return nothing
    pairs = make_pairs(nominal, shifted, values, slopes, cell=cell, coupled=recipe.pairing == "identity")
    seen = [np.flatnonzero(pairs.fold != f) for f in range(folds)]
    if not all(map(len, seen)):
        raise InputError.from_parts(
            expected=f"events of {nominal.name} in the region outside of every fold",
            got=f"{len(pairs.point)} pairs",
            do="set its shape to none",
        )
    if not pairs.coupled:
        _log.warning("%s: no shifted row knows its nominal one (pairing: none): noisier exponents", nominal.name)
    with threadpool_limits(1, user_api="blas"):  # several threads make these small products no quicker
        return _train_all(nothing, nominal, pairs, seen, recipe, (cell, seed), checkpoint, progress)


def _train_all(
    nothing: Exponents,
    nominal: ProcessRows,
    pairs: Pairs,
    seen: Sequence[Integers],
    recipe: ExponentRecipe,
    numbers: tuple[int, int],
    checkpoint: Path | None,
    progress: Callable[[int, int], None] | None,
) -> Exponents:
    cell, seed = numbers
    scales = [scales_outside(pairs, f) for f in range(len(seen))]
    plans = [plan(recipe, len(own)) for own in seen]
    total, done = recipe.seeds * sum(adam.steps for adam, _ in plans), 0
    fingerprint = "" if checkpoint is None else _fingerprint(pairs, nothing.bound, recipe, seed)
    if checkpoint is not None:
        checkpoint.mkdir(parents=True, exist_ok=True)
    states: list[list[AdamState]] = []
    for f, (rows, scale, (adam, per_epoch)) in enumerate(zip(seen, scales, plans, strict=True)):
        states.append([])
        for member in range(recipe.seeds):
            run = NetTraining(
                pairs=pairs,
                seen=rows,
                unseen=np.flatnonzero(pairs.fold == f),
                scale=scale,
                net=nothing.net,
                bound=nothing.bound,
                recipe=recipe,
                adam=adam,
                per_epoch=per_epoch,
                seed=seed,
                numbers=(zlib.crc32(nominal.name.encode()), cell, f, member),
            )
            place = None if checkpoint is None else (checkpoint / f"exponents_{f}_{member}.npz", fingerprint)
            report = (lambda n, done=done: progress(done + n, total)) if progress is not None else None
            states[-1].append(run.train(place, report))
            done += adam.steps
    exponents = replace(
        nothing,
        parameters=np.array([[state.average for state in own] for own in states]),
        centre=np.array([centre for centre, _ in scales]),
        spread=np.array([spread for _, spread in scales]),
        training=_history(nothing.training, pairs, [state for own in states for state in own]),
    )
    return replace(exponents, training=_judged(exponents, pairs, nominal, cell))


def _check_events(x: Float32, fold: Integers, shape: tuple[int, ...]) -> None:
    folds, features = shape
    if np.ndim(x) != 2 or x.shape[1] != features or np.shape(fold) != (len(x),):
        raise InputError.from_parts(
            expected=f"{features} features and one fold by event",
            got=f"shapes {np.shape(x)} and {np.shape(fold)}",
            do="take the features that the exponents were learned with",
        )
    if len(x) and not 0 <= fold.min() <= fold.max() < folds:
        raise InputError.from_parts(
            expected=f"folds 0 to {folds - 1}", got=f"{fold.min()} to {fold.max()}", do="give each event to one fold"
        )


def _fingerprint(pairs: Pairs, bound: Float32, recipe: ExponentRecipe, seed: int) -> str:
    digest = hashlib.sha256(repr((__version__, np.__version__, sorted(asdict(recipe).items()), seed)).encode())
    for array in (pairs.x, pairs.at, pairs.weights, pairs.values, pairs.point, pairs.fold, bound):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _nothing_learned(nominal: ProcessRows, net: SmallNet, bound: Float32, folds: int, cell: int) -> Exponents:
    """Delta = 0."""
    inside = nominal.cell == cell
    shape = (folds, nominal.x.shape[1])
    none = np.zeros((0, 0))
    return Exponents(
        net=net,
        parameters=np.zeros((folds, 0, net.size), dtype=np.float32),
        centre=np.zeros(shape, dtype=np.float32),
        spread=np.ones(shape, dtype=np.float32),
        bound=bound,
        training=ExponentTraining(
            process=nominal.name,
            learned=False,
            effective_events=effective_events(nominal.weights),
            effective_inside=effective_events(nominal.weights[inside]),
            rows=int(np.count_nonzero(inside)),
            pairs=0,
            coupled=0.0,
            steps=np.zeros(0),
            train=none,
            held_out=none,
            loss=0.0,
            loss_error=0.0,
            at_bound=np.zeros(len(bound)),
        ),
    )


def _history(nothing: ExponentTraining, pairs: Pairs, states: Sequence[AdamState]) -> ExponentTraining:
    curves = np.array([state.losses for state in states])  # (F S, R, 3)
    return replace(
        nothing,
        learned=True,
        pairs=len(pairs.point),
        coupled=pairs.coupled,
        steps=curves[..., 0].mean(axis=0),
        train=curves[..., 1],
        held_out=curves[..., 2],
    )


def _judged(exponents: Exponents, pairs: Pairs, nominal: ProcessRows, cell: int) -> ExponentTraining:
    """The training with its loss on unseen pairs, and a warning where exponents are at their bound."""
    every = max(len(pairs.point) // JUDGED, 1)
    entries = np.arange(0, len(pairs.point), every)
    sides = [
        np.einsum(
            "ik,ik->i",
            pairs.values[pairs.point[entries]],
            exponents.learned(pairs.x[pairs.at[entries, side]], pairs.fold[entries]),
        )
        for side in (0, 1)
    ]
    losses = pairs.losses(np.stack(sides, axis=1).astype(np.float64), entries)
    # what one hard event adds at all points hangs together
    events = np.where(pairs.event[entries] < 0, -1 - entries, pairs.event[entries])
    _, which = np.unique(events, return_inverse=True)
    error = float(np.sqrt(np.sum(np.bincount(which, weights=losses - losses.mean()) ** 2))) / len(losses)
    inside = nominal.cell == cell
    delta = exponents.learned(nominal.x[inside], nominal.fold[inside])
    at_bound = (
        np.mean(np.abs(delta) > NEAR * exponents.bound, axis=0, dtype=np.float64)
        if len(delta)
        else 0.0 * exponents.bound
    )
    if np.max(at_bound) > TOLERATED:
        _log.warning(
            "%s: %.1f %% of the exponents of one monomial are at their bound; raise bound",
            nominal.name,
            100 * np.max(at_bound),
        )
    return replace(exponents.training, loss=float(losses.mean()), loss_error=error, at_bound=np.asarray(at_bound))
