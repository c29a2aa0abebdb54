"""Pseudo-experiments by the thousand: pulls, bias, coverage, expected significance and limit.

What to use when:

- `make_pool` and `run_toys` in a script; ``hisigma toys`` on a run folder for everything at once.
- `Pool.from_datasets` in the place of `make_pool` to draw from weighted simulation instead of the fitted model.
- ``processes=`` for the cores of one machine, ``scheduler=`` for a Dask cluster.  On a batch system the cluster comes
  from dask-jobqueue (``HTCondorCluster``, ``SLURMCluster``); pass its ``scheduler_address``.

A toy depends on the seed and its number alone: neither on processes and chunks nor on interruptions.  Scripts that ask
for several processes need ``if __name__ == "__main__":`` as every use of `multiprocessing` does.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from hisigma_zfit.console.progress import counted
from hisigma_zfit.errors import InputError
from hisigma_zfit.fitting.limits import AsimovCurve
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.likelihood.protocol import yields_in
from hisigma_zfit.toys.source import require_no_weights
from hisigma_zfit.toys.toy_fits import ToyFits, ToyPlan, fit_toys, require_fitted
from hisigma_zfit.workers import finished

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.toys.source import ToySource

__all__ = ["Chunks", "make_pool", "run_toys"]

_log = logging.getLogger(__name__)

# Toys that are fitted and stored together: about a second of work.
CHUNK = 50

_Task = tuple[int, int]


class Chunks(Protocol):
    """Where finished toys are kept, so that an interrupted study goes on."""

    def read(self, start: int) -> Mapping[str, Array] | None:
        """Arrays of the toys from number `start` on, or None."""

    def write(self, start: int, arrays: Mapping[str, Array]) -> None:
        """Keep them."""


def make_pool(
    result: Any,
    poi: str,
    inject: float,
    *,
    others: Mapping[str, float] | None = None,
    events: int = 100_000,
    seed: int = 0,
    limits: bool = False,
) -> ToySource:
    """Draw and evaluate the events from which pseudo-experiments of a fitted likelihood are made.

    Args:
        result: A FitResult, whose best values are the truth of the toys, or a likelihood of any kind (of events, of
            templates, a sum of both) at its current values.
        poi: Name of the parameter of interest.
        inject: Its true value.
        others: True values of other parameters by name, in the place of the fitted ones.
        events: Events of each component, but for templates.  They limit how well the toys represent the model: the
            error of the parameter is right to about 1 / sqrt(events under the signal).
        seed: Same seed, same events.
        limits: Also prepare the background-only hypothesis, which upper limits of the toys need.

    Raises:
        InputError: The likelihood has no such parameter or no pseudo-data, or fewer signal events than none are to be
            injected, or the data's events have weights.
        FitError: The events do not represent the hypothesis; ask for more of them.
    """
    from hisigma_zfit.toys.samples import sample_of

    loss = getattr(result, "loss", result)
    require_no_weights(loss)
    names = [p.name for p in loss.parameters]
    truth = {poi: inject, **(others or {})}
    for name in truth:
        if name not in names:
            raise InputError.from_parts(
                expected=f"one of the parameters {', '.join(names)}", got=repr(name), do="correct the name"
            )
    if not inject >= 0.0 and poi in yields_in(loss):
        raise InputError.from_parts(expected="a signal that is not negative", got=f"{inject:g}", do="inject 0 or more")
    theta = loss.theta()
    for parameter, found in ({} if loss is result else result.params).items():
        theta[names.index(parameter.name)] = float(found["value"])
    for name, value in truth.items():
        theta[names.index(name)] = value
    sample, background = sample_of(loss, theta=theta, events=events, seed=seed), None
    if limits:
        without = theta.copy()
        without[names.index(poi)] = 0.0
        background = sample.asimov(without, poi=poi).pool()
    return sample.asimov(theta, poi=poi).pool(background=background)


def run_toys(
    pool: ToySource,
    poi: str,
    *,
    n: int,
    seed: int = 0,
    limit: float | None = None,
    processes: int = 1,
    scheduler: str | Any = None,
    chunks: Chunks | None = None,
    progress: bool | None = None,
) -> ToyFits:
    """Draw and fit pseudo-experiments.

    Args:
        pool: Where their data come from.
        poi: Name of the parameter of interest.
        n: Number of toys.
        seed: Same seed, same toys; a longer study with it begins with the shorter one's toys.
        limit: Confidence level of an upper limit (CLs) for each toy, which takes several times as long as the fits.
            The background-only Asimov value of the test statistic is that of the toys' truth, one curve for all of
            them; a pool without ``limits=True`` has Wald's form instead, see `limits.cls_limit`.
        processes: Worker processes on this machine.
        scheduler: Address of a Dask scheduler, or a cluster, to be used instead.
        chunks: Where finished toys are kept and looked for.
        progress: Show a bar on stderr; by default on terminals.

    Raises:
        InputError: The likelihood has no such parameter, numbers are out of range, or other processes cannot have it.
        FitError: A worker died, or more than one toy in ten could not be fitted.
    """
    plan = _plan(pool, poi, n=n, seed=seed, limit=limit, processes=processes)
    if (processes > 1 or scheduler is not None) and not pool.portable:
        raise InputError.from_parts(
            expected="mass shapes and yields of the quick likelihood, such as hz.ExpQuadratic, for several processes",
            got="some that only TensorFlow evaluates",
            do="use one process",
        )
    done, tasks = _resume(chunks, n)
    if done and tasks:
        _log.info("going on with %d of %d toys", n - sum(stop - start for start, stop in tasks), n)
    fitted = finished(fit_toys, plan, tasks, processes=processes, scheduler=scheduler)
    with counted("toys", n, done=sum(len(fits) for fits in done.values()), wanted=progress) as advance:
        for (start, _), fits in fitted:
            if chunks is not None:
                chunks.write(start, fits.arrays())
            done[start] = fits
            advance(len(fits))
    fits = ToyFits.join([done[start] for start in sorted(done)])
    require_fitted(fits.fitted)
    return fits


def _plan(pool: ToySource, poi: str, *, n: int, seed: int, limit: float | None, processes: int) -> ToyPlan:
    if poi not in pool.parameters:
        raise InputError.from_parts(
            expected=f"one of the parameters {', '.join(pool.parameters)}", got=repr(poi), do="correct the name"
        )
    for name, value in (("n", n), ("processes", processes)):
        if value < 1:
            raise InputError.from_parts(expected=f"{name} of 1 or more", got=str(value), do="correct it")
    if limit is not None and not 0.0 < limit < 1.0:
        raise InputError.from_parts(
            expected="a confidence level between 0 and 1", got=str(limit), do="write 0.95 for 95 %"
        )
    index = pool.parameters.index(poi)
    return ToyPlan(pool, index, seed, limit, None if limit is None else _background(pool, index))


def _background(pool: ToySource, index: int) -> AsimovCurve | None:
    """Background-only Asimov value of t, once for all toys: they have the same truth."""
    if pool.background is None:
        _log.warning("limits of toys take Wald's form; prepare the pool with limits=True for those of an Asimov set")
        return None
    name = pool.parameters[index]
    asimov = Profiler(pool.background.asimov(), name, quick=True)
    step = Profiler(pool.asimov(), name, quick=True).step
    return AsimovCurve.of(asimov, reach=float(pool.theta[index]) + 8.0 * step)


def _resume(chunks: Chunks | None, n: int) -> tuple[dict[int, ToyFits], list[_Task]]:
    """Finished chunks by their first toy, and what is left to do."""
    done: dict[int, ToyFits] = {}
    tasks: list[_Task] = []
    for start in range(0, n, CHUNK):
        stop = min(start + CHUNK, n)
        arrays = None if chunks is None else chunks.read(start)
        if arrays is not None and len(arrays["t_true"]) >= stop - start:
            done[start] = ToyFits(**{name: array[: stop - start] for name, array in arrays.items()})
        else:
            tasks.append((start, stop))
    return done, tasks
