"""One regression test for each trap of zfit 0.28 that no other module's tests already meet."""

from __future__ import annotations

import models
import numpy as np
import pytest
import zfit

from hisigma_zfit.likelihood.columns import data_version
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.pdfs import FlowProductPDF


def test_trap_log_of_the_density_is_that_of_its_normalised_one():
    # zfit divides by the norm where its logarithm belongs, for every PDF that leaves its norm to zfit
    model = models.model()
    data = models.toy(model, seed=1)
    for pdf in (model, *model.pdfs):
        np.testing.assert_allclose(pdf.log_pdf(data), np.log(pdf.pdf(data)), rtol=1e-12, err_msg=pdf.name)


def test_trap_events_are_evaluated_together():
    # a conditional PDF of zfit maps over the events one by one, its product integrates over all observables
    flow, calls = models.signal_flow(), []
    evaluate = flow.log_prob

    def counted(x, m):
        calls.append(int(m.shape[0]))
        return evaluate(x, m)

    flow.log_prob = counted
    pdf = FlowProductPDF(models.peak(), flow)
    data = models.toy(models.model(n_sig=100.0, n_bkg=1900.0), seed=2)
    with zfit.run.set_graph_mode(False):
        pdf.pdf(data.with_obs(pdf.space))
    assert calls == [int(data.num_entries)]


def test_trap_every_resample_has_a_version_of_its_own():
    # zfit's own hash is taken modulo 4096: among 300 samples some agree, whatever the hash is
    rng = np.random.default_rng(5)
    obs = zfit.Space("x", 0, 1)
    plain = zfit.data.SamplerData.from_sampler(sample_func=lambda n, _: rng.random((int(n), 1)), n=3, obs=obs)
    versions = []
    for _ in range(300):
        plain.update_data(rng.random((3, 1)), guarantee_limits=True)
        versions.append(data_version(plain))
    assert len(set(versions)) == 300
    assert len({version % 4096 for version in versions}) < 300
    fixed = zfit.Data.from_numpy(obs=obs, array=rng.random((3, 1)))
    assert data_version(fixed) == data_version(fixed)


def test_trap_other_weights_have_a_version_of_their_own():
    obs, x = zfit.Space("x", 0, 1), np.array([[0.1], [0.2], [0.3]])
    weighted = zfit.data.SamplerData.from_sampler(
        sample_and_weights_func=lambda n, _: (x[: int(n)], np.ones(int(n))), n=3, obs=obs
    )
    first = data_version(weighted)
    weighted.update_data(x, weights=np.array([1.0, 2.0, 1.0]))
    assert data_version(weighted) != first
    weighted.update_data(x, weights=np.ones(3))
    assert data_version(weighted) == first


def test_trap_a_new_loss_takes_other_models_and_data():
    # hepstats asks a loss for its likes; zfit's SimpleLoss takes neither, ours is an unbinned likelihood
    model = models.model(n_sig=50.0, n_bkg=500.0)
    loss = ExtendedNLL(model, models.toy(model, seed=3))
    data = models.toy(model, seed=4)
    new = loss.create_new(data=data)
    assert type(new) is ExtendedNLL
    assert float(new.value()) == pytest.approx(float(ExtendedNLL(model, data).value()), rel=1e-12)
    assert float(new.value()) != float(loss.value())


def test_trap_an_extended_copy_keeps_the_order_of_the_observables():
    # create_extended takes the observables of the norm
    plain = FlowProductPDF(models.peak(), models.signal_flow())
    pdf = plain.copy(obs=plain.space.with_obs(["c", "a", "m", "d", "b"]))
    extended = pdf.create_extended(zfit.Parameter("n", 100.0))
    assert extended.obs == pdf.obs == ("c", "a", "m", "d", "b")
    x = np.array([[0.1, 0.2, 124.0, -0.3, 0.4], [0.0, 0.5, 126.0, 0.2, -0.1]])
    np.testing.assert_allclose(extended.pdf(x), pdf.pdf(x), rtol=1e-12)
