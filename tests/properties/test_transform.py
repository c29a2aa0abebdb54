"""The map of features to the unit cube, for any continuous distribution: a bijection with the Jacobian that it says."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hisigma_zfit.learn.preprocess import FeatureTransform, Support

SHAPES = {
    "box": lambda rng, n: rng.random(n),
    "falling": lambda rng, n: rng.exponential(size=n),
    "bell": lambda rng, n: rng.normal(size=n),
    "reversed": lambda rng, n: -rng.gamma(2.0, size=n),
    "two peaks": lambda rng, n: rng.normal(size=n) * 0.1 + rng.integers(0, 2, n),
    "long tails": lambda rng, n: rng.standard_t(2.0, size=n),
}


@st.composite
def samples(draw):
    """Two features of any shape, place and scale, and event weights or none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.sampled_from([100, 1000, 5000]))
    columns = []
    for _ in range(2):
        scale, place = 10.0 ** draw(st.integers(-3, 4)), draw(st.floats(-10, 10))
        columns.append(scale * (place + SHAPES[draw(st.sampled_from(sorted(SHAPES)))](rng, n)))
    return np.stack(columns, axis=1), rng.exponential(size=n) if draw(st.booleans()) else None


def fitted(sample):
    x, weights = sample
    supports = [Support.infer(column, name=name) for name, column in zip("ab", x.T, strict=True)]
    return x, FeatureTransform.fit(x, ("a", "b"), supports=supports, weights=weights)


@given(samples())
def test_forward_and_inverse_undo_each_other(sample):
    x, transform = fitted(sample)
    u, log_det = transform.forward(x)
    assert transform.inside(x).all()
    assert np.isfinite(log_det).all()
    assert ((u >= 0) & (u <= 1)).all()
    spread = np.ptp(x, axis=0)
    # far in a tail 1 - u has few digits left: what is between two numbers of the cube is lost
    well_inside = ((u > 1e-9) & (u < 1 - 1e-9)).all(axis=1)
    np.testing.assert_allclose((transform.inverse(u) / spread)[well_inside], (x / spread)[well_inside], atol=1e-6)
    grid = np.random.default_rng(1).random((200, 2))
    np.testing.assert_allclose(transform.forward(transform.inverse(grid))[0], grid, atol=1e-9)


@given(samples())
def test_the_map_rises(sample):
    x, transform = fitted(sample)
    ordered = np.sort(x, axis=0)
    u = transform.forward(ordered)[0]
    assert (np.diff(u, axis=0) >= 0).all()


@settings(max_examples=10)
@given(samples())
def test_the_jacobian_equals_the_slope(sample):
    x, transform = fitted(sample)
    points = transform.inverse(np.random.default_rng(2).uniform(0.01, 0.99, (50, 2)))
    h = 1e-6 * np.subtract(*np.quantile(x, [0.75, 0.25], axis=0))
    slopes = (transform.forward(points + h)[0] - transform.forward(points - h)[0]) / (2 * h)
    np.testing.assert_allclose(np.log(slopes).sum(axis=1), transform.forward(points)[1], atol=2e-3)


@given(samples())
def test_what_is_stored_is_the_same_map(sample):
    x, transform = fitted(sample)
    again = FeatureTransform.from_json(transform.to_json())
    np.testing.assert_array_equal(again.forward(x)[0], transform.forward(x)[0])
