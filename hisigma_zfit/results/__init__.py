"""What every question answers with: frozen, typed and JSON-able; numpy only."""

from hisigma_zfit.results.explanations import Contour, Correlations, GoodnessOfFit, Impact, Impacts, WeightedFeature
from hisigma_zfit.results.limits import LimitScan
from hisigma_zfit.results.measurement import Discovery, Interval, LikelihoodScan, Measurement, Projection, UpperLimit
from hisigma_zfit.results.strategies import Expectation, PairedSummary, StrategyResult, StrategySummary
from hisigma_zfit.results.toys import ToySummary
from hisigma_zfit.results.training import TrainingHistory

__all__ = [
    "Contour",
    "Correlations",
    "Discovery",
    "Expectation",
    "GoodnessOfFit",
    "Impact",
    "Impacts",
    "Interval",
    "LikelihoodScan",
    "LimitScan",
    "Measurement",
    "PairedSummary",
    "Projection",
    "StrategyResult",
    "StrategySummary",
    "ToySummary",
    "TrainingHistory",
    "UpperLimit",
    "WeightedFeature",
]
