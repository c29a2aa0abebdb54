"""``hz.plotting``: the figures of `hisigma_zfit.report.plotting`, and those of fits, which are projected first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hisigma_zfit.errors import InputError
from hisigma_zfit.report import histograms
from hisigma_zfit.report.histograms import pulls
from hisigma_zfit.report.plotting import save, scan, training
from hisigma_zfit.report.style import presented as _presented
from hisigma_zfit.results import Presentation, Projection
from hisigma_zfit.statistics.intervals import poisson_errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from matplotlib.figure import Figure

__all__ = ["poisson_errors", "presented", "projection", "pulls", "save", "scan", "training"]


def presented(**words: Any) -> AbstractContextManager[None]:
    """Words, units and titles of all figures that are drawn in this context; nothing is claimed outside of it.

    Args:
        **words: Fields of `hisigma_zfit.results.Presentation`: ``experiment``, ``label``, ``luminosity``, ``energy``,
            ``units`` and ``titles``.

    Example:
        >>> with hz.plotting.presented(experiment="CMS", label="Preliminary", luminosity="138", units={"pt": "GeV"}):
        ...     figure = hz.plotting.projection(hz.examples.fitted(), "pt")
        >>> figure.axes[-1].get_xlabel()
        'pt [GeV]'
    """
    return _presented(Presentation(**words))


def projection(
    what: Any,
    feature: str | None = None,
    *,
    region: Any = None,
    bins: int | Sequence[float] | None = None,
    **style: Any,
) -> Figure:
    """Data, stacked model and pulls of one observable.

    Args:
        what: A `results.Projection`, or the result of a fit, whose model is then projected on `feature`.
        feature: Name of the observable; may be left out for a `Projection`.
        region: Signal region that selects events, for a fit result only.
        bins: Number of bins or bin edges, for a fit result only.
        **style: Options of `hisigma_zfit.report.histograms.projection`: ``unit``, ``xlabel``, ``labels``, ``logy``,
            ``signal_scale``, ``lower``, ``data``, ``label``, ``right_label``.

    Raises:
        InputError: `what` is neither of the two, or an option does not fit to it.
    """
    return histograms.projection(_as_projection(what, feature, region=region, bins=bins), **style)


def _as_projection(what: Any, feature: str | None, *, region: Any, bins: Any) -> Projection:
    if isinstance(what, Projection):
        if feature not in {None, what.observable}:
            raise InputError.from_parts(
                expected=f"observable {what.observable!r} of this projection", got=repr(feature), do="leave it out"
            )
        if region is not None or bins is not None:
            raise InputError.from_parts(
                expected="a fit result where region or bins are given",
                got="a projection that is binned already",
                do="leave them out or project the fit result again",
            )
        return what
    if not hasattr(what, "loss"):
        raise InputError.from_parts(
            expected="a Projection or the result of a fit", got=type(what).__name__, do="pass the result of hz.fit"
        )
    if feature is None:
        raise InputError.from_parts(
            expected="the name of an observable beside a fit result", got="none", do="pass it as second argument"
        )
    # here, because it needs TensorFlow, which redrawing a stored projection does not
    from hisigma_zfit.model.projections import project

    options = {} if bins is None else {"bins": bins}
    drawn: Projection = project(what, feature, region=region, **options)
    return drawn
