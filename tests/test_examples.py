"""The example that the package ships: what its docstring says is true, and every public name has an example."""

from __future__ import annotations

import doctest
import inspect
import re

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest

import hisigma_zfit as hz
from hisigma_zfit.errors import InputError

ROOMS = {"examples", "plotting", "tables", "results"}


@pytest.mark.parametrize("name", sorted(set(hz.__all__) - ROOMS - {"__version__"}))
def test_every_public_name_has_an_example_with_a_number(name):
    parsed = doctest.DocTestParser().get_examples(inspect.getdoc(getattr(hz, name)))
    assert any(re.search(r"\d|True", example.want) for example in parsed)


def test_the_example_is_small():
    files = [path for path in hz.examples.path("events.root").parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000


def test_unknown_parts_are_named():
    with pytest.raises(InputError, match=r"events\.root.*'event'"):
        hz.examples.path("event")


@pytest.mark.statistical
def test_events_follow_the_table():
    """Poisson numbers within five sigma, and Kolmogorov-Smirnov with p > 1e-6: fixed files, so they pass for ever."""
    data, simulation = hz.examples.events(), hz.examples.simulation()
    assert abs(len(data) - 3060) < 5 * np.sqrt(3060)
    assert kstest((simulation["m"] - 125) / 2, "norm").pvalue > 1e-6
    assert kstest(simulation["pt"] / 60, "expon").pvalue > 1e-6
    assert kstest(simulation["angle"] ** 2, "uniform").pvalue > 1e-6
    outside = data.select(~hz.examples.REGION.contains(data["m"]))
    assert kstest(outside["pt"] / (20 + 0.2 * (outside["m"] - 100)), "expon").pvalue > 1e-6
    assert kstest(outside["angle"], "uniform").pvalue > 1e-6


TRUTH = {
    "signal": lambda pt, angle, m: np.exp(-pt / 60) / 60 * 2 * angle,
    "signal_up": lambda pt, angle, m: np.exp(-pt / 63) / 63 * 2 * angle,
    "signal_down": lambda pt, angle, m: np.exp(-pt / 57) / 57 * 2 * angle,
    "background": lambda pt, angle, m: np.exp(-pt / (20 + 0.2 * (m - 100))) / (20 + 0.2 * (m - 100)),
}


@pytest.mark.parametrize("name", TRUTH)
def test_flows_are_near_the_truth(name):
    """Mean of log(p_true / p) over events of the truth, in nats: 20,000 events allow about 0.01."""
    rng = np.random.default_rng(3)
    scale = {"signal": 60, "signal_up": 63, "signal_down": 57, "background": 25}[name]
    u = rng.random(20_000)
    x = np.stack([rng.exponential(scale, 20_000), u if name == "background" else np.sqrt(u)], axis=1)
    log_true = np.log(TRUTH[name](x[:, 0], x[:, 1], 125.0))
    assert abs(np.mean(log_true - hz.examples.flow(name).log_prob_array(x, 125.0))) < 0.03


def test_the_spectrum_is_that_of_the_table():
    total, _ = quad(lambda m: np.exp(-2 * (m - 100) / 60), 100, 160)
    spectrum = hz.ExpQuadratic(hz.examples.mass(), 2.0, 0.0)
    np.testing.assert_allclose(spectrum.pdf([100.0, 130.0]), [1 / total, np.exp(-1) / total], rtol=1e-9)
