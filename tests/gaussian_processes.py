"""Simulated rows of three processes with Gaussian features, whose posterior is known; several rows share one event."""

import numpy as np
from scipy.stats import norm

from hisigma_zfit.ratio.posterior import event_folds
from hisigma_zfit.ratio.rows import ProcessRows

MEANS = {"signal": (1.5, 0.0), "rare": (0.0, 1.5), "common": (0.0, 0.0)}
SIZES = {"signal": 50.0, "rare": 200.0, "common": 2000.0}


def rows(n=3000, seed=1, folds=2):
    """Samples with uneven weights."""
    rng = np.random.default_rng(seed)
    samples = []
    for name, mean in MEANS.items():
        x = rng.normal(mean, 1.0, (n, 2)).astype(np.float32)
        weights = rng.uniform(0.5, 1.5, n)
        event = np.arange(n) // 2
        samples.append(
            ProcessRows(
                name=name,
                x=x,
                weights=weights * SIZES[name] / weights.sum(),
                event=event,
                fold=event_folds(event, folds=folds, seed=seed),
                cell=np.zeros(n, dtype=np.int64),
            )
        )
    return samples


def exact(x):
    """Shares of the processes, shape (n, 3)."""
    rates = [SIZES[name] * norm.pdf(x, MEANS[name], 1.0).prod(axis=1) for name in MEANS]
    return np.stack(rates, axis=1) / np.sum(rates, axis=0)[:, None]
