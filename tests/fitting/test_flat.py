"""Parameters that the data say nothing about, and combinations that they do not tell apart."""

from __future__ import annotations

import counting
import models
import numpy as np
import pytest
import zfit

from hisigma_zfit.errors import FitError
from hisigma_zfit.fitting.minimizer import fit
from hisigma_zfit.fitting.newton import Status
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.hypotests import interval
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.compose import compose
from hisigma_zfit.model.pdfs import FlowProductPDF


@pytest.fixture
def without_second():
    """A second background, with a shape of its own, whose yield is fixed at zero."""
    slope = zfit.Parameter("slope", -0.02)
    second = zfit.Parameter("n_second", 0.0)
    second.floating = False
    model = compose(
        [FlowProductPDF(models.peak(), models.signal_flow(), extended=zfit.Parameter("n_sig", 60.0), name="signal")],
        [
            FlowProductPDF(
                models.falling(), models.background_flow(), extended=zfit.Parameter("n_bkg", 3000.0, 0.0), name="first"
            ),
            FlowProductPDF(
                zfit.pdf.Exponential(slope, models.mass_space()),
                models.background_flow(),
                extended=second,
                name="second",
            ),
        ],
        poi=zfit.Parameter("unused", 1.0),
    )
    data = models.toy(models.model(n_sig=60.0, n_bkg=3000.0), seed=21)
    return ExtendedNLL(model, data), data


def test_a_parameter_without_effect_is_left_alone_with_an_error_of_nan(without_second, caplog):
    loss, data = without_second
    result = fit(loss)
    assert result.valid
    assert "nothing depends on slope" in caplog.text
    assert result.info["minimum"].status is Status.FLAT
    found = {p.name: v for p, v in result.params.items()}
    assert found["slope"]["value"] == -0.02
    assert np.isnan(found["slope"]["hesse"]["error"])
    # all others are what they are without it
    alone = {p.name: v for p, v in fit(ExtendedNLL(models.model(), data)).params.items()}
    for name, expected in alone.items():
        error = expected["hesse"]["error"]
        assert found[name]["value"] == pytest.approx(expected["value"], abs=0.01 * error)
        assert found[name]["hesse"]["error"] == pytest.approx(error, rel=1e-3)
    edges = interval(result, "n_sig")
    assert edges.lower < found["n_sig"]["value"] < edges.upper
    assert np.isnan(Profiler(loss, "slope").error)


def test_a_combination_that_is_not_determined_is_named():
    s, t, space = zfit.Parameter("s", 20.0), zfit.Parameter("t", 30.0), zfit.Space(*counting.SPACE)
    pdf = zfit.pdf.SumPDF([zfit.pdf.Uniform(0.0, 1.0, obs=space, extended=p) for p in (s, t)])
    with pytest.raises(FitError, match="do not determine s and t apart"):
        fit(ExtendedNLL(pdf, counting.observe(60.0)))
