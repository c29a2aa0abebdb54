"""Names of hepstats that are not its public interface: one test each, which says what a new version changed."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from pathlib import Path

import models
import pytest
from hepstats.hypotests.calculators import AsymptoticCalculator, FrequentistCalculator
from hepstats.hypotests.parameters import POI, POIarray

import hisigma_zfit as hz
from hisigma_zfit.fitting.minimizer import Newton
from hisigma_zfit.inference import hepstats_internals

PACKAGE = Path(hz.__file__).parent

OPTIONS = {"qtilde", "onesided", "onesideddiscovery"}
HOOKS = [
    (AsymptoticCalculator, "_pvalue_", {"poinull", "poialt"} | OPTIONS),
    (FrequentistCalculator, "_pvalue_", {"poinull", "poialt"} | OPTIONS),
    (FrequentistCalculator, "_expected_pvalue_", {"poinull", "poialt", "nsigma", "CLs"} | OPTIONS),
]


@pytest.mark.parametrize(
    ("owner", "name", "arguments"), HOOKS, ids=[f"{owner.__name__}{name}" for owner, name, _ in HOOKS]
)
def test_hepstats_has_the_method(owner, name, arguments):
    where = f"hepstats {version('hepstats')}: {owner.__name__}.{name}"
    mend = "mend hisigma_zfit/inference/hepstats_internals.py"
    assert callable(getattr(owner, name, None)), f"{where} is gone; {mend}"
    there = set(inspect.signature(getattr(owner, name)).parameters) - {"self"}
    assert there == arguments, f"{where} takes {there}, not {arguments}; {mend}"


@pytest.mark.parametrize("name", ["_pvalue_", "_expected_pvalue_"])
def test_the_name_stands_in_one_file(name):
    assert [p.name for p in PACKAGE.rglob("*.py") if f" {name}(" in p.read_text()] == ["hepstats_internals.py"]


class Asymptotic(hepstats_internals.OpenAsymptotic):
    """Answers with what it was asked."""

    def null_and_alternative(self, poinull, poialt, *, qtilde, onesided, onesideddiscovery):
        return (poinull.values, poialt and poialt.value), (qtilde, onesided, onesideddiscovery)


class Frequentist(hepstats_internals.OpenFrequentist):
    """The same for both kinds of p-values."""

    def null_and_alternative(self, poinull, poialt, *, qtilde, onesided, onesideddiscovery):
        return (poinull.values, poialt and poialt.value), (qtilde, onesided, onesideddiscovery)

    def expected(self, poinull, poialt, nsigma, *, cls, qtilde, onesided, onesideddiscovery):
        return [poinull.values, poialt.value, nsigma, cls, (qtilde, onesided, onesideddiscovery)]


@pytest.fixture(scope="module")
def loss():
    model = models.model(n_sig=50.0, n_bkg=500.0)
    return hz.ExtendedNLL(model, models.toy(model, seed=1))


@pytest.mark.parametrize("kind", [Asymptotic, Frequentist])
def test_hepstats_asks_for_both_p_values(loss, kind):
    calculator = kind(loss, Newton())
    poi = next(p for p in loss.parameters if p.name == "n_sig")
    null, alternative = POIarray(poi, [1.0, 2.0]), POI(poi, 0.0)
    (values, other), options = calculator.pvalue(null, alternative, qtilde=True, onesided=False)
    assert values.tolist() == [1.0, 2.0]
    assert (other, options) == (0.0, (True, False, False))


def test_hepstats_asks_for_expected_p_values(loss):
    calculator = Frequentist(loss, Newton())
    poi = next(p for p in loss.parameters if p.name == "n_sig")
    null, alternative = POIarray(poi, [1.0, 2.0]), POI(poi, 0.0)
    values, other, nsigma, cls, options = calculator.expected_pvalue(null, alternative, [0, 1], CLs=True)
    assert values.tolist() == [1.0, 2.0]
    assert (other, nsigma, cls, options) == (0.0, [0, 1], True, (False, True, False))
