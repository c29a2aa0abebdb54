"""Closure of ratios whose exact form is known: errors of paired samples, and tables of what does not close."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shifted_gaussian as toy

from hisigma_zfit.errors import InputError
from hisigma_zfit.ratio.closure import close_ratio, ratio_normalisation
from hisigma_zfit.results.ratio_closure import RatioClosure, RatioNormalisation

EDGES = np.array([-1.0, 0.0, 1.0])
NAMES = {"region": "U", "points": [str(tuple(p)) for p in toy.POINTS], "features": ("u", "v")}


def _scaled_exact(size):
    def evaluate(rows, inside):
        x = rows.x[inside]
        return (size * toy.exact(x)).astype(np.float32), x[:, 0].astype(np.float64)

    return evaluate


def _close(nominal, size, shifted=None):
    shifted = toy.design(nominal) if shifted is None else shifted
    return close_ratio(nominal, shifted, toy.VALUES, _scaled_exact(size), cell=0, edges=EDGES, bins=6, **NAMES)


@pytest.fixture(scope="module")
def nominal():
    return toy.rows(5000, seed=8, events=3000)


@pytest.mark.statistical
def test_exact_ratios_close_within_their_errors():
    """chi2 of 40 samples at one point each, 4 bins: the sum of 160 degrees of freedom, outside by chance in 6e-6."""
    chi2, ndf = 0.0, 0.0
    for seed in range(40):
        nominal = toy.rows(1500, seed=100 + seed, events=900)
        one = [toy.shifted(nominal, toy.POINTS[3])]
        arguments = {"cell": 0, "edges": EDGES, "bins": 4, "region": "U", "points": ("p",), "features": ("u", "v")}
        closure = close_ratio(nominal, one, toy.VALUES[3:4], _scaled_exact(1.0), **arguments)
        chi2, ndf = chi2 + closure.score.chi2.sum(), ndf + closure.score.ndf.sum()
    assert ndf == 160
    assert abs(chi2 - ndf) < 4.5 * np.sqrt(2.0 * ndf)


def test_ratios_that_are_too_weak_do_not_close(nominal):
    closed, weak = _close(nominal, 1.0), _close(nominal, 0.5)
    assert weak.score.chi2_ndf > 3.0 * closed.score.chi2_ndf
    assert weak.residual_over_variation == pytest.approx(0.5, abs=0.1)
    assert closed.residual_over_variation < 0.3
    assert weak.features[0].chi2_ndf > 3.0 * closed.features[0].chi2_ndf
    assert _close(nominal, 0.0).residual_over_variation == 1.0


def test_errors_are_those_of_hard_events_that_both_samples_share(nominal):
    own = toy.shifted(nominal, toy.POINTS[2])
    closure = _close(nominal, 1.0)
    ratio = np.exp(toy.exact(nominal.x) @ toy.VALUES[2])
    table = np.zeros((3000, 4))
    for x, w in ((own.x, own.weights), (nominal.x, -nominal.weights * ratio)):
        np.add.at(table, (nominal.event, np.searchsorted(EDGES, x[:, 0].astype(np.float64), side="right")), w)
    assert closure.score.error[2] == pytest.approx(np.sqrt(np.sum(table**2, axis=0)), rel=1e-4)
    assert closure.rate_error[2] == pytest.approx(np.sqrt(np.sum(table.sum(axis=1) ** 2)), rel=1e-4)
    # without identities the errors are those of two independent samples
    alone = [replace(s, row=np.full(len(s.row), -1)) for s in toy.design(nominal)]
    assert np.all(_close(nominal, 1.0, alone).score.error[2] > 2.0 * closure.score.error[2])
    known = [replace(s, event=nominal.event) for s in alone]
    assert np.array_equal(_close(nominal, 1.0, known).score.error, closure.score.error)


def test_inverse_closure_swaps_the_samples(nominal):
    closure = _close(nominal, 1.0)
    own = toy.shifted(nominal, toy.POINTS[2])
    which = np.searchsorted(EDGES, own.x[:, 0].astype(np.float64), side="right")
    back = own.weights * np.exp(-toy.exact(own.x) @ toy.VALUES[2])
    assert closure.inverse.predicted[2] == pytest.approx(np.bincount(which, weights=back), rel=1e-5)
    assert closure.inverse.target[2] == pytest.approx(closure.score.start[2])
    assert closure.inverse.start[2] == pytest.approx(closure.score.target[2])


def test_closure_survives_json(nominal):
    closure = _close(nominal, 1.0)
    again = RatioClosure.from_json(closure.to_json())
    assert again.score.chi2_ndf == closure.score.chi2_ndf
    assert again.features[1].name == "v"
    assert again.features[1].start.shape == (10, 6)
    assert again.features[1].edges.tolist() == closure.features[1].edges.tolist()
    assert again.features[1].edges[[0, -1]] == pytest.approx([nominal.x[:, 1].min(), nominal.x[:, 1].max()])


def test_features_of_few_values_have_fewer_bins(nominal):
    flags = replace(nominal, x=np.sign(nominal.x))
    closure = close_ratio(
        flags, toy.design(flags), toy.VALUES, _scaled_exact(0.0), cell=0, edges=EDGES, bins=6, **NAMES
    )
    assert closure.features[0].edges.tolist() == [-1.0, 1.0, 2.0]
    assert np.all(closure.features[0].start > 0.0)


def test_names_must_fit(nominal):
    shifted, names = toy.design(nominal), NAMES | {"features": ("u",)}
    with pytest.raises(InputError, match="a name for each point"):
        close_ratio(nominal, shifted, toy.VALUES, _scaled_exact(1.0), cell=0, edges=EDGES, **names)
    with pytest.raises(InputError, match="0 rows"):
        _close(replace(nominal, cell=nominal.cell - 1), 1.0)


def test_normalisation_compares_sums_with_rates():
    generator = np.random.default_rng(3)
    weights, posterior = generator.uniform(size=50), generator.dirichlet([1, 1], size=50)
    exponents = generator.normal(size=(50, 2, 3))
    values = generator.normal(size=(4, 3)) / 3.0
    by_hand = np.zeros((2, 4))
    for p, d in np.ndindex(2, 4):
        by_hand[p, d] = sum(weights[i] * posterior[i, p] * np.exp(exponents[i, p] @ values[d]) for i in range(50))
    names = {"processes": ("h", "z"), "region": "U", "points": tuple("abcd")}
    found = ratio_normalisation(weights, posterior, exponents, values, 2.0 * by_hand, **names)
    assert found.excess == pytest.approx(np.full((2, 4), -0.5))
    assert RatioNormalisation.from_json(found.to_json()).processes == ("h", "z")
    with pytest.raises(InputError, match="same model"):
        ratio_normalisation(weights, posterior, exponents, values, by_hand.T, **names)
