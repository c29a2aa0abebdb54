"""A small search whose truth is known: what the examples in docstrings use, and what to try things on.

A resonance at 125 GeV with a width of 2 GeV falls on a background between 100 and 160 GeV.  Beside the mass ``m``
every event has two features, a momentum ``pt`` in GeV and an ``angle`` from 0 to 1:

    ==========  ==========================  ====================================  =======
    component   mass                        pt given m                            angle
    ==========  ==========================  ====================================  =======
    signal      Gauss(125, 2)               exponential, mean 60                  2 angle
    background  exp(-2 (m - 100) / 60)      exponential, mean 20 + 0.2 (m - 100)  uniform
    ==========  ==========================  ====================================  =======

`events` are 60 events of signal and 3,000 of background on average, `simulation` 1,000 of signal.  The flows that come
with the package were trained on 20,000 events each, that of the background on those outside of `REGION`:
``"background"``, ``"signal"``, ``"signal_up"`` and ``"signal_down"`` with pt scaled by 5 %, and ``"scaled_signal"`` of
(nu, pt, angle) with pt scaled by 5 % times nu.
``python -m hisigma_zfit.examples.make FOLDER`` makes all but ``"measured.hisigma.zip"``: a quick measurement of the
events, one net for each density and a nuisance ``lumi`` of 5 %, as ``hisigma export`` writes it.

What to use when: `path` for files and flows, to read them as one's own; `likelihood` for a likelihood at once.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hisigma_zfit.data import SignalRegion, read
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    import zfit
    from zfit.result import FitResult

    from hisigma_zfit.data import Dataset
    from hisigma_zfit.density.flows import ConditionalFlow
    from hisigma_zfit.likelihood.nll import ExtendedNLL
    from hisigma_zfit.model.compose import SignalPlusBackground
    from hisigma_zfit.toys.asimov import ImportanceSample

__all__ = [
    "FEATURES",
    "LIMITS",
    "MASSES",
    "NAMES",
    "REGION",
    "events",
    "fitted",
    "flow",
    "likelihood",
    "mass",
    "model",
    "path",
    "sample",
    "simulation",
]

NAMES = (
    *("events.root", "simulation.root", "measured.hisigma.zip"),
    *("background", "signal", "signal_up", "signal_down", "scaled_signal"),
)
MASSES = (100.0, 160.0)
LIMITS = {"pt": (0.0, math.inf), "angle": (0.0, 1.0)}
FEATURES = tuple(LIMITS)
REGION = SignalRegion(118.0, 132.0)


def path(name: str) -> Path:
    """Where a part of the example lies.

    Args:
        name: A file of events, ``"events.root"`` or ``"simulation.root"`` (tree ``events``), a flow's folder, or
            ``"measured.hisigma.zip"``, an exported analysis.

    Raises:
        InputError: There is no such part.
    """
    if name not in NAMES:
        raise InputError.from_parts(expected=f"one of {', '.join(NAMES)}", got=repr(name), do="choose one")
    return Path(__file__).parent / "files" / name


def events() -> Dataset:
    """The events that are searched: columns ``m``, ``pt`` and ``angle``."""
    return read(path("events.root"))


def simulation() -> Dataset:
    """Simulated signal with the same columns."""
    return read(path("simulation.root"))


@cache
def flow(name: str) -> ConditionalFlow:
    """One of the flows, read once."""
    from hisigma_zfit.density.loading import load_flow

    return load_flow(path(name))


def mass() -> zfit.Space:
    """Space of the mass, 100 to 160 GeV."""
    import zfit

    return zfit.Space("m", *MASSES)


def model() -> SignalPlusBackground:
    """Signal and background with their flows; parameters ``n_sig``, ``n_bkg`` and the spectrum's ``p1``.

    Every call makes new parameters.
    """
    import zfit

    from hisigma_zfit.model.compose import signal_plus_background
    from hisigma_zfit.model.pdfs import FlowProductPDF
    from hisigma_zfit.model.shapes import ExpQuadratic

    space = mass()
    peak = zfit.pdf.Gauss(125.0, 2.0, obs=space)
    falling = ExpQuadratic(space, zfit.Parameter("p1", 2.0, 0.0, 10.0), 0.0)
    return signal_plus_background(
        FlowProductPDF(peak, flow("signal")),
        FlowProductPDF(falling, flow("background")),
        poi=zfit.Parameter("n_sig", 50.0),
        yields=[zfit.Parameter("n_bkg", 3000.0, 0.0)],
    )


def likelihood() -> ExtendedNLL:
    """The likelihood of `events` under a new `model`."""
    from hisigma_zfit.likelihood.nll import ExtendedNLL

    return ExtendedNLL(model(), events())


@cache
def fitted() -> FitResult:
    """The fit of one `likelihood`, made once."""
    from hisigma_zfit.fitting.minimizer import fit

    return fit(likelihood())


@cache
def sample() -> ImportanceSample:
    """5,000 events of either component for Asimov sets and toys, drawn once."""
    from hisigma_zfit.toys.asimov import ImportanceSample

    return ImportanceSample(fitted().loss, events=5000)
