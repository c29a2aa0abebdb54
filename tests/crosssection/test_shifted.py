"""The simulation at design points: common random numbers, migration, files, weights, several sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hisigma_zfit.crosssection.analysis import check_shift
from hisigma_zfit.crosssection.nuisances import ShapeNuisance
from hisigma_zfit.crosssection.regions import Cells, Counting, Unbinned
from hisigma_zfit.crosssection.samples import split_sample
from hisigma_zfit.crosssection.shifted import Shifter
from hisigma_zfit.crosssection.smearing import RowNumbers, occurrences, row_keys
from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import InputError
from hisigma_zfit.ratio.design import make_design
from hisigma_zfit.ratio.rates import fit_rates

REGIONS = (Unbinned("U", "pt > 60"), Counting("C", "else", {"pt": (20.0, 30.0, 60.0)}))
NAMES = ("signal", "background")


def shifter_of(world, *nuisances, scorer=None, regions=REGIONS):
    return Shifter(nuisances, world.recipe, Cells(regions, NAMES), scorer, seed=1)


def sample_of(process, held_back=0.0):
    return split_sample(process, seed=1, held_back=held_back, folds=2)[0]


def test_a_scale_moves_events_between_cells(world):
    shifter, sample = shifter_of(world, world.scale), sample_of(world.processes[1])
    placed, pt, w = shifter.nominal(sample), sample.columns["pt"], sample.weights
    moved = shifter.shifted(sample, (3.0,), placed)
    edges = [(60.0, np.inf), (20.0, 30.0), (30.0, 60.0)]
    for cell, (lower, upper) in enumerate(edges):
        inside = (1.06 * pt >= lower) & (1.06 * pt < upper) & (1.06 * pt > 20.0)
        assert moved.sums[cell] == pytest.approx(w[inside].sum())
        assert moved.squares[cell] == pytest.approx((w[inside] ** 2).sum())
    # rows are pairs: the shifted row is 1.06 of its nominal one, whether or not that was inside
    known = moved.row >= 0
    np.testing.assert_allclose(moved.x[known, 0], 1.06 * placed.rows.x[moved.row[known], 0], rtol=1e-6)
    assert (placed.rows.cell[moved.row[known]] != 0).any()
    np.testing.assert_array_equal(moved.fold[known], placed.rows.fold[moved.row[known]])
    np.testing.assert_array_equal(moved.event[known], placed.rows.event[moved.row[known]])
    assert moved.x.dtype == np.float32
    assert (moved.x[:, 0] > 60.0).all()
    # what the threshold drops at the nominal has no nominal row
    every = shifter_of(world, world.scale, regions=(Unbinned("U", "pt > 0"),))
    low = every.shifted(sample, (3.0,), every.nominal(sample))
    assert np.count_nonzero(low.row < 0) == np.count_nonzero((pt <= 20.0) & (1.06 * pt > 20.0))


def test_random_numbers_belong_to_rows(world):
    shifter, sample = shifter_of(world, world.smear), sample_of(world.processes[0])
    two, four = shifter.moved(sample, (2.0,), 0), shifter.moved(sample, (4.0,), 0)
    both = np.intersect1d(two.raw, four.raw)
    at_two = two.columns["pt"][np.searchsorted(two.raw, both)] - sample.columns["pt"][both]
    at_four = four.columns["pt"][np.searchsorted(four.raw, both)] - sample.columns["pt"][both]
    np.testing.assert_allclose(at_four, 2.0 * at_two, rtol=1e-9)
    other = shifter.moved(sample, (2.0,), 1)
    assert not np.array_equal(two.columns["pt"][:50], other.columns["pt"][:50])


def test_the_order_of_rows_changes_nothing(world):
    process = world.processes[0]
    events = process.events
    # siblings keep their order, by which they are told apart
    order = np.argsort(np.random.default_rng(1).permutation(events.identity.max() + 1)[events.identity], kind="stable")
    mixed = Dataset.from_arrays(
        {name: values[order] for name, values in events.columns.items()},
        events.weights[order],
        identity=events.identity[order],
    )
    shifter = shifter_of(world, world.scale, world.smear)
    found = []
    for own in (process, replace(process, events=mixed)):
        sample = sample_of(own, held_back=0.2)
        found.append(shifter.shifted(sample, (1.5, 2.5), shifter.nominal(sample)))
    np.testing.assert_allclose(found[0].sums, found[1].sums, rtol=1e-12)
    np.testing.assert_array_equal(np.sort(found[0].x[:, 0]), np.sort(found[1].x[:, 0]))


def test_several_sets_share_the_weight_of_a_row(world):
    three = replace(world.smear, sets=3)
    sample = sample_of(world.processes[0])
    shifter = shifter_of(world, three)
    placed = shifter.nominal(sample)
    moved = shifter.shifted(sample, (4.0,), placed)
    alone = shifter_of(world, world.smear).shifted(sample, (4.0,), placed)
    assert len(moved.row) > 2.9 * len(alone.row)
    assert moved.weights.sum() == pytest.approx(moved.sums[0])
    # within the noise of migration
    assert moved.sums == pytest.approx(alone.sums, rel=0.1)
    assert moved.squares == pytest.approx(alone.squares, rel=0.1)
    assert np.bincount(moved.row[moved.row >= 0]).max() == 3
    # other numbers than the design's are as many
    fresh = shifter.shifted(sample, (4.0,), placed, 7, 1)
    assert np.bincount(fresh.row[fresh.row >= 0]).max() == 3
    assert fresh.weights.sum() == pytest.approx(fresh.sums[0])
    assert not np.array_equal(fresh.x[:50], moved.x[:50])


@pytest.mark.statistical
def test_numbers_of_rows_are_normal_and_independent():
    """20,000 numbers, two axes: mean, width and correlation within 5 standard errors (false alarm 2e-6)."""
    numbers = RowNumbers(row_keys(np.arange(20_000) // 2), 1, "met", 0)
    x, y = numbers.standard_normal((2, 20_000))
    z = numbers.normal(3.0, 2.0, (20_000, 2))
    for values in (x, y, (z[:, 0] - 3.0) / 2.0):
        assert abs(values.mean()) < 5.0 / np.sqrt(20_000)
        assert abs(values.std() - 1.0) < 5.0 / np.sqrt(40_000)
    pairs = [(x, y), (x[0::2], x[1::2]), (x, z[:, 0])]
    assert all(abs(np.mean(a * b)) < 5.0 / np.sqrt(len(a)) for a, b in pairs)
    assert numbers.uniform(0.0, 1.0).min() > 0.0


def test_numbers_of_rows_refuse_what_they_are_not():
    numbers = RowNumbers(row_keys(np.arange(10)), 1, "met", 0)
    with pytest.raises(InputError, match="expected one of standard_normal, normal, random, uniform"):
        numbers.poisson(3.0)
    with pytest.raises(InputError, match="expected random numbers for 10 rows"):
        numbers.standard_normal(7)
    assert occurrences(np.array([5, 3, 5, 5, 3])).tolist() == [0, 0, 1, 2, 1]


def varied(process, factor, drop=()):
    keep = ~np.isin(np.arange(len(process.events)), drop)
    columns = {**process.events.columns, "pt": factor * process.events["pt"]}
    return Dataset.from_arrays(
        {name: values[keep] for name, values in columns.items()},
        process.events.weights[keep],
        identity=process.events.identity[keep],
    )


def test_files_alone_give_what_the_function_gives(world):
    function = replace(world.scale, points=(-1.0, 1.0))
    files = ShapeNuisance(
        "scale", files={s: {own.name: varied(own, 1.0 + 0.02 * s) for own in world.processes} for s in (-1.0, 1.0)}
    )
    for own in world.processes:
        sample = sample_of(own, held_back=0.1)
        results = []
        for nuisance in (function, files):
            shifter = shifter_of(world, nuisance)
            placed = shifter.nominal(sample)
            design = make_design([nuisance.axis()])
            rows = [shifter.shifted(sample, point, placed) for point in design.points]
            rates = fit_rates(
                placed.sums[None], np.array([r.sums for r in rows])[:, None], design, free=np.array([False, True, True])
            )
            results.append((rows, rates))
        for one, two in zip(results[0][0], results[1][0], strict=True):
            np.testing.assert_array_equal(one.row, two.row)
            np.testing.assert_array_equal(one.x, two.x)
            np.testing.assert_array_equal(one.fold, two.fold)
            np.testing.assert_allclose(one.sums, two.sums)
        np.testing.assert_allclose(results[0][1].slope, results[1][1].slope)


def test_rows_that_files_lack_or_add_are_told(world):
    process = world.processes[0]
    other = varied(process, 1.02, drop=np.arange(0, 300, 4))  # hard events of one row each, or the first of two
    extra = Dataset.from_arrays({"pt": [70.0], "phi": [0.0]}, [2.0], identity=[10**9])
    both = Dataset.from_arrays(
        {name: np.concatenate([other[name], extra[name]]) for name in ("pt", "phi")},
        np.concatenate([other.weights, extra.weights]),
        identity=np.concatenate([other.identity, extra.identity]),
    )
    nuisance = ShapeNuisance("scale", files={-1.0: {"signal": both}, 1.0: {"signal": both}})
    shifter, sample = shifter_of(world, nuisance), sample_of(process)
    moved = shifter.shifted(sample, (1.0,), shifter.nominal(sample))
    assert moved.row[moved.event == 10**9].tolist() == [-1]
    with pytest.raises(InputError, match=r"expected nuisance scale at one of -1, 1, got 0.5; files are known"):
        shifter.moved(sample, (0.5,), 0)


def test_weights_vary_without_moving_events(world):
    base = world.processes[0]
    up = base.events.weights * (1.0 + 0.1 * (base.events["pt"] > 60.0))
    events = base.events.with_columns(w_up=up, w_down=2.0 * base.events.weights - up)
    process = replace(base, events=events)
    nuisance = ShapeNuisance("pdf", weights={1.0: "w_up", -1.0: "w_down"})
    sample = sample_of(process, held_back=0.3)
    shifter = shifter_of(world, world.scale, nuisance)
    placed = shifter.nominal(sample)
    moved = shifter.shifted(sample, (0.0, 1.0), placed)
    assert moved.sums / placed.sums == pytest.approx([1.1, 1.0, 1.0])
    np.testing.assert_allclose(moved.weights, 1.1 * placed.rows.weights[moved.row])
    joint = shifter.shifted(sample, (1.0, 1.0), placed)
    only = shifter.shifted(sample, (1.0, 0.0), placed)
    assert joint.sums.sum() > only.sums.sum()
    with pytest.raises(InputError, match="weights are known there only"):
        shifter.moved(sample, (0.0, 0.5), 0)


def test_a_nuisance_leaves_processes_alone_that_it_does_not_act_on(world):
    nuisance = replace(world.scale, processes=("signal",))
    sample = sample_of(world.processes[1])
    shifter = shifter_of(world, nuisance)
    placed = shifter.nominal(sample)
    moved = shifter.shifted(sample, (3.0,), placed)
    np.testing.assert_array_equal(moved.sums, placed.sums)
    np.testing.assert_array_equal(moved.row, np.flatnonzero(placed.rows.cell == 0))


def test_regions_of_scores_see_shifted_features(world):
    """The score is a function of the features, so that the cells are those of shifted columns; fewer are scored."""
    asked = []

    def scorer(x, fold):
        asked.append(len(x))
        assert len(fold) == len(x)
        share = 1.0 / (1.0 + np.exp(-(x[:, 0] - 60.0) / 5.0))
        return np.stack([share, 1.0 - share], axis=1)

    regions = (Unbinned("U", "score.signal > 0.5"), REGIONS[1])
    sample = sample_of(world.processes[1])
    plain, scored = shifter_of(world, world.scale), shifter_of(world, world.scale, scorer=scorer, regions=regions)
    placed, point = scored.nominal(sample), (-3.0,)
    assert placed.near.sum() < 0.5 * len(sample.events)
    one, two = plain.shifted(sample, point, plain.nominal(sample)), scored.shifted(sample, point, placed)
    assert one.sums == pytest.approx(two.sums)
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.row, two.row)
    assert two.scores.shape == (len(two.row), 2)
    assert asked[1] < 0.5 * asked[0]
    with pytest.raises(InputError, match="expected scores for regions of scores"):
        shifter_of(world, world.scale, regions=regions)


def test_held_back_events_are_others_with_the_same_yield(world):
    used, held = split_sample(world.processes[0], seed=1, held_back=0.2, folds=3)
    assert not np.intersect1d(used.events.identity, held.events.identity).size
    assert len(used.events) + len(held.events) == len(world.processes[0].events)
    total = world.processes[0].events.weights.sum()
    assert [used.weights.sum(), held.weights.sum()] == pytest.approx([total, total])
    assert set(np.unique(used.fold)) == {0, 1, 2}
    siblings = np.flatnonzero(np.diff(used.events.identity) == 0)
    assert len(siblings)
    np.testing.assert_array_equal(used.fold[siblings], used.fold[siblings + 1])


def broken(columns, value):
    raise KeyError("met")


def in_place(columns, value):
    columns["pt"] *= 1.0 + value
    return dict(columns)


SHIFTS = [
    (lambda c, v: {**c, "pt": c["pt"] + 1.0}, {}, "to change nothing at its nominal value 0, got 1000 of 1000"),
    (lambda c, v: {**c, "pt": c["pt"][1:]}, {}, "expected 1000 rows in column 'pt' from shift k"),
    (lambda c, v: {"pt": c["pt"]}, {}, "expected all columns from shift k .* got none of the name 'phi'"),
    (lambda c, v: ({**c}, c["pt"]), {}, "expected a boolean mask"),
    (lambda c, v: (dict(c), c["pt"] > 30.0), {}, "to keep all rows at its nominal value"),
    (lambda c, v: c["pt"], {}, "expected columns by name from shift k"),
    (lambda c, v: {**c, "pt": np.log(-v * c["pt"] + (v == 0)) if v else c["pt"]}, {}, "finite values of 'pt' .* NaN"),
    (broken, {}, "expected shift k .* got KeyError: 'met'; correct the function"),
    (in_place, {}, "to leave its input as it is, got column 'pt' changed in place"),
    (
        lambda c, v: {**c, "pt": c["pt"] + v * np.random.default_rng().normal(size=len(c["pt"]))},
        {},
        "to give the same twice, got random numbers at -3; say stochastic: true",
    ),
    (
        lambda c, v, r: {**c, "pt": c["pt"] + v * np.random.default_rng().normal(size=len(c["pt"]))},
        {"stochastic": True},
        "to give the same twice, got random numbers at -3; take them from rng",
    ),
    (lambda c, v, r: {**c, "pt": c["pt"] + v * r.normal(size=1000)}, {}, "got AttributeError"),
]


@pytest.mark.parametrize(("shift", "more", "message"), SHIFTS)
def test_a_shift_function_is_checked_on_a_thousand_rows(world, shift, more, message):
    nuisance = ShapeNuisance("k", shift=shift, **more)
    with pytest.raises(InputError, match=message) as caught:
        check_shift(nuisance, world.processes[1].events, seed=1)
    assert "\n" not in str(caught.value)


def test_good_shifts_pass(world):
    for nuisance in (world.scale, world.smear):
        check_shift(nuisance, world.processes[1].events, seed=1)
