"""`hisigma_zfit.fitting.profiler` and `hisigma_zfit.fitting.minimizer` under the name that they had before."""

from hisigma_zfit.fitting.minimizer import Newton, NewtonResult, fit
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.fitting.scans import profile

__all__ = ["Newton", "NewtonResult", "Profiler", "fit", "profile"]
