"""Words and numbers that follow from fits which were made up, compared with what one finds by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import validations
from scipy.stats import linregress
from scipy.stats import t as student

from hisigma_zfit.results import ClosureReport
from hisigma_zfit.validation import verdict

SIGMA = validations.SIGMA


def states(result):
    return {check.name: check.state for check in result.checks}


def test_the_mean_shift_of_pseudo_experiments_is_quoted():
    shifts = (0.4, 0.3, 0.35, 0.39)
    found = verdict.spurious_signal(validations.jobs(shifts), SIGMA)
    assert found.mean == pytest.approx(np.mean(shifts))
    assert found.spread == pytest.approx(np.std(shifts, ddof=1))
    # with 4 of them Student's t at 68 % is 1.197
    assert found.error == pytest.approx(1.197 * np.std(shifts, ddof=1) / 2.0, rel=1e-3)
    assert found.quoted == pytest.approx(0.36 * SIGMA)
    assert found.source == "pseudo-experiments"


def test_an_unresolved_one_is_as_large_as_its_error():
    found = verdict.spurious_signal(validations.jobs((0.4, -0.4, 0.3, -0.3)), SIGMA)
    assert found.mean == pytest.approx(0.0)
    assert found.quoted == pytest.approx(student.ppf(0.8413447, 3) * found.spread / 2.0 * SIGMA, rel=1e-6)
    assert found.relative == pytest.approx(found.quoted / SIGMA)


def test_noise_that_both_fits_have_does_not_count():
    fits = [validations.injection(k, n, 0.1, noise=50.0 * (-1) ** k) for k, n in enumerate((0, 0, 40, 100))]
    assert verdict.spurious_signal(fits, SIGMA).spread == pytest.approx(0.0, abs=1e-12)


def test_windows_that_disagree_raise_it():
    """Mean pull 1.5 with an error of 1.05 / sqrt(3) = 0.61 is beyond two of these, 1.0 is not."""
    result = validations.validation(validations.jobs(pulls=(1.4, 1.6, 1.5)))
    assert result.spurious.source == "windows"
    assert result.spurious.quoted == pytest.approx(1.5 * SIGMA)
    assert states(result)["Pseudo-signal regions"] == "attention"
    assert result.state == "failed"  # 1.5 sigma is more than 0.5
    calm = validations.validation(validations.jobs(pulls=(1.0, 1.0, 1.0)))
    assert calm.spurious.source == "pseudo-experiments"
    assert calm.spurious.windows_error == pytest.approx(1.05 / np.sqrt(3))
    # what pseudo-experiments have too is no news: 1.5 is within two errors of 0.6
    known = validations.jobs((0.6, 0.61, 0.59, 0.6), pulls=(1.4, 1.6, 1.5))
    assert verdict.spurious_signal(known, SIGMA).source == "pseudo-experiments"


@pytest.mark.parametrize(
    ("shifts", "state"),
    [
        ((0.1, 0.1, 0.1, 0.11), "passed"),
        ((0.3, 0.31, 0.3, 0.31), "attention"),
        ((0.7, 0.71, 0.7, 0.69), "failed"),
        ((0.5, -0.5, 0.3, -0.2), "unclear"),
    ],
)
def test_the_spurious_signal_is_judged_by_its_size(shifts, state):
    result = validations.validation(validations.jobs(shifts))
    assert states(result)["Spurious signal"] == state
    assert result.state == state
    assert f"{result.spurious.quoted:.3g} events" in result.verdict
    assert ("Quote" in result.verdict) == (state != "failed")


def test_the_response_is_a_straight_line():
    fits = [validations.injection(k, n, n / 200, noise=11.0 * k) for k, n in enumerate((0, 20, 40, 100))]
    found = verdict.response(fits)
    assert found.value == pytest.approx(1.1)  # a shift of n / 200 sigma is 0.1 n events
    assert found.error == pytest.approx(0.0, abs=1e-9)
    fits = [validations.injection(k, n, s) for k, (n, s) in enumerate(((0, 0.3), (20, -0.2), (40, 0.1), (100, 0.4)))]
    line = linregress([0, 20, 40, 100], [6.0, 16.0, 42.0, 108.0])
    found = verdict.response(fits)
    assert found.value == pytest.approx(line.slope)
    assert found.error == pytest.approx(line.stderr * student.ppf(0.8413447, 2), rel=1e-6)
    assert np.isnan(verdict.response(fits[:1]).value)


def test_a_lost_signal_fails():
    fits = [validations.injection(k, n, -0.015 * n) for k, n in enumerate((0, 0, 40, 100))]
    result = validations.validation([*validations.jobs()[:3], *fits])
    assert result.response.value == pytest.approx(0.7)
    assert states(result)["Injected signal"] == "failed"


def test_contamination_and_other_trainings_are_differences_to_the_same_events():
    fits = list(validations.jobs())
    result = validations.validation(fits)
    assert states(result)["Signal in the sidebands"] == "passed"
    words = {check.name: check.words for check in result.checks}
    assert "+1.0 events (+0.05 statistical errors)" in words["Signal in the sidebands"]
    assert "seed +0.15, quick -0.30" in words["Other trainings"]
    changed = [dataclasses.replace(f, value=f.value - 8.0) if f.kind == "contamination" else f for f in fits]
    assert states(validations.validation(changed))["Signal in the sidebands"] == "attention"  # 9 of 20 events
    changed = [dataclasses.replace(f, value=f.value - 8.0) if f.variant == "quick" else f for f in fits]
    assert states(validations.validation(changed))["Other trainings"] == "attention"
    alone = [f for f in fits if f.kind not in {"contamination", "stability"}]
    assert states(validations.validation(alone, outside=0.0))["Signal in the sidebands"] == "passed"
    assert states(validations.validation(alone))["Signal in the sidebands"] == "unclear"


def test_windows_fail_by_their_chi_square_and_by_what_is_seen_in_them():
    """3.4^2 + 3.4^2 for errors of 21 / 20: 21.0 for three has p = 1e-4, though the mean is zero."""
    assert states(validations.validation(validations.jobs(pulls=(3.4, -3.4, 0.0))))["Pseudo-signal regions"] == "failed"
    fits = list(validations.jobs())
    fits[0] = dataclasses.replace(fits[0], flagged=("b",))
    result = validations.validation(fits)
    assert states(result)["Density of the background"] == "failed"
    assert "misses b" in " ".join(check.words for check in result.checks)
    fits[0] = dataclasses.replace(fits[0], flagged=(), p_value=0.003)
    assert states(validations.validation(fits))["Goodness of fit"] == "failed"  # times three is 0.009
    fits[0] = dataclasses.replace(fits[0], p_value=0.004)
    assert states(validations.validation(fits))["Goodness of fit"] == "passed"


def test_an_error_that_forgets_the_training_asks_for_care():
    """A spread of 1.1 makes the total error 1.5 times the statistical one, 1.3 at least; 1.05 is reported."""
    result = validations.validation(validations.jobs((1.3, -1.3, 0.9, -0.9)))
    assert states(result)["Size of the error"] == "attention"


def test_fits_that_fail_are_told_and_count_nowhere_else():
    fits = list(validations.jobs())
    fits[3] = dataclasses.replace(fits[3], value=np.nan, failure="the fit did not converge")
    result = validations.validation(fits)
    assert states(result)["Fits that failed"] == "failed"
    assert result.spurious.n == 3
    assert np.isfinite(result.spurious.quoted)


def test_held_out_sidebands_count():
    fits = validations.jobs()
    spurious, slope = verdict.spurious_signal(fits, SIGMA), verdict.response(fits)
    checks = verdict.all_checks(fits, spurious, slope, ClosureReport(("a",), {"a": 0.1}), signal_outside=0.0)
    state, words = verdict.verdict(checks, spurious)
    assert state == "failed"
    assert "density of the background" in words
