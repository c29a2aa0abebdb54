"""Flows with random weights: all properties of a density can be tested without training one."""

from __future__ import annotations

import numpy as np
import truth

from hisigma_zfit.data import SignalRegion
from hisigma_zfit.density.cube import SplineConfig
from hisigma_zfit.density.trained import MassScale, TrainedFlow
from hisigma_zfit.learn.preprocess import FeatureTransform, Support

REGION = SignalRegion(*truth.REGION)
SMALL = SplineConfig(knots=8, hidden=8, layers=2)


def random_flow(n_features, *, seed=1, members=2, config=SMALL, strength=0.6):
    """A flow with strong random dependence of everything on everything, without training.

    `strength` is the standard deviation of what is added to the starting parameters.
    """
    rng = np.random.default_rng(seed)
    parameters = np.stack([config.init(rng, n_features) for _ in range(members)])
    parameters += strength * rng.normal(size=parameters.shape)
    x = np.stack(
        [rng.random(4000), rng.exponential(size=4000), rng.normal(size=4000), -rng.gamma(2, size=4000)], axis=1
    )
    x, names = x[:, :n_features], truth.FEATURES[:n_features]
    supports = [Support.infer(column, name=name) for name, column in zip(names, x.T, strict=True)]
    transform = FeatureTransform.fit(x, names, supports=supports)
    return TrainedFlow(
        config, transform, MassScale(125.0, 30.0), parameters.astype(np.float32), given="m", signal_region=REGION
    )
