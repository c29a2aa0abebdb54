"""Pseudo-experiments: right on average, fluctuating in everything, and the same however they are made."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace

import counting
import models
import numpy as np
import pytest
import zfit
from scipy.stats import binom, chi2, kstest, norm
from toy_likelihood import EVENTS, INJECTED, likelihood

from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import FitError, InputError
from hisigma_zfit.likelihood.auxiliary import AuxiliaryData
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.systematics import ShapeVariation, nuisance
from hisigma_zfit.report.toy_tables import toys as toy_table
from hisigma_zfit.results import Presentation
from hisigma_zfit.runs.toys import ToyFolder, load_toy_results, load_toys
from hisigma_zfit.toys import toys
from hisigma_zfit.toys.pool import Pool
from hisigma_zfit.toys.summary import quantiles, summarise
from hisigma_zfit.toys.toy_fits import ToyFits, ToyPlan, fit_toys
from hisigma_zfit.toys.toys import make_pool, run_toys


def assert_same(first, second):
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(array, second.arrays()[name], err_msg=name)


@pytest.mark.statistical
def test_pulls_have_mean_zero_and_width_one(pool, fits):
    summary = summarise(fits, pool, "n_sig", seed=3)
    assert summary.n == 400
    for name, found in summary.parameters.items():
        # 5 sigma each: 6e-7 for one, 5e-6 for the eight numbers; the pool itself adds a few per cent to the width, and
        # the skewness of Poisson counts a few hundredths to the mean of these small samples
        assert abs(found.pull_mean) < 5 * found.pull_mean_error + 0.05, name
        assert abs(found.pull_width - 1.0) < 5 * found.pull_width_error + 0.05, name


@pytest.mark.statistical
def test_t_of_the_truth_follows_chi_square(fits):
    # Wilks; the largest distance of 400 values from their distribution is below 0.12 in all but 1e-5 of the cases
    assert kstest(fits.t_true, chi2(1).cdf).statistic < 0.12


@pytest.mark.statistical
def test_numbers_of_events_are_poisson(pool, fits):
    expected = float(pool.theta[[pool.parameters.index(name) for name in ("n_sig", "n_bkg")]].sum())
    events = fits.events[:, 0]
    # 4.5 sigma, 7e-6 each
    assert abs(events.mean() - expected) < 4.5 * np.sqrt(expected / events.size)
    assert abs(events.var(ddof=1) / expected - 1.0) < 4.5 * np.sqrt(2.0 / events.size)


@pytest.mark.statistical
def test_auxiliary_measurements_fluctuate_around_the_truth(pool, fits):
    observed = fits.observation[:, 0]
    slope = pool.theta[pool.parameters.index("p1")]
    # 4.5 sigma, 7e-6 each
    assert abs(observed.mean() - slope) < 4.5 * 0.2 / np.sqrt(observed.size)
    assert abs(observed.std(ddof=1) / 0.2 - 1.0) < 4.5 / np.sqrt(2.0 * observed.size)
    # and the fits take notice: without it the slope would be known to 0.33 instead of 0.17
    assert np.corrcoef(observed, fits.values[:, pool.parameters.index("p1")])[0, 1] > 0.5


def test_a_toy_depends_on_seed_and_number_alone(pool, fits, monkeypatch):
    plan = ToyPlan(pool, pool.parameters.index("n_sig"), 3)
    assert_same(ToyFits.join([fit_toys(plan, 7, 8), fit_toys(plan, 3, 5)]), _rows(fits, [7, 3, 4]))
    monkeypatch.setattr(toys, "CHUNK", 3)
    assert_same(run_toys(pool, "n_sig", n=10, seed=3), _rows(fits, range(10)))
    assert not np.array_equal(run_toys(pool, "n_sig", n=3, seed=4).q0, fits.q0[:3])


def _rows(fits, rows):
    return ToyFits(**{name: array[list(rows)] for name, array in fits.arrays().items()})


def test_processes_make_the_same_toys(pool, fits, monkeypatch):
    monkeypatch.setattr(toys, "CHUNK", 4)
    assert_same(run_toys(pool, "n_sig", n=12, seed=3, processes=2), _rows(fits, range(12)))


def test_dask_makes_the_same_toys(pool, fits, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(toys, "CHUNK", 4)
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        assert_same(run_toys(pool, "n_sig", n=12, seed=3, scheduler=cluster.scheduler_address), _rows(fits, range(12)))


def test_workers_need_no_tensorflow(pool, tmp_path):
    (tmp_path / "pool.pkl").write_bytes(pickle.dumps(pool))
    code = (
        "import pickle, sys; from pathlib import Path\n"
        "from hisigma_zfit.toys.toy_fits import ToyPlan, fit_toys\n"
        f"pool = pickle.loads(Path({str(tmp_path / 'pool.pkl')!r}).read_bytes())\n"
        "print(fit_toys(ToyPlan(pool, 0, 3), 0, 1).fitted, 'tensorflow' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["[", "True]", "False"]


def test_an_interrupted_study_goes_on(pool, fits, tmp_path, monkeypatch):
    monkeypatch.setattr(toys, "CHUNK", 4)
    made = []

    def interrupted(plan, start, stop):
        if start == 8 and len(made) == 2:
            raise KeyboardInterrupt
        made.append(start)
        return fit_toys(plan, start, stop)

    monkeypatch.setattr(toys, "fit_toys", interrupted)
    options = {"seed": 3, "pool": pool.digest}
    with pytest.raises(KeyboardInterrupt), ToyFolder.open(tmp_path / "study", options) as study:
        run_toys(pool, "n_sig", n=20, seed=3, chunks=study)
    assert made == [0, 4]
    (tmp_path / "study" / "chunks" / "0000004.npz").write_bytes(b"damaged")
    made.append(None)
    with ToyFolder.open(tmp_path / "study", options) as study:
        assert_same(run_toys(pool, "n_sig", n=14, seed=3, chunks=study), _rows(fits, range(14)))
        assert made[3:] == [4, 8, 12]
        # a longer study begins with the shorter one's toys, and completes its last chunk
        assert_same(run_toys(pool, "n_sig", n=18, seed=3, chunks=study), _rows(fits, range(18)))
        assert made[6:] == [12, 16]


def test_a_digest_knows_all_that_toys_depend_on(pool):
    category, auxiliary = pool.categories[0], pool.auxiliary
    (measurement, index, at), *rest = auxiliary.terms
    wider = replace(measurement, covariance=1.1 * measurement.covariance, precision=measurement.precision / 1.1)
    floating = tuple(k for k in pool.free if pool.parameters[k] != "p2")
    others = [
        replace(pool, auxiliary=AuxiliaryData([(wider, index, at), *rest], auxiliary.observed)),
        replace(pool, auxiliary=AuxiliaryData(auxiliary.terms, auxiliary.observed + 0.1)),
        replace(pool, free=floating),
        replace(pool, parameters=tuple(reversed(pool.parameters))),
        replace(pool, theta=pool.theta + 1e-9),
        replace(pool, categories=(replace(category, cumulative=category.cumulative * 1.01),)),
    ]
    digests = {other.digest for other in (pool, *others)}
    assert len(digests) == 1 + len(others)
    assert pickle.loads(pickle.dumps(pool)).digest == pool.digest


def test_a_digest_knows_the_variations_and_not_what_was_evaluated():
    def varied(shift):
        variation = ShapeVariation(nuisance("shape"), models.background_flow(shift), models.background_flow(-shift))
        model = signal_plus_background(
            FlowProductPDF(models.peak(), models.signal_flow()),
            FlowProductPDF(models.falling(), models.background_flow(), variations=[variation]),
            poi=zfit.Parameter("n_sig", 60.0),
            yields=[zfit.Parameter("n_bkg", 1500.0, 0.0)],
        )
        return make_pool(ExtendedNLL(model, models.toy(model, seed=1)), "n_sig", 60.0, events=1000, seed=2)

    pool, other = varied(0.1), varied(0.2)
    columns = replace(other.categories[0].columns, morphs=pool.categories[0].columns.morphs)
    digest = pool.digest
    assert digest != other.digest
    assert replace(other, categories=(replace(other.categories[0], columns=columns),)).digest != other.digest
    fit_toys(ToyPlan(pool, pool.parameters.index("n_sig"), 3), 0, 1)  # fills caches
    assert pool.digest == digest


def test_a_study_folder_is_not_mixed_up(pool, fits, tmp_path):
    with ToyFolder.open(tmp_path / "study", {"seed": 3}) as study:
        summary = summarise(fits, pool, "n_sig", seed=3)
        study.finish(summary, Presentation(experiment="CMS"))
        with pytest.raises(InputError, match="going on"), ToyFolder.open(tmp_path / "study", {"seed": 3}):
            pass
    stored = load_toys(tmp_path / "study")
    assert stored.coverage == summary.coverage
    again = load_toy_results(tmp_path / "study")  # as `hisigma plot` draws it
    assert again.presentation.experiment == "CMS"
    assert "CMS" in {text.get_text() for axes in again.figures()["toys_pulls"].axes for text in axes.texts}
    np.testing.assert_array_equal(stored.pulls, summary.pulls)
    assert {p.suffix for p in (tmp_path / "study" / "figures").iterdir()} == {".pdf", ".png"}
    assert "<h1>Pseudo-experiments of n_sig</h1>" in (tmp_path / "study" / "report.html").read_text(encoding="utf-8")
    with (
        pytest.raises(InputError, match=r"the same seed, got 3 then and 4 now;.*--overwrite"),
        ToyFolder.open(tmp_path / "study", {"seed": 4}),
    ):
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(InputError, match="something else"), ToyFolder.open(tmp_path / "other", {"seed": 4}):
        pass
    with pytest.raises(InputError, match="finish the study"):
        load_toys(tmp_path / "other")


def test_a_toy_may_have_no_events_in_a_category():
    """The generic path keeps its compiled functions, and has nothing to pad from."""
    loss = counting.on_off(8.0, 2.0, 1.0)
    pool = make_pool(loss, "s", 6.0, others={"b": 2.0}, events=200)
    empty, one = pool.categories[1].columns.take(np.arange(0)), pool.categories[1].columns.take(np.arange(1))
    make, theta = pool.categories[1].likelihood, pool.theta
    few = make(one).value(theta)
    none = make(empty).value(theta)
    assert none == pytest.approx(2.0)  # the expected number
    assert few == pytest.approx(2.0 - np.log(2.0))


@pytest.mark.slow
def test_generic_shapes_are_fitted_in_one_process():
    coefficients = [zfit.Parameter("c1", -0.4), zfit.Parameter("c2", 0.05)]
    loss = likelihood(mass=zfit.pdf.Chebyshev(models.mass_space(), coefficients))
    pool = make_pool(loss, "n_sig", INJECTED, events=EVENTS, seed=2)
    fits = run_toys(pool, "n_sig", n=3, seed=3)
    assert fits.fitted.all()
    index = pool.parameters.index("n_sig")
    # 6 sigma of each toy: 6e-9
    assert np.all(np.abs(fits.values[:, index] - INJECTED) < 6 * fits.errors[:, index])
    with pytest.raises(InputError, match="use one process"):
        run_toys(pool, "n_sig", n=3, processes=2)


@pytest.mark.statistical
def test_toys_of_weighted_simulation_have_its_yields():
    loss = likelihood()
    model = loss.model[0]
    rng = np.random.default_rng(6)
    datasets = {}
    for k, component in enumerate(model.components):
        n = 4000
        m = models.PEAK["mu"] + 1.7 * rng.normal(size=n) if k == 0 else rng.uniform(90.0, 180.0, n)
        x = component.pdf.flow.sample(m, seed=k)
        columns = {"m": m} | dict(zip(component.pdf.flow.features, x.T, strict=True))
        # a falling spectrum from flat events by weight
        datasets[component.name] = Dataset.from_arrays(columns, weights=np.exp(-(m - 90.0) / 60.0) * 7.0)
    pool = Pool.from_datasets(loss, datasets)
    category = pool.categories[0]
    assert category.cumulative[-1] == pytest.approx(1500.0 + INJECTED, rel=1e-12)
    drawn = np.concatenate([category.draw(rng).mass for _ in range(20)])
    weights = np.diff(category.cumulative, prepend=0.0)
    mean = weights @ category.columns.mass / weights.sum()
    spread = np.sqrt(weights @ (category.columns.mass - mean) ** 2 / weights.sum())
    assert abs(drawn.mean() - mean) < 4.5 * spread / np.sqrt(drawn.size)  # 4.5 sigma: 7e-6
    assert run_toys(pool, "n_sig", n=2, seed=1).fitted.all()
    with pytest.raises(InputError, match="simulation of signal, background"):
        Pool.from_datasets(loss, {"signal": datasets["signal"]})


def test_summary_of_known_numbers(pool):
    n, index = 200, pool.parameters.index("n_sig")
    values, errors = np.tile(pool.theta, (n, 1)), np.full((n, pool.theta.size), 2.0)
    values[:, index] += np.where(np.arange(n) % 2, 1.0, 3.0)  # pulls of 0.5 and 1.5
    t = np.repeat([0.5, 3.8, 3.9, 10.0], [130, 20, 10, 40])  # the 95 % interval ends at 3.84, that of 2 sigma at 4
    q0 = np.arange(n, dtype=float) ** 2
    failed = np.full(n, np.nan)
    fits = ToyFits(values, errors, t, q0, failed, np.ones((n, 1)), np.zeros((n, 1)))
    broken = ToyFits(*(np.full_like(a[:5], np.nan) for a in fits.arrays().values()))
    summary = summarise(ToyFits.join([fits, broken]), pool, "n_sig", seed=0)
    assert (summary.n, summary.failed, summary.limit) == (200, 5, None)
    own = summary.parameters["n_sig"]
    spread = np.sqrt(n / (n - 1))
    assert own.bias == pytest.approx(2.0)
    assert own.bias_error == pytest.approx(spread / np.sqrt(n))
    assert own.pull_mean == pytest.approx(1.0)
    assert own.pull_width == pytest.approx(0.5 * spread)
    assert own.pull_width_error == pytest.approx(0.5 * spread / np.sqrt(2 * (n - 1)))
    assert (summary.coverage["68"].cl, summary.coverage["95"].cl) == (pytest.approx(0.682689492), 0.95)
    assert (summary.coverage["68"].value, summary.coverage["95"].value) == (0.65, 0.75)
    # Clopper and Pearson: as many or more (fewer) inside have the probability of a Gaussian beyond one sigma
    assert binom.sf(129, 200, summary.coverage["68"].lower) == pytest.approx(norm.sf(1.0))
    assert binom.cdf(130, 200, summary.coverage["68"].upper) == pytest.approx(norm.sf(1.0))
    assert summary.significance.median == pytest.approx(99.5)
    assert summary.significance.bands["1"] == pytest.approx(0.8413447 * 199, rel=1e-6)
    # the middle 68.3 % of the ranks around the median: half of +- sqrt(n) / 2
    assert summary.significance.median_error == pytest.approx(0.5 / np.sqrt(n) * 199)


def test_toys_with_a_parameter_at_its_limit_have_no_pull_and_are_counted():
    """Half of the toys would have the slope of the spectrum below its limit, which is its true value."""
    loss = likelihood()
    next(p for p in loss.parameters if p.name == "p1").lower = 1.7
    pool = make_pool(loss, "n_sig", INJECTED, others={"p1": 1.7, "p2": 0.2}, events=EVENTS, seed=2)
    fits = run_toys(pool, "n_sig", n=40, seed=3, limit=0.9)
    p1 = pool.parameters.index("p1")
    without = np.isnan(fits.errors[:, p1])
    np.testing.assert_array_equal(without, fits.values[:, p1] == 1.7)
    assert fits.fitted.all()
    assert 5 < without.sum() < 35  # all but 1e-6 of the cases
    fits.limit[:2] = np.nan
    summary = summarise(fits, pool, "n_sig", seed=3, limit=0.9)
    assert summary.without_error == {"p1": int(without.sum())}
    assert summary.without_limit == 2
    assert summary.n == 40
    pulls = ((fits.values[:, p1] - 1.7) / fits.errors[:, p1])[~without]
    own = summary.parameters["p1"]
    assert own.pull_mean == pytest.approx(pulls.mean())
    assert own.pull_width == pytest.approx(pulls.std(ddof=1))
    assert own.pull_width_error == pytest.approx(pulls.std(ddof=1) / np.sqrt(2.0 * (pulls.size - 1)))
    assert own.error == pytest.approx(fits.errors[~without, p1].mean())
    # the best value itself is known in every toy
    assert own.bias == pytest.approx(fits.values[:, p1].mean() - 1.7)
    text = toy_table(summary)
    assert "p1 at a limit" in text
    assert f"{int(without.sum())} toys, left out of its pulls" in text
    assert "without a limit" in text


@pytest.mark.statistical
def test_error_of_the_median():
    rng = np.random.default_rng(7)
    medians = [quantiles(rng.normal(size=400)) for _ in range(400)]
    # sqrt(pi / 2) / sqrt(n); the mean of 400 estimates of 20 % each is good to 1 %, and the spread to 3.5 %: 4.5 sigma
    expected = np.sqrt(np.pi / 2.0 / 400)
    assert np.mean([m.median_error for m in medians]) == pytest.approx(expected, rel=0.06)
    assert np.std([m.median for m in medians]) == pytest.approx(expected, rel=0.16)


def test_many_failures_are_an_error(pool, monkeypatch):
    def failing(plan, start, stop):
        fits = fit_toys(plan, start, stop)
        fits.t_true[:2] = np.nan
        return fits

    monkeypatch.setattr(toys, "fit_toys", failing)
    with pytest.raises(FitError, match="2 of 10 toys"):
        run_toys(pool, "n_sig", n=10, seed=3)
    assert run_toys(pool, "n_sig", n=40, seed=3).fitted.sum() == 38


def test_wrong_input_is_named(pool):
    with pytest.raises(InputError, match="got 'signal'"):
        run_toys(pool, "signal", n=1)
    with pytest.raises(InputError, match="n of 1 or more, got 0"):
        run_toys(pool, "n_sig", n=0)
    with pytest.raises(InputError, match="between 0 and 1, got 95"):
        run_toys(pool, "n_sig", n=1, limit=95)
    loss = likelihood()
    with pytest.raises(InputError, match="got 'mu'"):
        make_pool(loss, "n_sig", 1.0, others={"mu": 1.0})
    with pytest.raises(InputError, match="not negative, got -1"):
        make_pool(loss, "n_sig", -1.0)
    with pytest.raises(InputError, match="running Dask scheduler"):
        run_toys(pool, "n_sig", n=1, scheduler="tcp://127.0.0.1:1")
