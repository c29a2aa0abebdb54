"""Counting experiments: flat densities, so that likelihoods have closed forms to compare with."""

from __future__ import annotations

import numpy as np
import zfit

from hisigma_zfit.likelihood.nll import ExtendedNLL

SPACE = ("m", 0.0, 1.0)
ROWS = 20


def parameter(name, value, *, floating=True) -> zfit.Parameter:
    result = zfit.Parameter(name, value)
    result.floating = floating
    return result


def flat(extended) -> zfit.pdf.BasePDF:
    return zfit.pdf.Uniform(0.0, 1.0, obs=zfit.Space(*SPACE), extended=extended)


def observe(n: float) -> zfit.Data:
    """A few weighted events that stand for n, which may be large or broken; the likelihood must be told so."""
    rows = np.linspace(0.05, 0.95, ROWS)[:, None]
    return zfit.Data.from_numpy(obs=zfit.Space(*SPACE), array=rows, weights=np.full(ROWS, n / ROWS))


def counting(n: float, b: float, *, sigma: float | None = None) -> ExtendedNLL:
    """Pois(n | s + b), with b known, or with a Gaussian measurement of b of this width."""
    s, known = parameter("s", max(n - b, 1.0)), parameter("b", b, floating=sigma is not None)
    constraints = [] if sigma is None else [zfit.constraint.GaussianConstraint(known, observation=b, sigma=sigma)]
    return ExtendedNLL(
        zfit.pdf.SumPDF([flat(s), flat(known)]), observe(n), constraints=constraints or None, expected=True
    )


def on_off(n: float, off: float, tau: float) -> ExtendedNLL:
    """Pois(n | s + b) Pois(off | tau b): two categories that share a background."""
    s, b = parameter("s", max(n - off / tau, 1.0)), parameter("b", off / tau)
    control = zfit.ComposedParameter("tau_b", lambda b: tau * b, params={"b": b})
    return ExtendedNLL([zfit.pdf.SumPDF([flat(s), flat(b)]), flat(control)], [observe(n), observe(off)], expected=True)


def poisson_t(s: float, n: float, b: float, reference: float) -> float:
    """2 dNLL of s with respect to `reference` for n events over a known background."""
    return 2.0 * (s - reference - n * np.log((s + b) / (reference + b)))
