"""Kinds of features in words, what they find in events, and the map to places that follows from them."""

import json

import numpy as np
import pytest
from kinded_world import KINDS, NAMES, World

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.circles import binned, spline_shares
from hisigma_zfit.learn.dependence import require_independent
from hisigma_zfit.learn.kinded_transform import (
    ATOM,
    KindedTransform,
    dequantised,
    fit_transform,
    infer_support,
    on_circle,
    transform_from_json,
)
from hisigma_zfit.learn.kinds import FeatureKind, advice, resolve_kinds
from hisigma_zfit.learn.preprocess import FeatureTransform

N = 4000
X = World(0.0).sample(np.full(N, 125.0), seed=1)


@pytest.fixture(scope="module")
def transform():
    return made(X, KINDS)


def made(x, words, weights=None):
    found = resolve_kinds(words, NAMES, [dict(zip(NAMES, x.T, strict=True))])
    kinds = tuple(found.get(name) for name in NAMES)
    columns = zip(x.T, NAMES, kinds, strict=True)
    supports = [infer_support(values, name=name, kind=kind) for values, name, kind in columns]
    return fit_transform(
        x, NAMES, supports=supports, weights=np.ones(len(x)) if weights is None else weights, kinds=kinds
    )


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("integer", FeatureKind(continuous=False, whole=True)),
        ("integer:-1:2", FeatureKind((-1.0, 0.0, 1.0, 2.0), continuous=False)),
        ("values:4,0,0.5", FeatureKind((0.0, 0.5, 4.0), continuous=False)),
        ("spike:0,-999", FeatureKind((-999.0, 0.0))),
        ("periodic", FeatureKind(circle=(-np.inf, np.inf))),
        ("periodic:0:360 + spike:-9", FeatureKind((-9.0,), circle=(0.0, 360.0))),
    ],
)
def test_kinds_are_read_and_written_in_words(words, kind):
    assert FeatureKind.parse(words, name="f") == kind
    assert FeatureKind.parse(str(kind), name="f") == kind


@pytest.mark.parametrize(
    "words",
    ["", "whole", "integer:3", "integer:3:3", "integer:0:99", "integer+spike:0", "values:1", "spike:", "spike:nan",
     "spike:1,1", "periodic:1:1", "periodic:0:inf", "periodic+integer", "periodic+periodic"],
)  # fmt: skip
def test_words_that_mean_nothing_are_refused_in_one_line(words):
    with pytest.raises(InputError, match="a kind of n_jets such as integer") as caught:
        FeatureKind.parse(words, name="n_jets")
    assert "\n" not in str(caught.value)


def test_what_is_not_stated_is_found_in_all_samples_together():
    samples = [{"n": np.array([2.0, 4.0]), "phi": np.array([0.1, 6.0])}, {"n": np.array([7.0]), "phi": np.ones(1)}]
    found = resolve_kinds({"n": "integer", "phi": "periodic"}, ("n", "phi"), samples)
    assert found["n"].atoms == (2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    assert found["phi"].circle == (0.0, 2 * np.pi)
    with pytest.raises(InputError, match="kinds of n, phi, got one of m"):
        resolve_kinds({"m": "integer"}, ("n", "phi"), samples)


@pytest.mark.parametrize(
    ("words", "values", "message"),
    [
        ("integer", [0.0, 1.0, 1.5], "whole numbers of f, got 1.5"),
        ("integer", [0.0, 100.0], "up to 64 whole numbers of f, got 0 to 100"),
        ("integer:0:2", [0.0, 1.0, 3.0], "f among 0, 1, 2, got 1 of 3 events with another value, such as 3"),
        ("integer:0:2", [1.0, 1.0], "a feature f that varies, got 1 in every event"),
        ("periodic", [-9.0, 1.0], "f from -pi to pi or from 0 to 2 pi, got -9 to 1"),
        ("periodic:0:360", [1.0, 359.0, 361.0], r"f in \[0, 360\], got 1 of 3 events outside"),
        ("periodic", [0.01, 1.0, 3.13], "the ends of a folded angle are two points"),
    ],
)
def test_values_of_another_kind_are_refused(words, values, message):
    values = np.array(values)
    with pytest.raises(InputError, match=message):
        infer_support(values, name="f", kind=FeatureKind.parse(words, name="f").resolved(values, name="f"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (X[:, 1], "integer"),
        (np.repeat([0.0, 0.5, 2.0], 100), "values:0,0.5,2"),
        (np.append(np.linspace(30.0, 90.0, 900), np.full(100, -999.0)), "spike:-999"),
    ],
)
def test_a_column_that_is_not_continuous_is_refused_with_the_kind_to_state(values, words):
    assert advice(values) == words
    with pytest.raises(InputError, match=f"--kind f={words}"):
        infer_support(values, name="f")


def test_places_and_back(transform):
    assert isinstance(transform, KindedTransform)
    places, log_jacobian = transform.forward(X)
    np.testing.assert_array_equal(places[:, 1], ATOM + X[:, 1])
    np.testing.assert_array_equal(places[:, 2] == ATOM, X[:, 2] == 0)
    at = places >= ATOM
    assert ((places[~at] >= 0) & (places[~at] <= 1)).all()
    # what is beside the atoms is uniform, whatever the share of the atoms
    for j in (0, 2):
        np.testing.assert_allclose(np.sort(places[~at[:, j], j]), np.linspace(0, 1, (~at[:, j]).sum()), atol=0.02)
    # the coordinate of an angle leaves half of its length to the angle itself
    order = np.argsort(X[~at[:, 3], 3])
    angle, place = X[~at[:, 3], 3][order], places[~at[:, 3], 3][order]
    expected = 0.5 * np.linspace(0, 1, len(angle)) + 0.5 * (angle / (2 * np.pi) + 0.5)
    np.testing.assert_allclose(place, expected, atol=0.02)
    back = transform.inverse(places)
    np.testing.assert_array_equal(back[at], X[at])
    np.testing.assert_allclose(back, X, rtol=1e-9, atol=1e-9)
    assert np.isfinite(log_jacobian).all()
    np.testing.assert_array_equal(transform.inside(X), np.full(N, True))


def test_log_jacobian_is_the_slope_of_the_places_beside_atoms_and_nothing_at_them(transform):
    x = X[(X[:, 2] > 0) & (np.abs(X[:, 3]) < 3.1)][:50]
    step = 1e-6
    slopes = []
    for j in (0, 2, 3):
        up, down = x.copy(), x.copy()
        up[:, j] += step
        down[:, j] -= step
        slopes.append((transform.forward(up)[0][:, j] - transform.forward(down)[0][:, j]) / (2 * step))
    np.testing.assert_allclose(transform.forward(x)[1], np.log(slopes).sum(axis=0), atol=1e-3)
    at = x.copy()
    at[:, 2:] = 0.0, -9.0
    np.testing.assert_allclose(transform.forward(at)[1], np.log(slopes[0]), atol=1e-3)


def test_what_has_no_density_is_outside(transform):
    event = np.array([1.0, 2.0, 60.0, 0.5])
    outside = [(0, -1.0), (1, 6.0), (1, 1.5), (1, np.nan), (2, 1.0), (2, np.inf), (3, 4.0), (3, -9.5)]
    x = np.tile(event, (len(outside), 1))
    for row, (j, value) in zip(x, outside, strict=True):
        row[j] = value
    assert not transform.inside(x).any()
    assert transform.inside(event[None]).all()


def test_nothing_is_to_be_seen_where_a_circle_is_cut(transform):
    marginal = transform.smooth.marginals[3]
    assert marginal.slopes[0] == marginal.slopes[-1]
    # single precision has an angle of pi beyond pi
    ends = np.array([-np.pi, np.pi, np.float32(np.pi), -np.float32(np.pi)])
    x = np.tile([1.0, 2.0, 60.0, 0.0], (4, 1))
    x[:, 3] = ends
    places, log_jacobian = transform.forward(x)
    np.testing.assert_allclose(np.cos(2 * np.pi * places[:, 3]), 1.0, atol=1e-9)
    np.testing.assert_allclose(log_jacobian, log_jacobian[0], atol=1e-5)


def narrow(n=N, seed=4):
    """Angles around pi that never come near 0."""
    angle = np.pi + np.random.default_rng(seed).vonmises(0.0, 20.0, n)
    return (angle + np.pi) % (2 * np.pi) - np.pi


def test_a_circle_is_cut_where_no_event_is_and_nowhere_else():
    angle, kind = narrow(), FeatureKind.parse(f"periodic:{-np.pi!r}:{np.pi!r}", name="f")
    assert kind.circle is not None
    support = infer_support(angle, name="f", kind=kind)
    assert abs(support.lower) < 0.3
    assert support.upper - support.lower == pytest.approx(2 * np.pi)
    assert support.lower_tail
    assert support.upper_tail
    assert not on_circle(kind, support)
    found = fit_transform(angle[:, None], ("f",), supports=(support,), weights=np.ones(N), kinds=(kind,))
    again = transform_from_json(json.loads(json.dumps(found.to_json())))
    for transform in (found, again):
        places = transform.forward(angle[:, None])[0]
        np.testing.assert_allclose(np.sort(places[:, 0]), np.linspace(0, 1, N), atol=0.02)
        np.testing.assert_allclose(transform.inverse(places)[:, 0], angle, atol=1e-6)
        np.testing.assert_array_equal(transform.inside([[-3.2], [-3.1], [3.1], [3.2]]), [False, True, True, False])
        np.testing.assert_array_equal(transform.tables.limits, [[-np.pi, np.pi]])
    # as many angles all around as make a fiftieth of the uniform density are enough not to
    around = np.random.default_rng(5).uniform(-np.pi, np.pi, N // 10)
    support = infer_support(np.append(angle, around), name="f", kind=kind)
    assert on_circle(kind, support)


def test_shares_of_splines_are_the_likeliest():
    rng = np.random.default_rng(6)
    truth = np.array([0.3, 0.1, 0.05, 0.05, 0.2, 0.3])
    places = (rng.choice(6, p=truth, size=20_000) + rng.dirichlet(np.ones(5), 20_000) @ np.arange(-2, 3)) / 6 % 1.0
    events = binned(places, np.full(20_000, 3.0))
    assert events.sum() == pytest.approx(20_000)
    np.testing.assert_allclose(spline_shares(events, 6), truth, atol=0.05)


def test_atoms_are_found_in_single_precision():
    x = np.tile([[0.1], [0.7]], (50, 1)).astype(np.float32).astype(np.float64)
    kind = FeatureKind.parse("values:0.1,0.7", name="f")
    support = infer_support(x[:, 0], name="f", kind=kind)
    found = fit_transform(x, ("f",), supports=(support,), weights=np.ones(100), kinds=(kind,))
    np.testing.assert_array_equal(np.unique(found.forward(x)[0]), [ATOM, ATOM + 1])


def test_shares_are_those_of_the_weights_and_never_zero():
    words = KINDS | {"n": "integer:0:7"}
    weights = np.random.default_rng(2).exponential(size=N)
    found = made(X, words, weights)
    none, *shares = found.shares[1]
    assert none == 0.0
    assert sum(shares) == pytest.approx(1.0)
    events = weights.sum() ** 2 / np.sum(weights**2)
    seen = weights[X[:, 1] == 1].sum() / weights.sum()
    assert shares[1] == pytest.approx((events * seen + 0.5) / (events + 4.0))
    assert shares[7] == pytest.approx(0.5 / (events + 4.0))
    assert found.shares[0] == ()
    assert found.shares[2][0] + found.shares[2][1] == pytest.approx(1.0)


def test_transforms_survive_json(transform):
    again = transform_from_json(transform.to_json())
    assert isinstance(again, KindedTransform)
    assert (again.kinds, again.shares, again.features) == (transform.kinds, transform.shares, transform.features)
    np.testing.assert_array_equal(again.forward(X)[0], transform.forward(X)[0])
    plain = transform_from_json(transform.smooth.to_json())
    assert isinstance(plain, FeatureTransform)


def test_atoms_that_come_together_are_no_function_but_a_copied_column_is():
    kinds = tuple(FeatureKind.parse(KINDS[name], name=name) if name in KINDS else None for name in NAMES)
    m = np.random.default_rng(3).uniform(100, 150, N)
    require_independent(dequantised(X, kinds), m, NAMES, "m")
    copied = np.column_stack([X[:, :2], np.exp(X[:, 0])])
    with pytest.raises(InputError, match="functions of each other"):
        require_independent(dequantised(copied, (None, kinds[1], None)), m, ("x", "n", "y"), "m")
