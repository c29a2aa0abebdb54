"""What a reader of a cross-section should know, each in one line: nothing of it stops a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.crosssection.answers import Answers
    from hisigma_zfit.ratio.rows import ProcessRows
    from hisigma_zfit.results import ExponentSummary, NuisanceProfile, SimulationError

__all__ = ["of_answers", "of_data", "of_learning", "of_nominal", "of_simulation"]

LARGE = 0.3  # share of the error that makes a warning of the simulation's
PULLED, CONSTRAINED = 2.0, 0.5
ENOUGH = 5.0  # effective simulated events for each expected one
CLOSED = 2.0  # chi2 / ndf
AT_BOUND = 0.01  # share of the exponents
CROOKED = 0.1  # of |up - down| / (up + down)


def of_simulation(rows: Sequence[ProcessRows], cells: Sequence[str], unbinned: int) -> list[str]:
    """Processes with few simulated events for what they expect in an unbinned region.

    Args:
        rows: Nominal, by process.
        cells: Names of the cells.
        unbinned: How many of them are unbinned regions.
    """
    found = []
    for r, region in enumerate(cells[:unbinned]):
        few = {}
        for own in rows:
            weights = own.weights[own.cell == r]
            expected, squares = float(weights.sum()), float((weights**2).sum())
            if expected > 0.0 and expected < ENOUGH * squares:
                few[own.name] = expected / squares
        if few:
            named = ", ".join(f"{ratio:.2g} of {name}" for name, ratio in few.items())
            found.append(
                f"fewer than {ENOUGH:g} effective simulated events for each expected one in {region}: {named}; "
                "see the error of the simulation"
            )
    return found


def of_data(outside: Mapping[str, int]) -> list[str]:
    """Events of data beyond the simulated range, by feature."""
    return [
        f"{count} events of data outside of the simulated range of {name}; they are kept"
        for name, count in outside.items()
    ]


def of_learning(exponents: Mapping[str, ExponentSummary]) -> list[str]:
    """Learned variations that do not close, or are at their bound."""
    found = []
    for process, own in exponents.items():
        poor = {name: chi2 for name, chi2 in own.closure.items() if chi2 > CLOSED}
        if poor:
            worst = max(poor, key=lambda name: poor[name])
            more = f" and {len(poor) - 1} more" if len(poor) > 1 else ""
            found.append(f"{process} does not close: chi2/ndf = {poor[worst]:.1f} in {worst}{more}")
        if own.at_bound > AT_BOUND:
            found.append(f"{own.at_bound:.1%} of the exponents of {process} are at their bound; raise exponents.bound")
    return found


def of_nominal(nominal: Mapping[str, tuple[float, float]]) -> list[str]:
    """Parameters of interest that the nominal simulation itself does not give back.

    Shares that are right on average may be wrong in x, as those of trees of few events are.

    Args:
        nominal: By parameter of interest: fitted to the nominal simulation, whose truth is one, and the error of the
            fit of data or of the Asimov set.
    """
    return [
        f"the nominal simulation gives {poi} = {value:.3g} instead of 1: learn from more events, or try "
        "posterior.kind=network"
        for poi, (value, error) in nominal.items()
        if not abs(value - 1.0) <= LARGE * error
    ]


def of_answers(
    found: Answers,
    errors: Mapping[str, SimulationError],
    profiles: Sequence[NuisanceProfile] = (),
    reach: Mapping[str, tuple[float, float]] | None = None,
) -> list[str]:
    """Large errors of the simulation, pulls, strong constraints, extrapolations, profiles that are no parabolas.

    Args:
        found: Of the fit.
        errors: Of the simulation, by parameter of interest.
        profiles: Of nuisances.
        reach: Smallest and largest setting at which a nuisance was simulated, by name.
    """
    told = []
    for poi, own in errors.items():
        if own.sigma > LARGE * found.pois[poi].error:
            more = ", ".join(f"{factor:.1f} times the events of {name}" for name, factor in own.halved_by().items())
            told.append(
                f"the finite simulation moves {poi} by {own.sigma:.2g}, its other error is "
                f"{found.pois[poi].error:.2g}" + (f"; {more} would halve it" if more else "")
            )
    for name, fitted in found.parameters.items():
        if fitted.pull is not None and abs(fitted.pull) > PULLED:
            told.append(f"{name} is pulled by {fitted.pull:+.1f} standard deviations")
        if fitted.constraint is not None and fitted.constraint < CONSTRAINED:
            told.append(f"{name} is constrained to {fitted.constraint:.2f} of its prior: check that its shape is real")
    for name, (low, high) in (reach or {}).items():
        setting = found.parameters[name].setting
        if setting is not None and not low <= setting <= high:
            told.append(
                f"{name} is fitted at {setting:.3g}, beyond the points from {low:g} to {high:g} where it was "
                "simulated: add points, or limits"
            )
    crooked = [own.name for own in profiles if not own.parabolic]
    for budget in found.impacts.values():
        for impact in budget.impacts:
            below, above = impact.errors
            if not abs(above - below) < CROOKED * (above + below):
                crooked.append(impact.name)
    named = [name for name in dict.fromkeys(crooked) if np.isfinite(found.parameters[name].value)]
    if named:
        told.append(f"the profile is no parabola of {', '.join(named)}: quote it, and not its error alone")
    return told
