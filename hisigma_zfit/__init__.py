"""Unbinned inference on resonances in many dimensions, with backgrounds learned from data, on zfit.

Examples in docstrings take ``import hisigma_zfit as hz``, ``import numpy as np`` and ``import zfit`` for granted; their
events and flows are those of `hisigma_zfit.examples`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hisigma_zfit import threads
from hisigma_zfit.console import banners

__version__ = "0.1.0"

banners.keep_quiet()
threads.one_for_each_operation()

# Public name -> module that defines it.  Loaded on first use (PEP 562), because importing TensorFlow takes seconds.
_PUBLIC = {
    "Dataset": "data",
    "SignalRegion": "data",
    "feature_space": "data",
    "read": "data",
    "read_batches": "data",
    "ConditionalFlow": "density.flows",
    "load_flow": "density.loading",
    "maf": "density.tfp_flows",
    "spline_flow": "density.warped",
    "held_out_events": "learn.resampling",
    "train_flow": "density.training",
    "ExpQuadratic": "model.shapes",
    "fit_shape": "model.shapes",
    "falling_shape": "model.falling",
    "peak_shape": "model.peaks",
    "MaskedShape": "model.masked",
    "FlowProductPDF": "model.pdfs",
    "signal_plus_background": "model.compose",
    "ConditionalVariation": "model.systematics",
    "ShapeVariation": "model.systematics",
    "lognormal_yield": "model.uncertain_yields",
    "shifted_yield": "model.uncertain_yields",
    "nuisance": "model.systematics",
    "ExtendedNLL": "likelihood.nll",
    "fit": "fitting.minimizer",
    "profile": "fitting.scans",
    "discovery": "inference.hypotests",
    "interval": "inference.hypotests",
    "upper_limit": "inference.hypotests",
    "limit_scan": "inference.hypotests",
    "expected_discovery": "inference.hypotests",
    "feldman_cousins": "inference.unified",
    "signal_response": "inference.response",
    "find_signal": "inference.search",
    "fit_spectrum": "model.spectrum",
    "null_toys": "inference.search_null",
    "search_pvalue": "inference.search_null",
    "yield_response": "inference.yield_response",
    "scan_windows": "inference.window_scan",
    "sideband_windows": "inference.window_scan",
    "significance_improvement": "statistics.significance_improvement",
    "ScaledSignal": "inference.signal_families",
    "SignalFamily": "inference.signal_families",
    "fit_family": "inference.family_fits",
    "family_interval": "inference.family_toys",
    "measure": "measurement.pipeline",
    "search": "anomaly.pipeline",
    "validate": "validation.pipeline",
    "unblind": "unblinding",
    "Process": "crosssection.nuisances",
    "ShapeNuisance": "crosssection.nuisances",
    "NormNuisance": "crosssection.nuisances",
    "square": "crosssection.nuisances",
    "lognormal": "crosssection.nuisances",
    "uniform": "crosssection.nuisances",
    "Unbinned": "crosssection.regions",
    "Counting": "crosssection.regions",
    "RatioLikelihood": "likelihood.ratio",
    "impacts": "inference.impacts",
    "cross_section": "crosssection.pipeline",
    "coverage": "crosssection.study",
    "export_analysis": "sharing.exporting",
    "load_analysis": "sharing.analysis",
    "combine_analyses": "sharing.combining",
}
_ROOMS = {"examples": "examples", "plotting": "plotting", "tables": "report.tables", "results": "results"}

__all__ = ["__version__", *_PUBLIC, *_ROOMS]  # noqa: PLE0604 - the two tables are the list of names


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    elif name in _ROOMS:
        value = importlib.import_module(f"{__name__}.{_ROOMS[name]}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from hisigma_zfit.data import Dataset as Dataset
    from hisigma_zfit.data import SignalRegion as SignalRegion
    from hisigma_zfit.data import feature_space as feature_space
    from hisigma_zfit.data import read as read
    from hisigma_zfit.data import read_batches as read_batches
