"""Cells: regions of columns and scores, bins, merging and names."""

from __future__ import annotations

import numpy as np
import pytest

from hisigma_zfit.crosssection.regions import Cells, Counting, Unbinned, require_filled
from hisigma_zfit.errors import InputError

NAMES = ("H", "Z")
COLUMNS = {"m": np.array([10.0, 59.0, 60.0, 100.0, 30.0]), "n": np.array([0.0, 0.0, 1.0, 2.0, 5.0])}
SCORES = np.array([[0.9, 0.1], [0.01, 0.99], [0.0, 1.0], [0.2, 0.8], [0.001, 0.999]])
BINS = {"m": (0.0, 60.0, np.inf), "n": (0.0, 1.0, 3.0)}


def test_events_find_their_cells():
    cells = Cells((Counting("C", "else", BINS), Unbinned("U", "score.H > 0.1")), NAMES)
    assert cells.names == ("U", "C m 0-60, n 0-1", "C m 0-60, n 1-3", "C m 60+, n 0-1", "C m 60+, n 1-3")
    assert (cells.size, cells.unbinned, cells.use_scores) == (5, 1, True)
    # the last event is beyond the edges of n
    assert cells(COLUMNS, SCORES).tolist() == [0, 1, 4, 0, -1]


def test_regions_of_columns_alone_and_counts_without_bins():
    cells = Cells((Unbinned("low", "m < 60 and n < 1"), Unbinned("high", "m > 70"), Counting("rest")), NAMES)
    assert not cells.use_scores
    assert cells.names == ("low", "high", "rest")
    assert cells(COLUMNS).tolist() == [0, 0, 2, 1, 2]


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ((Unbinned("a", "m < 60"), Counting("b", "m < 20")), "got 1 events in a and b"),
        ((Unbinned("a", "m"),), "a region a that is true or false"),
        ((Unbinned("a", "mm > 1"),), "expected a branch 'mm' in region a, got none of that name; did you mean 'm'?"),
        ((Unbinned("a", "score.T > 1"),), "did you mean"),
        ((Counting("C", "else", {"q": (0.0, 1.0)}),), "expected a branch 'q' in bins of region C"),
    ],
)
def test_what_cannot_be_a_region(regions, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        Cells(regions, NAMES)(COLUMNS, SCORES)


def test_regions_have_names_and_edges():
    with pytest.raises(InputError, match="expected distinct regions, got 'a' twice"):
        Cells((Unbinned("a", "m > 1"), Counting("a")), NAMES)
    with pytest.raises(InputError, match="expected a region, got none"):
        Cells((), NAMES)
    with pytest.raises(InputError, match="rising edges of m in region C"):
        Counting("C", bins={"m": (1.0, 0.0)})


def test_only_events_near_a_cut_on_a_score_need_to_be_scored():
    near = Cells((Unbinned("U", "(score.H > 0.1) & (m > 20)"), Counting("C")), NAMES).near(SCORES)
    assert near.tolist() == [True, False, False, True, False]
    for where in ("score.H < 0.1", "score.H > score.Z", "(score.H > 0.1) & (score.Z < 0.5)", "score.H > 0.1 or m > 2"):
        assert Cells((Unbinned("U", where), Counting("C")), NAMES).near(SCORES) is None
    assert Cells((Unbinned("U", "m > 1"), Counting("C", bins={"score.H": (0.0, 1.0)})), NAMES).near(SCORES) is None


def test_neighbouring_bins_are_merged_to_enough_effective_events():
    region = Counting("C", "else", {"m": (0.0, 1.0, 2.0), "n": (0.0, 1.0, 2.0, 3.0)}, 50.0)
    cells = Cells((Unbinned("U", "m > 9"), region), NAMES)
    # rows of weight 0.5: effective events are twice the sums
    sums = np.array([[100.0, 30.0, 30.0, 10.0, 2.0, 3.0, 80.0], [0.0] * 7])
    merged, mapping = cells.merged(sums, 0.5 * sums)
    assert merged.names[0] == "U"
    joined = np.zeros((2, merged.size))
    np.add.at(joined, (slice(None), mapping), sums)
    assert (2.0 * joined.sum(axis=0)[1:] >= 50.0).all()
    assert joined.sum() == sums.sum()
    columns = {"m": np.array([0.5, 0.5, 0.5, 1.5, 1.5, 1.5]), "n": np.array([0.5, 1.5, 2.5] * 2)}
    np.testing.assert_array_equal(merged(columns), mapping[cells(columns)])
    alone, one = Cells((region,), NAMES).merged(sums[:, 1:] / 100.0, sums[:, 1:] / 100.0)
    assert alone.names == ("C",)
    assert not one.any()


def test_cells_that_are_empty_are_named():
    cells = Cells((Unbinned("U", "m > 1"), Counting("C", bins=BINS)), NAMES)
    sums = np.ones((2, 5))
    require_filled(cells, sums, signal=[True, False])
    sums[:, 0] = 0.0
    with pytest.raises(InputError, match="expected events of the simulation in U, got none"):
        require_filled(cells, sums, signal=[True, False])
    sums[0, 0], sums[1, 2] = 1.0, 0.0
    with pytest.raises(InputError, match="expected background in C m 0-60, n 1-3, got none"):
        require_filled(cells, sums, signal=[True, False])
