"""`hisigma_zfit.fitting.profiler` under the name that it had before."""

from hisigma_zfit.fitting.profiler import Newton, NewtonResult, Profiler, fit, profile

__all__ = ["Newton", "NewtonResult", "Profiler", "fit", "profile"]
