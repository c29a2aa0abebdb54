"""Data sets in memory: regions, selections, and the way to zfit."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from tables import TABLE, N, one_line

from hisigma_zfit.data import Dataset, ReadReport, SignalRegion, feature_space
from hisigma_zfit.errors import InputError


def test_signal_region_is_half_open():
    region = SignalRegion(115, 135)
    np.testing.assert_array_equal(region.contains([114.9, 115, 134.9, 135]), [False, True, True, False])
    for edges in ((135, 115), (115, 115), (math.nan, 135), (115, math.inf)):
        with pytest.raises(InputError, match="lower < upper"):
            SignalRegion(*edges)


@pytest.fixture
def data():
    return Dataset.from_arrays({"m": TABLE["m"], "pt": TABLE["pt"]}, weights=TABLE["w"])


def test_dataset_basics(data):
    assert len(data) == N
    assert data.names == ("m", "pt")
    assert data.report == ReadReport(N, N)
    np.testing.assert_array_equal(data.array(["pt", "m"]), np.stack([TABLE["pt"], TABLE["m"]], 1).astype(float))
    assert data.array("pt").shape == (N, 1)
    with pytest.raises(InputError, match=r"column 'mm'.*did you mean 'm'"):
        data["mm"]


def test_dataset_cannot_change(data):
    with pytest.raises(ValueError, match="read-only"):
        data["m"][0] = 1
    with pytest.raises(TypeError):
        data.columns["m"] = TABLE["m"]
    with pytest.raises(ValueError, match="WRITEABLE"):
        data["m"].flags.writeable = True


@pytest.mark.parametrize(
    "make",
    [
        lambda own: Dataset.from_arrays({"x": own}, own),
        lambda own: Dataset({"x": own}, own, ReadReport(4, 4)),
        lambda own: replace(Dataset.from_arrays({"x": own}).with_columns(x=own), weights=own),
        lambda own: Dataset({"x": seen(own)}, seen(own), ReadReport(4, 4)),
        lambda own: Dataset.from_arrays({"x": own[:]}, own[:]),
    ],
    ids=["from_arrays", "constructor", "with_columns and replace", "read-only view", "view"],
)
@pytest.mark.parametrize("kind", [np.float64, np.int64])
def test_arrays_of_the_caller_are_his_own(make, kind):
    own = np.arange(4, dtype=kind)
    data = make(own)
    own[0] = 99
    np.testing.assert_array_equal(data["x"], np.arange(4.0))
    np.testing.assert_array_equal(data.weights, np.arange(4.0))


def seen(array):
    """A view that cannot be written into, of an array that can."""
    view = array.view()
    view.flags.writeable = False
    return view


def test_arrays_of_a_dataset_are_not_copied_again(data):
    """A dataset of millions of events is made of few new arrays."""
    wider = data.with_columns(x=np.arange(float(N)))
    assert np.shares_memory(wider["m"], data["m"])
    assert np.shares_memory(replace(wider, weights=None)["x"], wider["x"])


def test_dataset_survives_pickling(data):
    cut = data.sidebands("m", SignalRegion(115, 135))
    back = pickle.loads(pickle.dumps(cut))
    np.testing.assert_array_equal(back.array(back.names), cut.array(cut.names))
    assert (back.report, back.region, back.mass) == (cut.report, cut.region, cut.mass)


@pytest.mark.parametrize(
    ("columns", "weights", "part"),
    [
        ({}, None, "at least one column"),
        ({"a": np.zeros((3, 2))}, None, "shape (n,) in column 'a'"),
        ({"a": np.array(["x", "y"])}, None, "real numbers"),
        ({"a": np.zeros(3, complex)}, None, "real numbers"),
        ({"a": np.zeros(3), "b": np.zeros(4)}, None, "a: 3, b: 4"),
        ({"a": np.zeros(3)}, np.zeros(2), "a: 3, weights: 2"),
        ({"a": np.array([1, np.nan, np.nan])}, None, "column 'a', got 2 NaN and 0 infinite in 3 events"),
    ],
)
def test_bad_arrays(columns, weights, part):
    with pytest.raises(InputError) as error:
        Dataset.from_arrays(columns, weights)
    assert part in one_line(error)


def test_select_keeps_weights_and_accounts(data):
    mask = TABLE["pt"] > 50
    chosen = data.select(mask, reason="soft")
    np.testing.assert_array_equal(chosen["m"], TABLE["m"][mask])
    np.testing.assert_array_equal(chosen.weights, TABLE["w"][mask])
    assert chosen.report == ReadReport(N, int(mask.sum()), {"soft": int((~mask).sum())})
    for bad in (np.arange(N), np.ones(3, bool)):
        with pytest.raises(InputError, match="boolean mask"):
            data.select(bad)


def test_with_columns_and_concatenate(data):
    more = data.with_columns(ratio=data["pt"] / data["m"])
    assert more.names == ("m", "pt", "ratio")
    with pytest.raises(InputError, match="ratio: 3"):
        data.with_columns(ratio=np.zeros(3))
    unweighted = Dataset.from_arrays({"pt": [1.0, 2.0], "m": [3.0, 4.0]})
    joint = data.concatenate(unweighted, unweighted)
    np.testing.assert_array_equal(joint["m"][-4:], [3, 4, 3, 4])
    np.testing.assert_array_equal(joint.weights[-5:], [TABLE["w"][-1], 1, 1, 1, 1])
    assert joint.report.n_read == joint.report.n_used == len(joint) == N + 4
    with pytest.raises(InputError, match="got m, pt, ratio"):
        data.concatenate(more)


def test_concatenate_refuses_different_signal_regions(data):
    cut = data.sidebands("m", SignalRegion(115, 135))
    assert cut.concatenate(cut).region == SignalRegion(115, 135)
    with pytest.raises(InputError, match="same signal region"):
        cut.concatenate(data)


def test_sidebands_of_sidebands_are_refused(data):
    """The second window would be all that is known of what was cut out."""
    import zfit

    cut = data.sidebands("m", SignalRegion(115, 135))
    assert cut.sidebands(zfit.Space("m", 100, 170), SignalRegion(115, 135)).region == SignalRegion(115, 135)
    with pytest.raises(InputError, match=r"got those outside m in .*115.*135.* already; call sidebands once"):
        cut.sidebands("m", SignalRegion(110, 120))


def test_sidebands_and_signal_region_share_the_events():
    import zfit

    mass, region = zfit.Space("m", 100, 170), SignalRegion(115, 135)
    data = Dataset.from_arrays({"m": TABLE["m"]})
    outer, inner = data.sidebands(mass, region), data.signal_region(mass, region)
    m = TABLE["m"].astype(float)
    np.testing.assert_array_equal(outer["m"], m[((m >= 100) & (m < 115)) | ((m >= 135) & (m <= 170))])
    np.testing.assert_array_equal(inner["m"], m[(m >= 115) & (m < 135)])
    assert (outer.region, outer.mass) == (region, "m")
    assert (inner.region, inner.mass) == (None, None)
    for part in (outer, inner):
        assert part.report.n_read == N == len(part) + sum(part.report.dropped.values())
        assert len(part.report.dropped) == 2


@pytest.mark.parametrize("edges", [(80, 120), (150, 190), (80, 190)])
def test_signal_region_outside_the_range(edges):
    import zfit

    data, mass = Dataset.from_arrays({"m": TABLE["m"]}), zfit.Space("m", 90, 180)
    for cut in (data.sidebands, data.signal_region):
        with pytest.raises(InputError, match=r"inside m in \[90, 180\]"):
            cut(mass, SignalRegion(*edges))
    with pytest.raises(InputError, match="signal region inside m"):
        data.sidebands("m", SignalRegion(*edges))


@pytest.mark.parametrize("edges", [(90, 135), (115, 180), (90, 180)])
def test_mass_range_without_sidebands(edges):
    import zfit

    data = Dataset.from_arrays({"m": np.clip(TABLE["m"], 90, 179.9)})
    with pytest.raises(InputError, match="both sidebands"):
        data.sidebands(zfit.Space("m", 90, 180), SignalRegion(*edges))


def test_too_few_sideband_events():
    data = Dataset.from_arrays({"m": np.concatenate([np.full(600, 100.0), np.full(399, 150.0), np.full(9, 125.0)])})
    with pytest.raises(InputError, match=r"at least 1000 events.*got 999"):
        data.sidebands("m", SignalRegion(115, 135))
    assert len(data.sidebands("m", SignalRegion(115, 135), minimum=999)) == 999


def test_mass_space_must_be_one_dimensional_with_limits():
    import zfit

    data = Dataset.from_arrays({"m": TABLE["m"], "pt": TABLE["pt"]})
    for space in (zfit.Space("m"), zfit.Space("m", 90, 180) * zfit.Space("pt", 0, 1)):
        with pytest.raises(InputError, match="one-dimensional mass space with limits"):
            data.sidebands(space, SignalRegion(115, 135))


def test_to_zfit_and_within():
    import zfit

    data = Dataset.from_arrays({"m": [90.0, 180.0, 181.0, 100.0], "pt": [1.0, 2.0, 3.0, -1.0]}, [1.0, 2.0, 3.0, 4.0])
    space = feature_space(pt=(0, 10)) * zfit.Space("m", 90, 180)
    with pytest.raises(InputError, match="2 of 4 outside"):
        data.to_zfit(space)
    inside = data.within(space)
    assert inside.report.dropped == {"outside pt in [0, 10]": 1, "outside m in [90, 180]": 1}
    converted = inside.to_zfit(space)
    np.testing.assert_array_equal(converted.value(), [[1, 90], [2, 180]])
    np.testing.assert_array_equal(converted.weights, [1, 2])
    assert converted.obs == ("pt", "m")
    with pytest.raises(InputError, match="column 'x'"):
        data.to_zfit(feature_space("x"))


def test_feature_space():
    space = feature_space("pt", "dr", eta=(-3, 3))
    assert space.obs == ("pt", "dr", "eta")
    np.testing.assert_array_equal(space.v1.lower, [-np.inf, -np.inf, -3])
    np.testing.assert_array_equal(space.v1.upper, [np.inf, np.inf, 3])
    for names, limits in ((("a", "b", "a"), {}), (("a",), {"a": (0, 1)})):
        with pytest.raises(InputError, match="'a' twice"):
            feature_space(*names, **limits)
    with pytest.raises(InputError, match="at least one feature"):
        feature_space()
    for edges in ((1, 0), (0, 0), (0, math.nan), (0,), None):
        with pytest.raises(InputError, match=r"limits \(lower, upper\) of 'a'"):
            feature_space(a=edges)
