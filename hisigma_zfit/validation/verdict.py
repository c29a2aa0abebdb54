"""From fits to words: spurious signal, the number to quote, and one check for each question.

Thresholds, all in units of the expected statistical error sigma of the signal:

- A systematic uncertainty of **0.2 sigma** makes the total error 2 % larger; ATLAS asks the spurious signal of its
  background functions to stay below it (ATL-PHYS-PUB-2020-028), and so does this page.  Up to **0.5 sigma** (12 %) the
  measurement can be used when the number is quoted.  Beyond, the background's shape decides more than the data do.
- Windows: the squares of the pulls follow a chi-square distribution where the measurement's own error covers what is
  left; p < 0.01 fails, which right errors do once in a hundred validations.  Their mean can only show a spurious signal
  beyond two of its errors, and the words say so.
- Response: the slope of found with injected signal is one within 10 % or two of its errors.
- Goodness of fit: the smallest p-value of n windows, times n, is above 0.01.

**The number to quote** is the larger of the mean shift in pseudo-experiments and its error, since one that is not
resolved may be as large as that.  Where the windows' mean is more than two errors from that of the pseudo-experiments,
the data see something that these do not have, and its size counts if it is larger.  By the truth benchmark
(docs/coverage.md) the mean shift in pseudo-experiments is about the true bias where nothing is hard in the densities,
and half of it where an edge moves with another feature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2
from scipy.stats import t as student

from hisigma_zfit.results import Check, Estimate, RetrainedFit, SpuriousSignal
from hisigma_zfit.statistics.intervals import ONE_SIGMA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.results import ClosureReport
    from hisigma_zfit.results.validation import State

__all__ = ["GOOD", "LEAKS", "USABLE", "all_checks", "response", "spurious_signal", "verdict"]

GOOD, USABLE = 0.2, 0.5
LEAKS = 0.001  # share of the signal in the sidebands from which on it is tried: of hundreds of events not one before
_UNLIKELY = 0.01
_SLOPE = 0.1
_SAME = 0.02  # two trainings that differ in anything differ by more
_ORDER: tuple[State, ...] = ("passed", "attention", "unclear", "failed")


def _of(jobs: Sequence[RetrainedFit], kind: str) -> list[RetrainedFit]:
    return [job for job in jobs if job.kind == kind and not job.failure]


def spurious_signal(jobs: Sequence[RetrainedFit], sigma: float) -> SpuriousSignal:
    """Signal that is found where none is, and the number to quote; see the module's text.

    Args:
        jobs: All fits.
        sigma: Expected statistical error, in events.
    """
    shifts = np.array([job.shift for job in _of(jobs, "injection")])
    in_windows = _of(jobs, "window")
    pulls = np.array([job.shift for job in in_windows])
    spread = float(shifts.std(ddof=1)) if len(shifts) > 1 else np.inf
    mean = float(shifts.mean()) if len(shifts) else np.nan
    # few of them know their own spread badly: Student's t instead of a Gaussian
    wide = float(student.ppf(0.5 + 0.5 * ONE_SIGMA, len(shifts) - 1)) if len(shifts) > 1 else np.inf
    error = wide * spread / np.sqrt(max(len(shifts), 1))
    windows = float(pulls.mean()) if len(pulls) else np.nan
    # of data and of trainings, as the measurement reports it
    errors = np.array([job.error / job.unit for job in in_windows])
    windows_error = float(np.sqrt(np.sum(errors**2)) / len(errors)) if len(errors) else np.inf
    quoted = max(abs(mean), error) if len(shifts) else np.inf
    by_windows = abs(windows - mean) > 2.0 * float(np.hypot(windows_error, error)) and abs(windows) > quoted
    return SpuriousSignal(
        mean=mean,
        error=float(error),
        spread=spread,
        n=len(shifts),
        windows=windows,
        windows_error=windows_error,
        n_windows=len(pulls),
        sigma=sigma,
        quoted=float(sigma * (abs(windows) if by_windows else quoted)),
        source="windows" if by_windows else "pseudo-experiments",
    )


def response(jobs: Sequence[RetrainedFit]) -> Estimate:
    """Slope of the found signal with the injected one, by least squares; one for a right measurement.

    Found is what the trained densities find beyond what the true ones find on the same events.  The error is that of
    the residuals, with 68 % of Student's t; not a number for fewer than three fits or one strength.
    """
    fits = _of(jobs, "injection")
    injected = np.array([float(job.injected) for job in fits])
    if len(fits) < 3 or np.ptp(injected) == 0:
        return Estimate(np.nan, np.nan)
    extra = np.array([job.value - job.truth.value for job in fits if job.truth is not None])
    apart = injected - injected.mean()
    slope = float(apart @ extra / (apart @ apart))
    left = extra - extra.mean() - slope * apart
    variance = float(left @ left) / (len(fits) - 2) / float(apart @ apart)
    return Estimate(1.0 + slope, float(student.ppf(0.5 + 0.5 * ONE_SIGMA, len(fits) - 2) * np.sqrt(variance)))


def _by_size(size: float) -> State:
    return "passed" if size <= GOOD else "attention" if size <= USABLE else "failed"


def _spurious(what: SpuriousSignal) -> Check:
    state = _by_size(what.relative)
    if state != "passed" and what.source == "pseudo-experiments" and abs(what.mean) <= max(GOOD, what.error):
        state = "unclear"
    words = (
        f"In {what.n} retrained pseudo-experiments the signal is shifted by {what.mean:+.2f} +- {what.error:.2f} of "
        f"the statistical error ({what.sigma:.3g} events); quote {what.quoted:.3g} events, {what.relative:.2f} of it. "
        f"Up to {GOOD} it hardly matters, up to {USABLE} it must be quoted."
    )
    if state == "unclear":
        words += " The error decides this: more --replicas would tell."
    elif state != "passed":
        words += " More sideband events (--sideband-training) or fewer features make it smaller."
    return Check("Spurious signal", state, words)


def _windows(jobs: Sequence[RetrainedFit], what: SpuriousSignal) -> Check:
    fits = _of(jobs, "window")
    if not fits:
        return Check("Pseudo-signal regions", "unclear", "No window could be fitted.")
    total = float(sum((job.value / job.error) ** 2 for job in fits))
    p = float(chi2.sf(total, len(fits)))
    state: State = "failed" if p < _UNLIKELY else "attention" if what.source == "windows" else "passed"
    found = ", ".join(f"{job.value:.0f} +- {job.error:.0f}" for job in fits)
    words = (
        f"Where the sidebands' data were hidden and fitted for a signal that is not there, {found} events were found: "
        f"chi2 {total:.1f} for {len(fits)}, p = {p:.2g} (below {_UNLIKELY} would be a failure). Together they can see "
        f"a spurious signal of {2.0 * what.windows_error:.1f} statistical errors, not a smaller one."
    )
    return Check("Pseudo-signal regions", state, words)


def _response(slope: Estimate) -> Check:
    if not np.isfinite(slope.error):
        return Check("Injected signal", "unclear", "Fewer than three pseudo-experiments, or all of one strength.")
    away = abs(slope.value - 1.0)
    state: State = "passed" if away <= max(_SLOPE, 2.0 * slope.error) else "failed"
    if state == "passed" and slope.error > 2.0 * _SLOPE:
        state = "unclear"
    words = (
        f"Of the signal that is injected the fit returns {slope.value:.2f} +- {slope.error:.2f}, beside a fit with the "
        f"true densities; it should be one within {_SLOPE} or two errors."
    )
    return Check("Injected signal", state, words)


def _pairs(jobs: Sequence[RetrainedFit], kind: str) -> dict[str, tuple[RetrainedFit, RetrainedFit]]:
    """The fits of one kind with those that they are compared with."""
    partners = {job.name: job for job in jobs}
    return {
        job.name: (job, partners[job.partner])
        for job in _of(jobs, kind)
        if job.partner in partners and not partners[job.partner].failure
    }


def _contamination(jobs: Sequence[RetrainedFit], outside: float) -> Check:
    share = f"{100.0 * outside:.2g} % of the simulated signal is in the sidebands and trains the background"
    pairs = _pairs(jobs, "contamination")
    if not pairs:
        if outside <= LEAKS:
            return Check("Signal in the sidebands", "passed", f"{share}: too little to be tried.")
        return Check("Signal in the sidebands", "unclear", f"{share}; no trainings with and without it were compared.")
    ((clean, dirty),) = pairs.values()
    change = dirty.value - clean.value
    size = abs(change) / dirty.unit
    words = (
        f"{share}. With {dirty.injected} injected events {dirty.n_leaked} trained it among {dirty.n_training}, and the "
        f"fitted signal is {change:+.1f} events ({change / dirty.unit:+.2f} statistical errors) from "
        f"that of a training without them; {GOOD} would matter."
    )
    return Check("Signal in the sidebands", _by_size(size), words)


def _stability(jobs: Sequence[RetrainedFit]) -> Check:
    pairs = _pairs(jobs, "stability")
    if not pairs:
        return Check("Other trainings", "unclear", "None was compared.")
    changes = {job.variant: (job.value - own.value) / own.unit for job, own in pairs.values()}
    size = max(map(abs, changes.values()))
    found = ", ".join(f"{name} {change:+.2f}" for name, change in changes.items())
    same = [name for name, change in changes.items() if abs(change) < _SAME]
    region = next(iter(pairs.values()))[0].region
    words = (
        f"In the pseudo-signal region [{region[0]:.4g}, {region[1]:.4g}) the same data with other trainings change by "
        f"{found} statistical errors; {USABLE} is what {GOOD} and the noise of a training allow."
    )
    if same:
        words += f" With so many events {' and '.join(same)} hardly train differently."
    return Check("Other trainings", "passed" if size <= USABLE else "attention", words)


def _closure(jobs: Sequence[RetrainedFit], held_out: ClosureReport) -> Check:
    windows = _of(jobs, "window")
    missed = {feature for job in windows for feature in job.flagged}
    judged = sum(bool(job.misfit) for job in windows)
    words = f"The density against sidebands that did not train it: {held_out}. "
    words += (
        f"In {judged} windows that it was carried into, it misses {', '.join(sorted(missed)) or 'nothing'}."
        if judged
        else "No window has the 500 events that it takes to judge the interpolation."
    )
    if missed or held_out.flagged:
        return Check("Density of the background", "failed", f"{words} Try other features or --sideband-training.")
    return Check("Density of the background", "unclear" if held_out.too_few and not judged else "passed", words)


def _fit_quality(jobs: Sequence[RetrainedFit]) -> Check:
    p_values = [job.p_value for job in _of(jobs, "window") if job.p_value is not None]
    if not p_values:
        return Check("Goodness of fit", "unclear", "No window has the 50 events that it takes.")
    smallest = min(1.0, min(p_values) * len(p_values))
    words = (
        f"Mass and features in the windows against the fitted model: p = {', '.join(f'{p:.2g}' for p in p_values)} "
        f"(energy test); the smallest, corrected for their number, is {smallest:.2g}, and {_UNLIKELY} would fail."
    )
    return Check("Goodness of fit", "failed" if smallest < _UNLIKELY else "passed", words)


def _width(jobs: Sequence[RetrainedFit], what: SpuriousSignal) -> Check:
    fits = _of(jobs, "injection")
    if what.n < 3:
        return Check("Size of the error", "unclear", "Fewer than three pseudo-experiments.")
    reported = float(np.mean([job.error / job.statistical.error for job in fits]))
    needed = float(np.hypot(1.0, what.spread))
    low, high = (float(np.hypot(1.0, s)) for s in _spread_interval(what))
    words = (
        f"From training to training the signal moves by {what.spread:.2f} statistical errors, so that the total error "
        f"should be {needed:.2f} times the statistical one (between {low:.2f} and {high:.2f} by the number of "
        f"pseudo-experiments); the measurement reports {reported:.2f} times."
    )
    if reported < low:
        return Check("Size of the error", "attention", f"{words} It is too small: add the spread in quadrature.")
    if reported > 1.1 * high:
        words += " It is wider than it need be."
    return Check("Size of the error", "passed", words)


def _spread_interval(what: SpuriousSignal) -> Array:
    """68 % interval of the true spread, for Gaussian shifts."""
    tails = np.array([0.5 + 0.5 * ONE_SIGMA, 0.5 - 0.5 * ONE_SIGMA])
    interval: Array = what.spread * np.sqrt((what.n - 1) / chi2.ppf(tails, what.n - 1))
    return interval


def all_checks(
    jobs: Sequence[RetrainedFit],
    spurious: SpuriousSignal,
    slope: Estimate,
    closure: ClosureReport,
    *,
    signal_outside: float,
) -> tuple[Check, ...]:
    """Every question with its answer.

    Args:
        jobs: All fits.
        spurious: From `spurious_signal`.
        slope: From `response`.
        closure: What held-out sidebands say of the reference.
        signal_outside: Share of the simulated signal in the sidebands.
    """
    checks = [
        _spurious(spurious),
        _windows(jobs, spurious),
        _response(slope),
        _contamination(jobs, signal_outside),
        _closure(jobs, closure),
        _fit_quality(jobs),
        _stability(jobs),
        _width(jobs, spurious),
    ]
    failed: Mapping[str, str] = {job.name: job.failure for job in jobs if job.failure}
    if failed:
        words = (
            f"{len(failed)} of {len(jobs)} fits did not converge: {', '.join(failed)}. {next(iter(failed.values()))}"
        )
        checks.append(Check("Fits that failed", "failed", words))
    return tuple(checks)


def verdict(checks: Sequence[Check], spurious: SpuriousSignal) -> tuple[State, str]:
    """The worst state, and the whole in plain words."""
    state = max((check.state for check in checks), key=_ORDER.index)
    named = {each: ", ".join(check.name.lower() for check in checks if check.state == each) for each in _ORDER}
    size = f"{spurious.quoted:.3g} events ({spurious.relative:.2f} of the statistical error)"
    quote = f"Quote {size} as the systematic uncertainty of the background's shape."
    if state == "failed":
        quote = f"The systematic uncertainty of the background's shape would be {size}."
    beginning = {
        "passed": "The measurement passes every check.",
        "attention": f"The measurement can be used with care: {named['attention']}.",
        "unclear": f"Nothing speaks against the measurement, but more is needed to tell: {named['unclear']}.",
        "failed": f"The measurement should not be unblinded as it is: {named['failed']}.",
    }[state]
    if state == "unclear" and named["attention"]:
        beginning += f" Care is needed with: {named['attention']}."
    return state, f"{beginning} {quote}"
