"""Gaussian mixtures against scipy, and a fit against the truth that made the events."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from hisigma_zfit.density.mixture import Mixture, fit_mixture, monomials

TRUE = Mixture(
    np.array([0.3, 0.7]),
    np.array([[-1.0, 0.5], [0.6, -0.2]]),
    np.array([[[0.2, 0.1], [0.1, 0.3]], [[0.4, -0.1], [-0.1, 0.1]]]),
)


def exact(mixture, z):
    parts = zip(mixture.shares, mixture.means, mixture.covariances, strict=True)
    return np.log(sum(share * multivariate_normal(mean, covariance).pdf(z) for share, mean, covariance in parts))


def test_the_density_is_that_of_scipy_wherever_it_is_moved():
    z = np.random.default_rng(1).standard_normal((500, 2))
    np.testing.assert_allclose(TRUE.log_density(monomials(z)), exact(TRUE, z), atol=1e-3)
    offset, factor = np.array([0.3, -0.2]), np.array([1.5, 0.8])
    moved = TRUE.moved(offset, factor)
    expected = exact(TRUE, (z - offset) / factor) - np.log(factor).sum()
    np.testing.assert_allclose(moved.log_density(monomials(z)), expected, atol=1e-3)
    both = np.log(0.75 * np.exp(exact(TRUE, z)) + 0.25 * np.exp(exact(moved, z)))
    np.testing.assert_allclose(TRUE.joined(moved, 0.25).log_density(monomials(z)), both, atol=1e-3)


@pytest.mark.statistical
def test_a_fit_is_as_good_as_its_events():
    """2 n KL is about a chi square of 23 degrees for four components: above 120 with 1e-14."""
    z = TRUE.sample(4000, np.random.default_rng(2))
    fitted = fit_mixture(z, components=4, rng=np.random.default_rng(3))
    new = TRUE.sample(100_000, np.random.default_rng(4))
    divergence = np.mean(exact(TRUE, new) - exact(fitted, new))
    assert divergence < 120.0 / (2 * 4000)
    assert fitted.shares.sum() == pytest.approx(1.0)
