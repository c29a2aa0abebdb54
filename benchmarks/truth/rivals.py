"""Other ways to learn the background's density, each as its users would set it up.

A Gaussian copula has the package's own marginals and one matrix of correlations.  Reweighting trains boosted trees to
tell events from events whose features were shuffled, so that the odds correct independent features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from hisigma_zfit.learn.preprocess import FeatureTransform, Support

if TYPE_CHECKING:
    from worlds import World

    import hisigma_zfit as hz
    from hisigma_zfit.arrays import Array

__all__ = ["copula", "reweighted"]

EDGE = 1e-6  # normal quantiles are cut off here
COPIES = 4  # shuffled events by event


def _transform(world: World, x: Array) -> FeatureTransform:
    supports = tuple(Support.infer(x[:, j], name=name) for j, name in enumerate(world.features))
    return FeatureTransform.fit(x, world.features, supports=supports, weights=np.ones(len(x)))


def _normal(u: Array) -> Array:
    return np.asarray(ndtri(np.clip(u, EDGE, 1.0 - EDGE)))


def copula(world: World, events: hz.Dataset, x: Array) -> Array:
    """Log-density of points `x`, shape (n, d), of a Gaussian copula fitted to `events`; shape (n,)."""
    own = events.array(world.features)
    transform = _transform(world, own)
    z = _normal(transform.forward(own)[0])
    correlation = np.corrcoef(z, rowvar=False)
    u, log_jacobian = transform.forward(x)
    at = _normal(u)
    excess = np.linalg.inv(correlation) - np.eye(len(correlation))
    log_copula = -0.5 * (np.einsum("ni,ij,nj->n", at, excess, at) + np.linalg.slogdet(correlation)[1])
    return np.where(transform.inside(x), log_copula + log_jacobian, -np.inf)


def reweighted(world: World, events: hz.Dataset, x: Array, m: Array, *, seed: int) -> Array:
    """Log-density of points `x`, shape (n, d), at masses `m` of independent features times the odds of trees."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(seed)
    own, masses = events.array(world.features), events["m"]
    transform = _transform(world, own)
    shuffled = np.column_stack([np.concatenate([rng.permutation(c) for _ in range(COPIES)]) for c in own.T])
    inputs = np.column_stack([np.concatenate([own, shuffled]), np.tile(masses, COPIES + 1)])
    labels = np.repeat([1, 0], [len(own), len(shuffled)])
    weights = np.where(labels == 1, float(COPIES), 1.0)
    trees = HistGradientBoostingClassifier(early_stopping=True, random_state=seed).fit(inputs, labels, weights)

    def odds(values: Array, masses: Array) -> Array:
        return np.asarray(trees.decision_function(np.column_stack([values, masses])))

    norm = np.log(np.mean(np.exp(odds(shuffled, np.tile(masses, COPIES)))))
    return np.where(transform.inside(x), transform.forward(x)[1] + odds(x, m) - norm, -np.inf)
