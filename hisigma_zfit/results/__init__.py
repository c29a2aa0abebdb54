"""What every question answers with: frozen, typed and JSON-able; numpy only."""

from hisigma_zfit.results.anomaly import LearnedFeature, Search, SearchBackground
from hisigma_zfit.results.answers import Discovery, Interval, LikelihoodScan, UpperLimit
from hisigma_zfit.results.blind import BlindCounts, BlindMeasurement, ExpectedMeasurement
from hisigma_zfit.results.explanations import Contour, Correlations, GoodnessOfFit, Impact, Impacts, WeightedFeature
from hisigma_zfit.results.families import FamilyFit, FamilyInterval, FamilyParameter
from hisigma_zfit.results.limits import LimitScan
from hisigma_zfit.results.measurement import (
    ClosureReport,
    ConfidenceLevels,
    Estimate,
    EventCounts,
    FitSummary,
    Measurement,
    MemberFit,
    SignalResponse,
    TrainingChoice,
)
from hisigma_zfit.results.posterior import CalibrationCurve, PosteriorQuality
from hisigma_zfit.results.projection import Projection
from hisigma_zfit.results.search import (
    EValue,
    FiducialYield,
    LearnedYield,
    Lump,
    NullToys,
    Optimum,
    SearchPValue,
    SearchResult,
    ShareProfile,
    SignalProperty,
    YieldResponse,
)
from hisigma_zfit.results.significance_improvement import SicCurve, SicPoint
from hisigma_zfit.results.strategies import Expectation, PairedSummary, StrategyResult, StrategySummary
from hisigma_zfit.results.toys import Coverage, LimitQuantiles, Quantiles, ToyParameter, ToySummary
from hisigma_zfit.results.training import TrainingHistory
from hisigma_zfit.results.unblinding import Unblinding
from hisigma_zfit.results.validation import Check, RetrainedFit, Spectrum, SpuriousSignal, Validation
from hisigma_zfit.results.window_scan import GrossVitells, ScannedWindow, SidebandWindow, SidebandWindows, WindowScan

__all__ = [
    "BlindCounts",
    "BlindMeasurement",
    "CalibrationCurve",
    "Check",
    "ClosureReport",
    "ConfidenceLevels",
    "Contour",
    "Correlations",
    "Coverage",
    "Discovery",
    "EValue",
    "Estimate",
    "EventCounts",
    "Expectation",
    "ExpectedMeasurement",
    "FamilyFit",
    "FamilyInterval",
    "FamilyParameter",
    "FiducialYield",
    "FitSummary",
    "GoodnessOfFit",
    "GrossVitells",
    "Impact",
    "Impacts",
    "Interval",
    "LearnedFeature",
    "LearnedYield",
    "LikelihoodScan",
    "LimitQuantiles",
    "LimitScan",
    "Lump",
    "Measurement",
    "MemberFit",
    "NullToys",
    "Optimum",
    "PairedSummary",
    "PosteriorQuality",
    "Projection",
    "Quantiles",
    "RetrainedFit",
    "ScannedWindow",
    "Search",
    "SearchBackground",
    "SearchPValue",
    "SearchResult",
    "ShareProfile",
    "SicCurve",
    "SicPoint",
    "SidebandWindow",
    "SidebandWindows",
    "SignalProperty",
    "SignalResponse",
    "Spectrum",
    "SpuriousSignal",
    "StrategyResult",
    "StrategySummary",
    "ToyParameter",
    "ToySummary",
    "TrainingChoice",
    "TrainingHistory",
    "Unblinding",
    "UpperLimit",
    "Validation",
    "WeightedFeature",
    "WindowScan",
    "YieldResponse",
]
