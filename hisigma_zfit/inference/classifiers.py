"""Classifiers of signal against background, for the strategies that the method is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hisigma_zfit.data import Dataset

__all__ = ["Classifier", "train_classifier"]

Array = npt.NDArray[np.float64]
Kind = Literal["trees", "net"]


@dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Attributes:
        names: Columns that it sees.
        log_odds: From columns of shape (n, d) to log odds of shape (n,), for classes of equal size.
    """

    names: tuple[str, ...]
    log_odds: Callable[[Array], Array]

    def __call__(self, events: Dataset) -> Array:
        """Estimate log p_s(x) / p_b(x) of the events, shape (n,)."""
        return self.log_odds(events.array(self.names))


def train_classifier(
    signal: Dataset, background: Dataset, names: Sequence[str], *, kind: Kind = "trees", seed: int
) -> Classifier:
    """Train a classifier on simulated events, both classes with the same total weight.

    Args:
        signal: Simulated signal, unweighted.
        background: Simulated background, unweighted.
        names: Columns to use.
        kind: ``"trees"``: scikit-learn's histogram gradient boosting; ``"net"``: a dense Keras net as in the paper.
        seed: Seed of the split for early stopping and of the start.

    Raises:
        InputError: Weighted events, too few of them, another kind, or scikit-learn is missing.
    """
    if signal.weights is not None or background.weights is not None:
        raise InputError.from_parts(expected="unweighted events", got="weights", do="resample the events first")
    if min(len(signal), len(background)) < 100:
        raise InputError.from_parts(
            expected="at least 100 events of each kind",
            got=f"{len(signal)} of signal and {len(background)} of background",
            do="give more simulated events",
        )
    if kind not in ("trees", "net"):
        raise InputError.from_parts(expected="kind trees or net", got=repr(kind), do="correct it")
    x = np.concatenate([signal.array(names), background.array(names)])
    y = np.repeat([1, 0], [len(signal), len(background)])
    weight = np.where(y == 1, 0.5 / len(signal), 0.5 / len(background)) * len(y)
    train = _trees if kind == "trees" else _net
    return Classifier(tuple(names), train(x, y, weight, seed))


def _trees(x: Array, y: npt.NDArray[np.int64], weight: Array, seed: int) -> Callable[[Array], Array]:
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError as error:
        raise InputError.from_parts(
            expected="scikit-learn", got="none installed", do="pip install 'hisigma_zfit[diagnostics]'"
        ) from error
    model = HistGradientBoostingClassifier(
        learning_rate=0.1,
        max_iter=600,
        max_leaf_nodes=8,  # small trees and many: deep ones overshoot where signal is purest
        min_samples_leaf=200,
        l2_regularization=20.0,
        early_stopping=True,
        validation_fraction=0.15,
        n_iter_no_change=20,
        random_state=seed,
    )
    model.fit(x, y, sample_weight=weight)

    def log_odds(values: Array) -> Array:
        return np.asarray(model.decision_function(values), dtype=np.float64)

    return log_odds


def _net(x: Array, y: npt.NDArray[np.int64], weight: Array, seed: int) -> Callable[[Array], Array]:
    import tf_keras as keras

    keras.utils.set_random_seed(seed)
    centre, width = x.mean(axis=0), x.std(axis=0)
    layers = [keras.layers.Dense(64, activation="swish") for _ in range(3)]
    model: Any = keras.Sequential([*layers, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(2e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    order = np.random.default_rng(seed).permutation(len(y))  # the validation split takes the last events
    model.fit(
        ((x - centre) / width)[order],
        y[order],
        sample_weight=weight[order],
        batch_size=1024,
        epochs=30,
        validation_split=0.15,
        callbacks=[keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)],
        verbose=0,
    )

    def log_odds(values: Array) -> Array:
        return np.asarray(model.predict((values - centre) / width, batch_size=16_384, verbose=0)[:, 0], np.float64)

    return log_odds
