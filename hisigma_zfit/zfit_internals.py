"""Names of zfit that zfit does not promise to keep, each in one place and under a name of ours.

What to use when: `OpenLoss` to write a likelihood with derivatives of its own; `OpenResult` for a FitResult whose
errors come from elsewhere than Minuit; `random_seed` for random numbers that zfit's seed decides.
tests/test_zfit_internals.py has one test a name, which says what to mend here when a new version of zfit changes it.
The methods that zfit documents for subclasses (``_pdf``, ``_integrate``, ``_sample``, ``_minimize``) stand where they
are used; the same tests look at them.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import zfit
from zfit.z.random import get_prng

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

__all__ = ["OpenLoss", "OpenResult", "random_seed", "require_one_range"]


def require_one_range(space: Any) -> None:
    """Refuse zfit's spaces of several ranges, whose limits are none and which zfit gives up.

    Args:
        space: A zfit space, or anything else, which passes.

    Raises:
        InputError: It has several ranges.
    """
    parts = tuple(getattr(space, "spaces", ()))  # of zfit's MultiSpace, whose own count of them fails
    if len(parts) > 1:
        ranges = " and ".join(str(np.ravel(part.limits).tolist()) for part in parts)
        raise InputError.from_parts(
            expected=f"one range of {', '.join(space.obs)}",
            got=f"{len(parts)}: {ranges}",
            do="give the whole range, and leave out events of a region with data.sidebands(mass, region)",
        )


class OpenLoss(zfit.loss.ExtendedUnbinnedNLL):
    """zfit's extended unbinned likelihood, with what a subclass needs under public names."""

    def traced_value(self, constraints: Iterable[Any], *, with_constant: bool) -> Any:
        """The likelihood as TensorFlow operations; to be written by the subclass.

        Args:
            constraints: zfit constraints.
            with_constant: Whether the terms that only the data decide belong to it.
        """
        raise NotImplementedError

    def independent_params(self, params: Any) -> tuple[Any, ...]:
        """The parameters themselves, or all that float if `params` is None.

        Raises:
            ValueError: One is not of this likelihood, or not independent.
        """
        return tuple(self._input_check_params(params, only_independent=True))

    def values_set(self, paramvals: Any) -> AbstractContextManager[Any]:
        """Parameters at the values of `paramvals`, a mapping or one number for each, or None, while the block runs."""
        return self._check_set_input_params(paramvals, guarantee_checked=False)

    def _loss_func(self, model: Any, data: Any, fit_range: Any, constraints: Any, log_offset: Any) -> Any:
        del model, data, fit_range
        return self.traced_value(constraints or (), with_constant=log_offset is False)


class OpenResult(zfit.result.FitResult):
    """A FitResult whose subclasses say, as arguments of the class, where their errors come from by default.

    Args:
        hesse: Name of the method behind `FitResult.hesse`.
        error: Name of the method behind `FitResult.errors`.
        methods: Further methods of `FitResult.errors`, by name: functions of (result, params, cl).
    """

    def covariance_of_weights(self) -> NDArray[np.float64] | None:
        """Covariance of ``list(self.params)`` with event weights taken into account; None to leave it to zfit.

        zfit's own correction takes a constraint for one more event, which says nothing where its gradient vanishes.
        """
        return None

    def _covariance(self, method: Any, *, weightcorr: Any = None) -> Any:
        asymptotic = getattr(weightcorr, "value", weightcorr) in {None, "asymptotic"}
        found = self.covariance_of_weights() if asymptotic else None
        if found is None:
            return super()._covariance(method, weightcorr=weightcorr)
        pairs = product(enumerate(self.params), repeat=2)
        return {(first, second): found[i, k] for (i, first), (k, second) in pairs}

    def __init_subclass__(cls, *, hesse: str, error: str, methods: Mapping[str, Callable[..., Any]]) -> None:
        super().__init_subclass__()
        cls._default_hesse, cls._default_error = hesse, error
        cls._error_methods = {**cls._error_methods, **methods}


def random_seed() -> Any:
    """A non-negative int64 that zfit's seed decides, as a tensor: another one at every call, inside of graphs too."""
    return get_prng().uniform([], maxval=2**31 - 1, dtype=tf.int64)
