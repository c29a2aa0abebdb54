"""What a notebook shows of a model, its likelihood, its profiles and its pseudo-data."""

from __future__ import annotations

import counting
import models
import numpy as np
import pytest

from hisigma_zfit.baselines.template_fits import TemplateLikelihood
from hisigma_zfit.data import Dataset
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.toys.asimov import ImportanceSample


@pytest.fixture(scope="module")
def shown():
    model = models.model(n_sig=60.0, n_bkg=500.0)
    rng = np.random.default_rng(1)
    columns = {"m": rng.uniform(90, 180, 560)} | {name: rng.normal(size=560) for name in models.FEATURES}
    loss = ExtendedNLL(model, Dataset.from_arrays(columns))
    count = counting.counting(60.0, 50.0, sigma=5.0)
    s = next(p for p in count.parameters if p.name == "s")
    bins = TemplateLikelihood([s], np.ones((1, 2)) / 2, np.array([30.0, 40.0]))
    sample = ImportanceSample(count, events=200, seed=1)
    asimov = sample.asimov(count.theta())
    return {
        "model": model,
        "loss": loss,
        "count": count,
        "bins": bins,
        "sum": count + bins,
        "profile": Profiler(count, "s"),
        "joint": Profiler(count, ("s", "b")),
        "sample": sample,
        "asimov": asimov,
        "pseudo": asimov.likelihood,
        "pool": asimov.pool(),
    }


def test_one_line_says_what_it_is(shown):
    text = {name: repr(value) for name, value in shown.items()}
    assert all("\n" not in line and len(line) < 300 for line in text.values())
    assert text["model"].startswith("SignalPlusBackground(signal: n_sig = 60, background: n_bkg = 500; m, a, b, c, d;")
    assert text["loss"].startswith("ExtendedNLL(events=560, ")
    assert "n_bkg=500" in text["loss"]
    assert "peak_mu" not in text["loss"]  # it does not float
    assert "constraints=1" in text["count"]
    assert text["bins"] == "TemplateLikelihood(bins=2, events=70)"
    assert text["sum"] == f"{text['count']} + {text['bins']}"
    assert text["profile"] == "Profiler(s=10, error=9.22, profiled=1, held=0)"
    assert text["joint"].startswith("Profiler(s=10, b=50, ")
    assert text["asimov"].startswith("AsimovSet(events=")
    assert "expected=60" in text["asimov"]
    assert text["pool"].startswith("Pool(events=")


def test_a_notebook_has_a_table(shown):
    for name in ("model", "loss", "count", "bins", "sum", "profile", "joint", "asimov", "pseudo"):
        assert shown[name]._repr_html_().startswith("<table>"), name
    html = shown["model"]._repr_html_()
    for text in ("signal", "background", "n_bkg = 500", "ExpQuadratic", "mass-only"):
        assert text in html
    assert "9.22" in shown["profile"]._repr_html_()
