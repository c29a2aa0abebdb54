"""Processes known as ratios, as zfit PDFs: their sum is R, and the likelihood made of them is the one of ratios."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from ratio_toy import PARAMETERS, Toy

from hisigma_zfit.errors import InputError
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.ratio_pdf import RatioPDF, ratio_array, ratio_pdfs, ratio_space
from hisigma_zfit.model.terms import TermPDF

TOY = Toy(bins=((), ()))
POINTS = np.array([[1.0, 0.0, -0.5, 0.0], [0.7, 0.8, 0.3, -1.2]])


@pytest.fixture(scope="module")
def parameters():
    return {name: zfit.Parameter(name, value) for name, value in zip(PARAMETERS, POINTS[0], strict=True)}


@pytest.fixture(scope="module")
def pdfs(parameters):
    return ratio_pdfs(TOY.structure(), parameters, TOY.reference(2000, seed=1))


@pytest.fixture(scope="module")
def columns():
    return TOY.draw(POINTS[0], np.random.default_rng(2))


@pytest.mark.parametrize("theta", POINTS)
def test_extended_densities_add_to_the_ratio(theta, parameters, pdfs, columns):
    x = ratio_array(columns)[:50]
    with zfit.param.set_values([parameters[name] for name in PARAMETERS], theta):
        total = sum(np.asarray(pdf.ext_pdf(x)) for pdf in pdfs)
        yields = [float(pdf.get_yield().value()) for pdf in pdfs]
    v = TOY.monomials.values(np.array([theta[1], TOY.smearing.t(theta[2])[0]]))
    own = columns.posterior[:50] * np.exp(columns.exponents[:50].astype(float) @ v)
    assert total == pytest.approx(own @ TOY.factors(theta[0], theta[3]), rel=1e-6)
    assert yields == pytest.approx(TOY.expected(*theta)[:, 0], rel=1e-12)


def test_sums_over_the_reference_are_one(pdfs):
    for pdf in pdfs:
        assert isinstance(pdf, TermPDF)
        rows = np.stack([pdf.reference.columns[name] for name in pdf.obs], axis=1)
        assert pdf.reference.weights @ np.asarray(pdf.pdf(rows)) == pytest.approx(1.0, abs=0.05)


def test_the_quick_likelihood_of_these_terms_is_that_of_ratios(parameters, pdfs, columns):
    """`ExtendedNLL` knows nothing of ratios; value, gradient and Hessian agree to rounding, up to a constant."""
    data = zfit.Data.from_numpy(obs=ratio_space(TOY.structure()), array=ratio_array(columns))
    constraints = [
        zfit.constraint.GaussianConstraint(parameters[n], observation=0.0, sigma=1.0) for n in PARAMETERS[1:]
    ]
    loss = ExtendedNLL(zfit.pdf.SumPDF(list(pdfs)), data, constraints=constraints)
    likelihood = TOY.likelihood(columns)
    order = [PARAMETERS.index(p.name) for p in loss.parameters]
    assert sorted(order) == [0, 1, 2, 3]
    found = [loss.evaluator().evaluate(theta[order]) for theta in POINTS]
    expected = [likelihood.evaluate(theta) for theta in POINTS]
    assert found[1].value - found[0].value == pytest.approx(expected[1].value - expected[0].value, rel=1e-9)
    for one, other in zip(found, expected, strict=True):
        assert one.gradient == pytest.approx(other.gradient[order], rel=1e-8, abs=1e-7)
        assert one.hessian == pytest.approx(other.hessian[np.ix_(order, order)], rel=1e-8, abs=1e-7)
    assert loss.yields[0] == "mu"


def test_events_are_rows_of_the_reference(pdfs):
    zfit.settings.set_seed(3)
    sample = np.asarray(pdfs[0].sample(100).value())
    rows = np.stack([pdfs[0].reference.columns[name] for name in pdfs[0].obs], axis=1)
    assert sample.shape == (100, rows.shape[1])
    assert {tuple(row) for row in sample} <= {tuple(row) for row in rows}
    assert sample[:, 0].mean() > rows[:, 0].mean()  # signal is where g is large


def test_what_the_reference_cannot_give_is_refused(parameters, pdfs):
    structure, reference = TOY.structure(), TOY.reference(50, seed=1)
    with pytest.raises(InputError, match="which the reference is worth"):
        pdfs[0].sample(4000)
    again = RatioPDF(structure, "signal", parameters, reference, replace=True)
    assert again.sample(500).value().shape[0] == 500
    with pytest.raises(InputError, match="signal, background"):
        RatioPDF(structure, "top", parameters, reference)
    with pytest.raises(InputError, match="no smearing"):
        RatioPDF(structure, "signal", {k: v for k, v in parameters.items() if k != "smearing"}, reference)
