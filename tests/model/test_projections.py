"""Templates: counts add up to the fitted yields, and cuts act on data and model alike."""

from __future__ import annotations

from types import SimpleNamespace

import models
import numpy as np
import pytest

from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.minimizer import fit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.inference.propagation import BinnedModel
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.crystal_ball import log_double_crystal_ball
from hisigma_zfit.model.projections import ModelSample, draw_model, project, sample_model, whole_edges


@pytest.fixture(scope="module")
def fitted():
    model = models.model(sidebands="full")
    data = models.toy(model, seed=21)
    return fit(ExtendedNLL(model, data)), data


def test_components_add_up_to_the_fit(fitted):
    result, data = fitted
    edges = np.array([-50.0, 0.0, 50.0])
    what = sample_model(result, n=20_000, seed=1).project("a", bins=edges)
    assert list(what.components) == ["background", "signal"]  # drawing order: signal on top
    assert what.signal == ("signal",)
    np.testing.assert_allclose(what.data.sum(), float(data.num_entries))
    for name, parameter in (("signal", "n_sig"), ("background", "n_bkg")):
        np.testing.assert_allclose(what.components[name].sum(), result.params[parameter]["value"], rtol=1e-12)


def test_backgrounds_beside_a_region_have_their_part_of_the_yield(fitted):
    """The exponential of a parabola, integrated on a grid."""
    result, _ = fitted
    edges = np.linspace(90, 180, 91)
    whole = sample_model(result, n=50_000, seed=1)
    with result:
        beside = draw_model(result.loss.model[0], result.loss.data[0], n=50_000, seed=1, outside=models.REGION)
    what = beside.project("m", bins=edges)
    assert list(what.components) == ["background"]
    assert what.signal == ()
    inside = (edges[:-1] >= 115) & (edges[1:] <= 135)
    assert not what.components["background"][inside].any()
    p1, p2, n = (result.params[name]["value"] for name in ("p1", "p2", "n_bkg"))
    t = np.linspace(0.0, 1.0, 90_001)
    density = np.exp(-p1 * t + p2 * t**2)
    outside = (t < 25 / 90) | (t >= 45 / 90)
    assert what.components["background"].sum() == pytest.approx(n * density[outside].sum() / density.sum(), rel=1e-3)
    np.testing.assert_allclose(
        what.components["background"][~inside], whole.project("m", bins=edges).components["background"][~inside]
    )


def test_the_same_seed_gives_the_same_templates(fitted):
    result, _ = fitted
    one, two, other = (sample_model(result, n=1000, seed=s).project("b") for s in (3, 3, 4))
    np.testing.assert_array_equal(one.components["background"], two.components["background"])
    assert np.any(one.components["background"] != other.components["background"])


def test_cuts_keep_the_promised_part_of_the_signal(fitted):
    result, data = fitted
    sample = sample_model(result, n=20_000, seed=5)
    region = sample.project("m", bins=np.linspace(90, 180, 91), region=models.REGION)
    masses = np.asarray(data.value())[:, 0]
    assert region.data.sum() == models.REGION.contains(masses).sum()
    enriched = sample.project("m", bins=np.linspace(90, 180, 91), region=models.REGION, signal_efficiency=0.4)
    np.testing.assert_allclose(enriched.components["signal"].sum() / region.components["signal"].sum(), 0.4, atol=1e-3)
    # the likelihood ratio rejects more background than signal
    assert enriched.components["background"].sum() < 0.2 * region.components["background"].sum()
    assert "signal region" in enriched.selection


def hand_made(values, atoms=()):
    """Events of one feature with densities that cannot be evaluated."""
    density = SimpleNamespace(atoms={"x": atoms})
    columns = {"m": np.full(values.size, 125.0), "x": values}
    return ModelSample(
        columns={"background": columns, "signal": columns},
        yields={"background": 100.0, "signal": 10.0},
        signal=("signal",),
        densities=(density, density),
        data=columns,
        weights=None,
        mass="m",
    )


def test_in_a_region_the_same_score_as_everywhere(fitted):
    result, _ = fitted
    sample = sample_model(result, n=2000, seed=3)
    for name, mask in sample.selection(models.REGION, None).items():
        masses = (sample.data if name == "data" else sample.columns[name])["m"]
        np.testing.assert_array_equal(mask, models.REGION.contains(masses))
        threshold = np.quantile(sample.score["signal"][models.REGION.contains(sample.columns["signal"]["m"])], 0.6)
        chosen = sample.selection(models.REGION, 0.4)[name]
        np.testing.assert_array_equal(chosen, mask & (sample.score[name] > threshold))


def test_no_density_is_evaluated_unless_a_cut_asks_for_it():
    sample = hand_made(np.linspace(0.0, 1.0, 1000))
    shown = sample.project("x", region=models.REGION)
    assert shown.components["background"].sum() == pytest.approx(100.0, rel=5e-3)
    with pytest.raises(AttributeError):
        sample.project("x", signal_efficiency=0.5)


def test_whole_numbers_have_a_bin_each_and_far_defaults_are_told_and_not_drawn():
    numbers = np.repeat([0.0, 1.0, 3.0], [50, 30, 20])
    shown = hand_made(numbers, atoms=(0.0, 1.0, 2.0, 3.0)).project("x")
    np.testing.assert_array_equal(shown.edges, np.arange(-0.5, 4.0))
    np.testing.assert_array_equal(shown.data, [50, 30, 0, 20])
    angles = np.append(np.linspace(-3.0, 3.0, 100), np.full(50, -999.0))
    shown = hand_made(angles, atoms=(-999.0,)).project("x")
    assert shown.edges[0] > -4
    assert shown.data.sum() == 100
    assert shown.selection == "without x = -999"
    momenta = np.append(np.linspace(30.0, 90.0, 100), np.zeros(50))
    assert hand_made(momenta, atoms=(0.0,)).project("x").data.sum() == pytest.approx(150, abs=1)


@pytest.mark.parametrize(("lower", "upper", "bins"), [(0.43, 4.9, 40), (20.0, 480.0, 40), (-3.1, 3.2, 25)])
def test_edges_are_round(lower, upper, bins):
    values = np.linspace(lower, upper, 2000)
    edges = hand_made(values).project("x", bins=bins).edges
    width = edges[1] - edges[0]
    mantissa = width / 10.0 ** np.floor(np.log10(width) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 2.5, 5, 10)) < 1e-6
    np.testing.assert_allclose(edges / width, np.round(edges / width), atol=1e-9)
    assert edges[0] <= np.quantile(values, 0.001)
    assert edges[-1] >= np.quantile(values, 0.999)
    assert 0.6 * bins <= len(edges) - 1 <= 1.6 * bins + 2


def test_an_unknown_observable_is_named(fitted):
    with pytest.raises(InputError, match="'nonsense'"):
        project(fitted[0], "nonsense")


@pytest.mark.parametrize(
    ("lower", "upper", "number"),
    [
        (2.6, 3.6, 40),
        (115.0, 135.0, 40),
        (0.115, 0.135, 40),
        (2600.0, 3600.0, 40),
        (90.0, 180.0, 36),
        (0.0, 0.7131, 40),
    ],
)
def test_bins_of_the_mass_end_where_its_range_does(lower, upper, number):
    edges = whole_edges(lower, upper, 40)
    assert edges[0] == lower
    assert edges[-1] == upper
    assert len(edges) - 1 == number
    np.testing.assert_allclose(np.diff(edges), (upper - lower) / number, rtol=1e-9)


def test_what_no_bin_shows_is_counted():
    shown = hand_made(np.linspace(0.0, 1.0, 1000)).project("x", bins=[0.25, 0.5])
    assert shown.outside == (250.0, 500.0)
    # 110 events are expected, evenly from 0 to 1
    assert sum(shown.model_outside) == pytest.approx(0.75 * 110.0, rel=1e-3)


@pytest.fixture(scope="module")
def binned(fitted):
    result, _ = fitted
    profiler = Profiler(result.loss, "n_sig")
    theta, covariance = profiler.minimum.theta, profiler.minimum.covariance()
    sample = sample_model(result, n=50_000, seed=2)
    return BinnedModel(result.loss.model[0], sample, result.loss.parameters, theta, theta, covariance), profiler


def _expected(theta, edges):
    """Events in bins of the mass by quadrature: exp(-p1 t + p2 t^2) and a peak, both from the formulae."""
    n_sig, n_bkg, p1, p2 = (theta[name] for name in ("n_sig", "n_bkg", "p1", "p2"))
    m = np.linspace(90.0, 180.0, 90_001)
    t = (m - 90.0) / 90.0
    falling = np.exp(-p1 * t + p2 * t**2)
    peak = np.exp(log_double_crystal_ball(m, tuple(models.PEAK.values()), (90.0, 180.0)))
    which = np.clip(np.searchsorted(edges, m, side="right") - 1, 0, len(edges) - 2)
    return sum(
        n * np.bincount(which, density, len(edges) - 1) / density.sum()
        for n, density in ((n_bkg, falling), (n_sig, peak))
    )


def test_the_band_is_the_covariance_of_the_fit_propagated(binned):
    model, profiler = binned
    names = [str(p.name) for p in profiler.loss.parameters]
    edges, covariance = np.linspace(90.0, 180.0, 19), profiler.minimum.covariance()
    at = dict(zip(names, profiler.minimum.theta, strict=True))
    slopes = np.zeros((len(names), 18))
    for k in np.flatnonzero(np.diag(covariance)):  # the peak is frozen
        step = 0.1 * np.sqrt(covariance[k, k])
        above, below = (_expected(at | {names[k]: at[names[k]] + sign * step}, edges) for sign in (1, -1))
        slopes[k] = (above - below) / (2 * step)
    band = np.sqrt(np.einsum("pb,pq,qb->b", slopes, covariance, slopes))
    shown = model.project("m", bins=edges)
    np.testing.assert_allclose(sum(shown.components.values()), _expected(at, edges), rtol=5e-3, atol=0.5)
    np.testing.assert_allclose(shown.model_error, band, rtol=0.04)
    assert shown.chi2.ndf < 18
    assert shown.chi2.p_value > 1e-4  # toy data of this very model


def test_yields_by_region_add_up(binned, fitted):
    model, profiler = binned
    inside, beside, whole = model.yields(models.REGION)
    n = float(fitted[1].num_entries)
    assert inside.observed + beside.observed == whole.observed == n
    # an extended fit finds as many events as there are, with Poisson's error
    assert whole.total.value == pytest.approx(n, rel=1e-6)
    assert whole.total.error == pytest.approx(np.sqrt(n), rel=0.01)
    assert whole.components["signal"].value == pytest.approx(profiler.best, rel=1e-9)
    assert whole.components["signal"].error == pytest.approx(profiler.error, rel=1e-3)
    for name in whole.components:
        assert inside.components[name].value + beside.components[name].value == pytest.approx(
            whole.components[name].value
        )
