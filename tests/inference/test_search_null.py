"""Retrained background-only experiments of a small search, and p-values from them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gumbel_r, norm
from untrained import REGION, random_flow

import hisigma_zfit as hz
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference import search_null
from hisigma_zfit.results.search import NullToys, SearchPValue

LIMITS = (90.0, 180.0)


@pytest.fixture(scope="module")
def found():
    background, rng = random_flow(2, members=1, strength=0.3), np.random.default_rng(1)
    m = LIMITS[0] - 60.0 * np.log1p(rng.random(4000) * np.expm1(-1.5))
    x = background.sample(m, seed=1)
    data = hz.Dataset.from_arrays({"m": m, **dict(zip(background.features, x.T, strict=True))})
    spectrum = hz.fit_spectrum(m, LIMITS, (REGION.lower, REGION.upper), degree=1)
    options = {"region": REGION, "folds": 2, "centres": 100, "seed": 1}
    return hz.find_signal(data, background, spectrum, **options), spectrum


def toys(found, folder=None, **options):
    return hz.null_toys(*found, **{"n": 2, "seed": 5, "preset": "quick", "checkpoint": folder} | options)


def test_toys_are_kept_and_begin_with_the_same(found, tmp_path, monkeypatch):
    first = toys(found, tmp_path / "toys")
    assert first.t.shape == (2,)
    assert np.all((first.t > 0) & (first.t < 200))
    monkeypatch.setattr(search_null, "_toy", lambda recipe, k: 100.0 + k)
    longer = toys(found, tmp_path / "toys", n=4)
    np.testing.assert_array_equal(longer.t, [*first.t, 102.0, 103.0])
    with pytest.raises(InputError, match="toys of the same background"):
        toys(found, tmp_path / "toys", seed=6)
    assert NullToys.from_json(longer.to_json()).t.tolist() == longer.t.tolist()
    with pytest.raises(InputError, match="n >= 0"):
        toys(found, n=-1)


def test_p_values_count_and_extrapolate():
    t = gumbel_r(25.0, 4.0).rvs(200, random_state=3)
    null = NullToys(t=t, seed=1)
    p = hz.search_pvalue(30.0, null)
    assert p.p == (1 + np.sum(t >= 30.0)) / 201
    assert p.z == pytest.approx(norm.isf(p.p))
    assert p.p_extrapolated == pytest.approx(gumbel_r(25.0, 4.0).sf(30.0), rel=0.35)
    far = hz.search_pvalue(90.0, null)
    assert far.p == 1 / 201
    low, high = far.p_extrapolated_68
    assert low < far.p_extrapolated < high < 1e-4
    assert "extrapolated" in str(far)
    assert SearchPValue.from_json(far.to_json()).to_json() == far.to_json()


def test_no_extrapolation_from_few_toys_or_from_others():
    few = hz.search_pvalue(50.0, NullToys(t=np.arange(10.0), seed=1))
    assert np.isnan(few.p_extrapolated)
    assert "no extrapolation" in str(few)
    two_lumps = np.concatenate([norm(10, 0.1).rvs(100, random_state=1), norm(40, 0.1).rvs(100, random_state=2)])
    assert np.isnan(hz.search_pvalue(50.0, NullToys(t=two_lumps, seed=1)).p_extrapolated)
    with pytest.raises(InputError, match="expected toys"):
        hz.search_pvalue(50.0, NullToys(t=np.empty(0), seed=1))
