"""The Crystal Ball in numpy against zfit's and against quadrature."""

from __future__ import annotations

import models
import numpy as np
import pytest
import zfit
from scipy import integrate

from hisigma_zfit.data import Dataset
from hisigma_zfit.model.crystal_ball import PARAMETERS, fit_double_crystal_ball, log_double_crystal_ball
from hisigma_zfit.model.shapes import evaluate, fit_shape

LIMITS = (90.0, 180.0)
VALUES = [
    (125.0, 1.8, 1.5, 4.0, 2.0, 7.0),
    (125.0, 1.8, 0.3, 1.01, 0.4, 100.0),
    (88.0, 6.0, 1.0, 3.0, 1.2, 2.0),  # peak outside of the range
    (125.0, 30.0, 4.0, 3.0, 4.0, 2.0),  # tails outside of the range
    (179.0, 0.5, 2.0, 3.0, 2.0, 20.0),
]


@pytest.mark.parametrize("values", VALUES)
def test_normalised_and_equal_to_zfit(values):
    m = np.linspace(*LIMITS, 2001)
    density = np.exp(log_double_crystal_ball(m, values, LIMITS))
    mu, sigma = values[:2]
    corners = [mu - values[2] * sigma, mu, mu + values[4] * sigma]
    inside = [corner for corner in corners if LIMITS[0] < corner < LIMITS[1]]
    total, _ = integrate.quad(
        lambda x: np.exp(log_double_crystal_ball(np.array([x]), values, LIMITS))[0], *LIMITS, points=inside, limit=200
    )
    assert total == pytest.approx(1.0, rel=1e-7)
    shape = zfit.pdf.DoubleCB(obs=models.mass_space(), **dict(zip(PARAMETERS, values, strict=True)))
    np.testing.assert_allclose(density, shape.pdf(m), rtol=1e-8)
    np.testing.assert_array_equal(evaluate(shape, m), density)


@pytest.mark.slow
def test_same_minimum_as_zfit_with_weights():
    """Its own loss, minimised from another start, is not lower."""
    shape = zfit.pdf.DoubleCB(obs=models.mass_space(), **dict(zip(PARAMETERS, VALUES[0], strict=True)))
    zfit.settings.set_seed(5)
    m = np.asarray(shape.sample(4000).value())[:, 0]
    weights = np.random.default_rng(1).uniform(0.5, 1.5, 4000)
    data = Dataset.from_arrays({"m": m}, weights=weights)
    ours = fit_shape(zfit.pdf.DoubleCB, data, models.mass_space(), prefix="ours_")
    theirs = fit_shape(
        zfit.pdf.DoubleCB, data, models.mass_space(), prefix="zfit_", minimizer=zfit.minimize.Minuit(gradient="zfit")
    )
    found, expected = ({n: float(p.value()) for n, p in pdf.params.items()} for pdf in (ours, theirs))
    assert weights @ np.log(evaluate(ours, m)) > weights @ np.log(evaluate(theirs, m)) - 1e-3
    assert found["mu"] == pytest.approx(expected["mu"], abs=0.003)  # a tenth of its error
    assert found["sigma"] == pytest.approx(expected["sigma"], abs=0.004)


@pytest.mark.parametrize("scale", [1e-6, 1e9])
def test_the_scale_of_weights_does_not_matter(scale):
    rng = np.random.default_rng(3)
    m, weights = rng.standard_t(4, 1500) * 1.5 + 125.0, rng.uniform(0.5, 1.5, 1500)
    limits = [LIMITS, (0.1, 10.0), (0.1, 6.0), (1.01, 100.0), (0.1, 6.0), (1.01, 100.0)]
    start = {name: (value, *own) for name, value, own in zip(PARAMETERS, VALUES[0], limits, strict=True)}
    expected, _ = fit_double_crystal_ball(m, weights, LIMITS, start)
    found, converged = fit_double_crystal_ball(m, scale * weights, LIMITS, start)
    assert converged
    assert found == pytest.approx(expected, rel=1e-6)
