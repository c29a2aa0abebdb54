"""Several shapes of one background, of which the data choose at every value: discrete profiling, arXiv:1408.6865.

Nobody knows the true shape of a falling mass spectrum.  With H of them, each with n_h free parameters, the test
statistic is

    t(s) = min_h [-2 log L_h(s) + c n_h] - min_{h, s'} [-2 log L_h(s') + c n_h],

where c = 1 stands for the bias of -2 log L by one for every parameter that is fitted (its correction by the Akaike
criterion would be 2), and c = 0 lets the shape with most parameters win.  Intervals, significances and limits are those
of t: where two shapes fit as well, their difference is in the error.

It goes together with every way to combine trained members (`hisigma_zfit.inference.combine`): the envelope takes the
minimum over the shapes for each member alone, discrete profiling over members and shapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.combine import Combination, absolute_minima

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from hisigma_zfit.fitting.profiler import Profiler
    from hisigma_zfit.inference.combine import Method

__all__ = ["shape_envelope"]


def shape_envelope(
    method: Method,
    nominal: Sequence[Profiler],
    members: Sequence[Sequence[Profiler]] = (),
    *,
    penalties: npt.ArrayLike,
    member_penalties: npt.ArrayLike | None = None,
) -> Combination:
    """Profile over shapes, and over trained members if the method is one that asks these.

    Args:
        method: How the members are combined: ``"nuisance"``, ``"mixture"``, ``"envelope"`` or ``"discrete"``.
        nominal: Profile of the model with each shape, H of them, on the same data.
        members: Profiles of the bootstraps with each shape: H times D; only for the last two methods.
        penalties: What is added to -2 log L of each shape, shape (H,).
        member_penalties: The same of each bootstrap in discrete profiling, shape (D,).

    Raises:
        InputError: The method does not go with shapes, or it lacks profiles or penalties.
    """
    if method == "weights":
        raise InputError.from_parts(
            expected="nuisance, mixture, envelope or discrete for several shapes", got=method, do="choose one of them"
        )
    table = np.array(members if method in {"envelope", "discrete"} else [[each] for each in nominal], dtype=object)
    own = np.asarray(penalties, dtype=np.float64)
    if table.ndim != 2 or own.shape != (len(table),) or not table.size:
        raise InputError.from_parts(
            expected="profiles and one penalty for each shape, of as many members each",
            got=f"{own.size} penalties for {len(table)} shapes",
            do="give all of them",
        )
    flat = tuple(table.T.ravel())  # all shapes of the first member, then of the second
    minima = absolute_minima(flat).reshape(table.shape[::-1]) + own
    if member_penalties is not None:
        minima += np.asarray(member_penalties, dtype=np.float64)[:, None]
    offsets = minima - (minima.min(axis=1, keepdims=True) if method == "envelope" else minima.min())
    n_members, n_shapes = minima.shape
    return Combination(
        method,
        flat,
        offsets.ravel(),
        groups=tuple(np.repeat(np.arange(n_members), n_shapes).tolist()),
        shapes=tuple(np.tile(np.arange(n_shapes), n_members).tolist()),
    )
