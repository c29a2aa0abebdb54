"""A validation whose numbers are chosen by hand, for the tests of words, figures and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.results import ClosureReport, Estimate, RetrainedFit, Spectrum, Validation
from hisigma_zfit.validation import verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

REGION = (115.0, 135.0)
SIGMA = 20.0


def fit(name: str, value: float, **changes: Any) -> RetrainedFit:
    """A fit with a statistical error of 20 events and a reported one of 21."""
    facts: dict[str, Any] = {
        "kind": name.split("-", maxsplit=1)[0],
        "region": REGION,
        "error": 21.0,
        "z": 1.0,
        "statistical": Estimate(value, SIGMA),
        "truth": None,
        "unit": SIGMA,
        "strength": 0.0,
        "injected": 0,
        "variant": "",
        "partner": "",
        "n_data": 40_000,
        "n_inside": 9_000,
        "n_training": 31_000,
        "n_leaked": 0,
    }
    return RetrainedFit(name=name, value=value, **(facts | changes))


def window(number: int, value: float, region: tuple[float, float] = (140.0, 155.0), **changes: Any) -> RetrainedFit:
    """Data without signal."""
    return fit(f"window-{number:03d}", value, region=region, p_value=0.4, misfit={"a": 0.002, "b": 0.004}, **changes)


def injection(number: int, injected: int, shift: float, noise: float = 0.0) -> RetrainedFit:
    """A pseudo-experiment: true densities find `noise` events too much, the trained ones `shift` sigma beyond."""
    true = injected + noise
    return fit(
        f"injection-{number:03d}",
        true + shift * SIGMA,
        injected=injected,
        strength=injected / SIGMA,
        truth=Estimate(true, SIGMA),
    )


def jobs(
    shifts: Sequence[float] = (0.1, -0.1, 0.05, 0.0), pulls: Sequence[float] = (0.5, -1.0, 0.3)
) -> tuple[Any, ...]:
    """Fits of every kind."""
    places = ((96.25, 108.75), (140.0, 155.0), (160.0, 175.0))
    windows = [window(k, SIGMA * pull, places[k]) for k, pull in enumerate(pulls)]
    injected = [injection(k, n, s, 7.0 * k) for k, (n, s) in enumerate(zip((0, 0, 40, 100), shifts, strict=True))]
    last = injected[-1]
    return (
        *windows,
        *injected,
        fit("contamination-000", last.value - 1.0, injected=100, partner=last.name, truth=last.truth),
        fit("stability-seed", windows[1].value + 3.0, region=places[1], partner=windows[1].name, variant="seed"),
        fit("stability-quick", windows[1].value - 6.0, region=places[1], partner=windows[1].name, variant="quick"),
    )


def validation(fits: Sequence[RetrainedFit] | None = None, *, outside: float = 0.004) -> Validation:
    """What follows from fits."""
    fits = jobs() if fits is None else tuple(fits)
    closure = ClosureReport((), {"a": 0.001, "b": -0.001})
    spurious, slope = verdict.spurious_signal(fits, SIGMA), verdict.response(fits)
    checks = verdict.all_checks(fits, spurious, slope, closure, signal_outside=outside)
    state, words = verdict.verdict(checks, spurious)
    edges = np.concatenate([np.arange(90.0, 115.0, 2.5), np.arange(135.0, 180.0, 2.5)])
    expected = 3000.0 * np.exp(-(edges - 90.0) / 45.0)
    return Validation(
        poi="n_sig",
        region=REGION,
        state=state,
        verdict=words,
        spurious=spurious,
        response=slope,
        signal_outside=outside,
        checks=checks,
        jobs=tuple(fits),
        closure=closure,
        spectrum=Spectrum(
            "m_gg", np.stack([edges, edges + 2.5], axis=1), np.random.default_rng(1).poisson(expected) * 1.0, expected
        ),
        left_out=(),
        timings_s={"total": 1.0},
        seed=1,
        inputs={"data.root": "sha256:0"},
        versions={"python": "3"},
        options={"preset": "standard"},
    )
