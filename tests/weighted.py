"""Events with weights: a peak over a slope, and counts whose errors can be written down."""

from __future__ import annotations

import counting
import numpy as np
import zfit

from hisigma_zfit.likelihood.nll import ExtendedNLL

MEAN, WIDTH, SLOPE = 0.5, 0.05, -1.0
TRUTH = (60.0, 300.0)  # signal and background


def peak_model(*, mean=MEAN, slope_floats=True, scale=1.0):
    """Signal in a peak, background that falls; a `mean` that is a parameter takes the generic path."""
    obs = zfit.Space(*counting.SPACE)
    s, b = (zfit.Parameter(name, scale * n, stepsize=1.0) for name, n in zip("sb", TRUTH, strict=True))
    slope = counting.parameter("slope", SLOPE, floating=slope_floats)
    peak = zfit.pdf.Gauss(mean, WIDTH, obs=obs, extended=s)
    return zfit.pdf.SumPDF([peak, zfit.pdf.Exponential(slope, obs=obs, extended=b)])


def masses(rng, signal, background):
    """Masses of exact numbers of events, all of them in the range."""
    inverse = -np.log1p(-rng.random(background) * (1.0 - np.exp(SLOPE))) / -SLOPE
    return np.concatenate([rng.normal(MEAN, WIDTH, signal), inverse])


def data_of(m, weights=None):
    return zfit.Data.from_numpy(obs=zfit.Space(*counting.SPACE), array=np.asarray(m)[:, None], weights=weights)


def peak_loss(m, weights=None, *, scale=1.0, expected=False, **options):
    return ExtendedNLL(peak_model(scale=scale, **options), data_of(m, weights), expected=expected)


def sample(seed=1):
    """360 events and weights between 0.5 and 6 that are larger at larger masses."""
    rng = np.random.default_rng(seed)
    m = masses(rng, *(int(n) for n in TRUTH))
    return m, rng.uniform(0.5, 3.0, m.size) * (1.0 + m)


def counts(weights, background, *, sigma=None, off=None):
    """Sum of w over a background that is known, or measured with an error, or in unweighted control events."""
    s, b = (
        counting.parameter("s", 10.0),
        counting.parameter("b", background, floating=sigma is not None or off is not None),
    )
    constraints = [] if sigma is None else [zfit.constraint.GaussianConstraint(b, observation=background, sigma=sigma)]
    model, data = zfit.pdf.SumPDF([counting.flat(s), counting.flat(b)]), data_of(np.full(len(weights), 0.5), weights)
    if off is None:
        return ExtendedNLL(model, data, constraints=constraints or None)
    return ExtendedNLL([model, counting.flat(b)], [data, data_of(np.full(off, 0.5))])
