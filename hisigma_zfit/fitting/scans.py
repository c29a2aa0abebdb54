"""A scan of one parameter in one call; see `hisigma_zfit.fitting.profiler`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hisigma_zfit.fitting.profiler import Profiler

if TYPE_CHECKING:
    import numpy.typing as npt

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.likelihood.protocol import Likelihood

__all__ = ["profile"]


def profile(loss: Likelihood | Any, poi: str | Any, values: npt.ArrayLike) -> Array:
    """Profiled 2 dNLL of one parameter, paper (arXiv:2506.06438) eq. 2.2.

    Args:
        loss: The likelihood, or the result of its fit; its parameters' values are the start and are not changed.
        poi: The parameter, or its name.
        values: Scan points, shape (n,).

    Returns:
        t at the points, shape (n,); infinite where the density is not positive.

    Example:
        >>> hz.profile(hz.examples.likelihood(), "n_sig", [0.0, 41.4]).round(2)  # Z^2 at zero, and the minimum
        array([21.29,  0.  ])
    """
    return Profiler.of(loss, poi).scan(values)
