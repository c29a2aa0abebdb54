"""Which jobs a validation consists of, and that each hangs on the seed and its own number alone."""

from __future__ import annotations

import numpy as np
import pytest

from hisigma_zfit.errors import InputError
from hisigma_zfit.validation.options import ValidateOptions
from hisigma_zfit.validation.plan import make_plan, place_windows

BASE = {
    "data": "data.root",
    "signal": "signal.root",
    "mass": "m",
    "range": (90, 180),
    "signal_region": (115, 135),
    "features": ["a", "b"],
}
MASSES = np.linspace(90.0, 179.9, 5000)


def options(**changes):
    return ValidateOptions.build(**BASE | changes)


@pytest.mark.parametrize("n", [2, 3, 4, 9])
@pytest.mark.parametrize(
    ("mass_range", "region"), [((90, 180), (115, 135)), ((2.6, 3.6), (2.95, 3.25)), ((0, 9), (1, 2))]
)
def test_windows_lie_apart_in_the_sidebands_with_trained_masses_around_each(n, mass_range, region):
    windows = place_windows(mass_range, region, n)
    assert len(windows) == n
    assert list(windows) == sorted(windows)
    edges = [mass_range[0], *(edge for window in windows for edge in window), mass_range[1]]
    inside = [k for k, window in enumerate(windows) if window[1] <= region[0]]
    edges[1 + 2 * len(inside) : 1 + 2 * len(inside)] = region
    gaps = np.diff(edges)[::2]
    assert np.all(np.diff(edges) > 0)  # so no window overlaps another one, or the signal region
    assert 0 < len(inside) < n
    for low, high in windows:
        assert high - low <= (region[1] - region[0]) * (1 + 1e-12)
    # trained masses as wide as an equal share of the sideband's rest
    assert gaps.min() > 0.04 * (mass_range[1] - mass_range[0]) / n


def test_windows_of_the_di_higgs_example():
    """By hand: L = 25 with one of 12.5, L = 45 with two of 15."""
    expected = [(96.25, 108.75), (140.0, 155.0), (160.0, 175.0)]
    np.testing.assert_allclose(place_windows((90, 180), (115, 135), 3), expected)


def test_the_default_plan_is_about_ten_measurements():
    plan = make_plan(options(), MASSES, leaks=True)
    assert [job.name for job in plan] == [
        *(f"window-{k:03d}" for k in range(3)),
        *(f"injection-{k:03d}" for k in range(4)),
        "contamination-000",
        "stability-seed",
        "stability-quick",
        "stability-paper",
    ]
    assert [job.strength for job in plan[3:7]] == [0.0, 0.0, 2.0, 5.0]
    seeds = [seed for job in plan[:7] for seed in (job.events_seed, job.training_seed)]
    assert len(set(seeds)) == 14


def test_jobs_are_compared_on_the_same_events():
    by_name = {job.name: job for job in make_plan(options(), MASSES, leaks=True)}
    clean = by_name["contamination-000"]
    dirty = by_name[clean.partner]
    assert (dirty.strength, dirty.clean, clean.clean) == (5.0, False, True)
    assert (clean.events_seed, clean.training_seed) == (dirty.events_seed, dirty.training_seed)
    for variant in ("seed", "quick", "paper"):
        job = by_name[f"stability-{variant}"]
        partner = by_name[job.partner]
        assert (job.window, job.events_seed) == (partner.window, partner.events_seed)
        assert (job.training_seed == partner.training_seed) == (variant != "seed")
    # the window with most events
    counts = {j.name: np.sum((j.window[0] <= MASSES) & (j.window[1] > MASSES)) for j in by_name.values() if j.window}
    assert counts[by_name["stability-seed"].partner] == max(counts.values())


def test_a_longer_validation_begins_with_the_shorter_one():
    short = {job.name: job for job in make_plan(options(), MASSES, leaks=True)}
    long = {job.name: job for job in make_plan(options(replicas=3, variants=["seed", "maf"]), MASSES, leaks=False)}
    assert sum(name.startswith("injection") for name in long) == 12
    for name, job in long.items():
        if name in short:
            assert job == short[name]
    other = {job.name: job for job in make_plan(options(seed=2), MASSES, leaks=True)}
    assert other["window-000"].events_seed != short["window-000"].events_seed


def test_what_would_be_the_same_is_left_out():
    names = [
        job.name
        for job in make_plan(options(preset="paper", variants=["paper", "spline", "quick"]), MASSES, leaks=False)
    ]
    assert [name for name in names if name.startswith("stability")] == ["stability-quick"]
    assert not [name for name in names if name.startswith("contamination")]
    assert not [job for job in make_plan(options(strengths=(0, 0)), MASSES, leaks=True) if job.kind == "contamination"]


def test_an_empty_window_is_refused_by_its_place():
    with pytest.raises(InputError, match=r"at least 20 events .* got 0 in \[160, 175\)"):
        make_plan(options(), MASSES[MASSES < 150], leaks=True)


CATEGORIES = {"categories": {"low": {"cut": "c < 1"}, "high": {"cut": "c >= 1", "features": ["a"]}}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"strengths": (0.0, -1.0)}, "from 0 to 100, got 0, -1"),
        ({"strengths": (1.0,)}, "strengths"),
        ({"variants": ["seed", "long"]}, "got 'long'"),
        ({"windows": 1}, "windows"),
        ({"category": "low"}, "without categories, got 'low'"),
        (CATEGORIES, "expected one of low, high, got 'none'"),
    ],
)
def test_wrong_options_are_one_line(changes, words):
    with pytest.raises(InputError, match=words):
        options(**changes).measured()


def test_the_measurement_that_is_tried_is_that_of_one_category_without_nuisances():
    settings = options(
        **CATEGORIES,
        category="high",
        yield_systematic={"lumi": 1.02},
        systematic={"jes": ("up.root", "down.root")},
        backgrounds={"VH": {"files": "vh.root", "expected": 380, "uncertainty": 0.2}},
    )
    measured = settings.measured()
    assert measured.features == ("a",)
    assert measured.cut == "c >= 1"
    assert measured.nuisances() == ()
    assert not measured.backgrounds
    assert not measured.categories
    assert len(settings.left_out()) == 3
    assert options().left_out() == ()
