from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import kstest

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.preprocess import FeatureTransform, MarginalCDF, Support

RNG = np.random.default_rng(20250607)
N = 20_000
SHAPES = {
    "step": RNG.random(N),
    "exponential": 30 + 20 * RNG.exponential(size=N),
    "mirrored": -RNG.exponential(size=N),
    "normal": RNG.normal(size=N),
    "ramp": np.sqrt(RNG.random(N)),
    "cubic": RNG.random(N) ** 0.25,
    "two edges": np.clip(0.4 + 4.6 * RNG.beta(1, 1.05, size=N), 0.4, 5.0),
    "heavy": RNG.standard_t(3, size=N),
    "float32": RNG.gamma(2.0, size=N).astype(np.float32).astype(np.float64),
}


def make(names=tuple(SHAPES), limits=None, weights=None):
    x = np.stack([SHAPES[name] for name in names], axis=1)
    declared = limits or {}
    supports = [Support.infer(SHAPES[k], name=k, limits=declared.get(k, (-np.inf, np.inf))) for k in names]
    return FeatureTransform.fit(x, names, supports=supports, weights=weights), x


def test_round_trip():
    transform, x = make()
    u, _ = transform.forward(x)
    assert u.min() >= 0
    assert u.max() <= 1
    scale = x.std(axis=0)
    # near u = 1 on an open side float64 cannot hold the distance to 1: compare where it can
    bulk = u < 1 - 1e-5
    assert np.abs((transform.inverse(u) - x) / scale)[bulk].max() < 1e-10
    assert bulk.mean() > 0.999
    u_back, _ = transform.forward(transform.inverse(u))
    np.testing.assert_allclose(u_back, u, atol=1e-13)


def test_jacobian_against_finite_differences():
    transform, x = make()
    x = x[:2000]
    inner = np.clip(x, np.quantile(x, 0.002, axis=0), np.quantile(x, 0.998, axis=0))
    step = 1e-6 * x.std(axis=0)
    for j in range(x.shape[1]):
        h = step * (np.arange(x.shape[1]) == j)
        slope = (transform.forward(inner + h)[0] - transform.forward(inner - h)[0])[:, j] / (2 * step[j])
        # the log-Jacobian is a sum over features: take the others' part from a second transform
        only = FeatureTransform((transform.features[j],), (transform.marginals[j],))
        np.testing.assert_allclose(np.log(slope), only.forward(inner[:, [j]])[1], atol=2e-4)
    each = [FeatureTransform((transform.features[j],), (transform.marginals[j],)) for j in range(x.shape[1])]
    total = sum(t.forward(x[:, [j]])[1] for j, t in enumerate(each))
    np.testing.assert_allclose(transform.forward(x)[1], total, atol=1e-12)


@pytest.mark.parametrize("name", SHAPES)
def test_density_is_positive_finite_and_integrates_to_one(name):
    transform, x = make((name,))
    limits = transform.marginals[0].limits
    spread = x.max() - x.min()
    low, high = np.maximum(limits[0], x.min() - 3 * spread), np.minimum(limits[1], x.max() + 3 * spread)
    grid = np.union1d(np.linspace(low, high, 400_001), transform.marginals[0].knots)
    log_density = transform.forward(grid[:, None])[1]
    assert np.isfinite(log_density).all()
    density = np.exp(log_density)
    middle = np.exp(transform.forward(0.5 * (grid[1:] + grid[:-1])[:, None])[1])
    simpson = np.sum(np.diff(grid) * (density[1:] + density[:-1] + 4 * middle)) / 6
    assert simpson == pytest.approx(1, abs=1e-6)


@pytest.mark.statistical
@pytest.mark.parametrize("name", SHAPES)
def test_marginal_is_uniform_on_the_cube(name):
    # fitted to the same events: smaller than a free KS distance, so that p < 1e-6 has a lower false-alarm rate
    transform, x = make((name,))
    assert kstest(transform.forward(x)[0][:, 0], "uniform").pvalue > 1e-6


EXPECTED = {
    "step": ((False, False), (0, 1)),
    "exponential": ((False, True), (30, np.inf)),
    "mirrored": ((True, False), (-np.inf, 0)),
    "normal": ((True, True), (-np.inf, np.inf)),
    "cubic": ((True, False), (-np.inf, 1)),
    "two edges": ((False, False), (0.4, 5.0)),
    "heavy": ((True, True), (-np.inf, np.inf)),
}


@pytest.mark.statistical
@pytest.mark.parametrize("name", EXPECTED)
def test_domain_rule(name):
    # with 200 outer events a step is 4.9 standard deviations from the threshold (5e-7), an exponential falls below it
    # with probability (1 - exp(-2.5))^200 = 4e-8
    support = Support.infer(SHAPES[name], name=name)
    tails, edges = EXPECTED[name]
    assert (support.lower_tail, support.upper_tail) == tails
    for found, true in zip((support.lower, support.upper), edges, strict=True):
        if np.isfinite(true):
            # three mean gaps outside the outermost event, which is one gap inside
            assert abs(found - true) < 15 / N * np.ptp(SHAPES[name])
        else:
            assert found == true
    assert support.lower < SHAPES[name].min()
    assert support.upper > SHAPES[name].max()


def test_declared_edge_that_the_data_reach_is_a_face_of_the_cube():
    transform, _ = make(("step",), limits={"step": (0.0, 1.0)})
    assert transform.marginals[0].limits == (0.0, 1.0)
    assert transform.marginals[0].scales == (0.0, 0.0)
    np.testing.assert_array_equal(transform.forward([[0.0], [1.0]])[0], [[0.0], [1.0]])
    np.testing.assert_array_equal(transform.inside([[-1e-12], [0.0], [1.0], [1 + 1e-12], [np.nan]]), [0, 1, 1, 0, 0])


def test_tail_ends_at_a_distant_declared_limit():
    transform, x = make(("exponential",), limits={"exponential": (30.0, 600.0)})
    marginal = transform.marginals[0]
    assert marginal.limits == (30.0, 600.0)
    assert marginal.scales[1] == pytest.approx(20, rel=0.5)  # from 26 events, which know it to 20 %
    u, log_density = transform.forward([[600.0], [600.1], [29.9], [x.max()]])
    assert u[0, 0] == pytest.approx(1, abs=1e-15)
    assert np.isfinite(log_density[[0, 3]]).all()
    assert (log_density[1:3] == -np.inf).all()


def test_outside_is_minus_infinity_and_stays_on_the_cube():
    transform, _ = make(("step", "normal"))
    u, log_density = transform.forward([[-1.0, 0.0], [0.5, np.nan], [0.5, np.inf], [2.0, 1e300], [0.5, 0.0]])
    assert (log_density[:4] == -np.inf).all()
    assert np.isfinite(log_density[4])
    assert ((u >= 0) & (u <= 1)).all()
    np.testing.assert_array_equal(transform.inside([[-1.0, 0.0], [0.5, np.nan], [0.5, 0.0]]), [False, False, True])


def test_integer_weights_are_repeated_events():
    x = SHAPES["normal"]
    support = Support.infer(x, name="x")
    counts = np.random.default_rng(3).poisson(1.0, size=len(x))
    weighted = MarginalCDF.fit(x, support, weights=counts.astype(float))
    repeated = MarginalCDF.fit(np.repeat(x, counts), support)
    # equal up to where, between two repetitions of a value, the mid-point convention puts the level
    np.testing.assert_allclose(weighted.knots[3:-3], repeated.knots[3:-3], atol=0.01)
    assert weighted.limits == repeated.limits
    original = MarginalCDF.fit(x, support)
    assert np.abs(weighted.knots - original.knots).max() > 1e-3


def test_json_round_trip_is_identical():
    transform, x = make()
    again = FeatureTransform.from_json(json.loads(json.dumps(transform.to_json(), allow_nan=False)))
    assert again.features == transform.features
    for a, b in zip(again.forward(x), transform.forward(x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_rounded_values_merge_knots_instead_of_failing():
    x = np.round(np.random.default_rng(5).normal(size=N), 2)
    marginal = MarginalCDF.fit(x, Support.infer(x, name="x"))
    assert (np.diff(marginal.knots) > 0).all()
    assert (np.diff(marginal.levels) > 0).all()
    assert (marginal.slopes > 0).all()


def test_few_events_have_fewer_refinements():
    x = np.random.default_rng(6).random(200)
    assert len(MarginalCDF.fit(x, Support.infer(x, name="x")).knots) < len(make(("step",))[0].marginals[0].knots)


@pytest.mark.parametrize(
    ("values", "limits", "message"),
    [
        (np.full(1000, 3.0), (-np.inf, np.inf), "in every event"),
        (np.arange(1000.0) % 7, (-np.inf, np.inf), "one value in"),
        (np.concatenate([np.zeros(50), RNG.random(950)]), (-np.inf, np.inf), "one value in 5.0 %"),
        (np.append(RNG.random(999), np.nan), (-np.inf, np.inf), "1 NaN"),
        (RNG.random(1000), (0.0, 0.5), "events outside"),
        (RNG.random(10), (-np.inf, np.inf), "48 or more events"),
    ],
)
def test_bad_columns_are_refused_with_their_name(values, limits, message):
    with pytest.raises(InputError, match=message) as caught:
        Support.infer(values, name="pt_bb", limits=limits)
    assert "pt_bb" in str(caught.value)
    assert "\n" not in str(caught.value)
