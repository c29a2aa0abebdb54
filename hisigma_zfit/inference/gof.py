"""Goodness of fit of an unbinned density in many dimensions: does the fitted model look like the data?

The likelihood's value at the minimum does not answer this.  The data are compared instead with events drawn from the
fitted model.  What to use when:

=============  =============================================  =================================================
method         statistic                                      sees best
=============  =============================================  =================================================
``classifier`` AUC of boosted trees on held-out events        local and conditional misfits
``energy``     energy distance of all pairs of points         shifts and widths; no tuning
``neighbours`` fraction of nearest neighbours of one's kind   fine structure in few dimensions; tens of thousands
=============  =============================================  =================================================

Under the null hypothesis data and model events are exchangeable, so that permuting the labels gives the distribution
of every statistic exactly; nothing is asymptotic.  Parameters that were fitted to the same data pull the model towards
them, which makes the p-values conservative.  Where the densities were trained on the very events that are tested, the
test means little: by default only the signal region is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, seed_for
from hisigma_zfit.statistics.two_sample import two_sample
from hisigma_zfit.toys.sampling import sample_sum

if TYPE_CHECKING:
    from hisigma_zfit.data import SignalRegion
    from hisigma_zfit.results.explanations import GoodnessOfFit
    from hisigma_zfit.statistics.two_sample import Method

__all__ = ["goodness_of_fit"]


def goodness_of_fit(
    result: Any,
    *,
    method: Method = "classifier",
    region: SignalRegion | None = None,
    everywhere: bool = False,
    category: int = 0,
    permutations: int = 499,
    max_events: int | None = None,
    seed: int,
) -> GoodnessOfFit:
    """Compare the fitted data with as many events drawn from the fitted model, in mass and features together.

    Args:
        result: zfit FitResult of an `ExtendedNLL`.
        method: See the module's text.
        region: Compare events of these masses only; by default the signal region of the model.
        everywhere: Compare all masses.
        category: Which model and data set of a simultaneous fit.
        permutations: Number of permutations; the smallest p-value is 1 / (permutations + 1).
        max_events: Events of each kind at most, drawn at random; by default as many as the method can take.
        seed: Seed of everything that is random.

    Raises:
        InputError: Weighted data, fewer than 50 events, or an unknown method.
    """
    model, data = result.loss.model[category], result.loss.data[category]
    if data.weights is not None:
        raise InputError.from_parts(
            expected="unweighted data", got="weights", do="permutations need events that are alike; test without them"
        )
    observed = np.asarray(data.value())
    sampling, testing = (seed_for(seed, Purpose.GOODNESS_OF_FIT, k) for k in range(2))
    with result:
        expected = sample_sum(model, len(observed), seed=sampling)
    region = None if everywhere else region or getattr(model, "region", None)
    if region is not None:
        mass = list(model.obs).index(model.mass)
        observed, expected = (events[region.contains(events[:, mass])] for events in (observed, expected))
    return two_sample(observed, expected, method=method, permutations=permutations, max_events=max_events, seed=testing)
