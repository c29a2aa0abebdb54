"""NNPDF2.3 QCD+QED LO, alpha_s(M_Z) = 0.130 (arXiv:1308.0598), from the grid in the Pythia 8 wheel."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import RectBivariateSpline

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

PYTHIA_SET = 13
GLUON = 21
ALPHA_S_MZ, MASS_Z = 0.130, 91.188

_LOG_X = np.linspace(np.log(2e-6), np.log(0.95), 240)
_LOG_MU2 = np.linspace(np.log(10.0**2), np.log(5000.0**2), 50)


@cache
def _pythia_pdf(pdf_set: int) -> tuple[Any, Any]:
    import pythia8mc  # noqa: PLC0415  the matrix elements and their tests do without it

    pythia = pythia8mc.Pythia("", False)
    # Any process will do: Pythia hands out the densities only once it is initialised.
    for line in (f"PDF:pSet = {pdf_set}", "Print:quiet = on", "HiggsSM:ffbar2HZ = on", "Beams:eCM = 14000."):
        pythia.readString(line)
    pythia.init()
    return pythia, pythia.getPDFPtr(2212)  # the densities live as long as the generator


@cache
def _spline(parton: int, pdf_set: int) -> RectBivariateSpline:
    pdf = _pythia_pdf(pdf_set)[1]
    table = [[pdf.xf(parton, float(np.exp(x)), float(np.exp(q))) for q in _LOG_MU2] for x in _LOG_X]
    return RectBivariateSpline(_LOG_X, _LOG_MU2, np.array(table), kx=3, ky=3)


def xf(parton: int, x: Array, mu2: Array, pdf_set: int = PYTHIA_SET) -> Array:
    """Momentum density x f(x, mu^2) of a parton (PDG code) in the proton, never negative; shape (n,)."""
    return np.maximum(_spline(parton, pdf_set).ev(np.log(x), np.log(mu2)), 0.0)


def alpha_s(mu2: Array) -> Array:
    """One-loop running coupling with five flavours."""
    return ALPHA_S_MZ / (1 + ALPHA_S_MZ * 23 / (12 * np.pi) * np.log(mu2 / MASS_Z**2))
