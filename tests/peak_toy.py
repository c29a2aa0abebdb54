"""A narrow peak on a uniform background with one feature, all densities known, for tests of strategies."""

from __future__ import annotations

import numpy as np
import zfit
from scipy.stats import norm

from hisigma_zfit.baselines.classifiers import Classifier
from hisigma_zfit.data import Dataset

WIDTH = 0.15  # of the signal in the feature, around one; the background is uniform in 0-1


def space():
    return zfit.Space("m", 100, 160)


def events(n_signal, n_background, seed):
    """Peak of 1.5 GeV at 125 GeV on a uniform background; the feature is uniform in it and near one in the signal."""
    rng = np.random.default_rng(seed)
    m = np.concatenate([rng.normal(125.0, 1.5, n_signal), rng.uniform(100.0, 160.0, n_background)])
    x = np.concatenate([1.0 - np.abs(rng.normal(0.0, WIDTH, n_signal)), rng.uniform(0.0, 1.0, n_background)])
    return Dataset.from_arrays({"m": m, "x": np.maximum(x, 0.0)})


def feature_ratio(x):
    return 2.0 * norm.pdf(x[:, 0], 1.0, WIDTH)


def exact(names):
    """The classifier that knows the densities."""

    def log_odds(values):
        ratio = feature_ratio(values[:, [names.index("x")]])
        if "m" in names:
            ratio = ratio * norm.pdf(values[:, names.index("m")], 125.0, 1.5) * 60.0
        return np.log(np.maximum(ratio, 1e-30))

    return Classifier(tuple(names), log_odds)
