"""What the figures and tables of a measurement's fit mean, in words; see `hisigma_zfit.report.meanings`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FIGURES", "PROJECTION", "TABLES"]

PROJECTION = (
    "Points: events of the data with their statistical errors. Filled: the fitted components, stacked; their numbers "
    "of events are in the legend. Grey: the error of the model, of the kind that the legend names. Below: "
    "(data - model) / error by bin, with the chi-square of all bins; it knows what the fit follows. Events beyond the "
    "axis are told in the frame."
)

FIGURES: Mapping[str, tuple[str, str]] = {
    "prefit_*": (
        "{} before the fit",
        "The background as the sidebands alone expect it, nuisances at their constraints, and the simulation's own "
        "number of signal events where its weights tell one. " + PROJECTION,
    ),
    "shape_*": (
        "Mass shape of {}",
        "A peak over its simulation, a falling shape over the sidebands, with parameters and errors. Open points are "
        "in the signal region and are not counted in the chi-square.",
    ),
    "expected": (
        "Expected and observed limit and significance",
        "Of Asimov sets of the fitted model, in which nothing fluctuates: without signal for the limit with its bands "
        "of 68 and 95 %, with the fitted signal for the significance.",
    ),
    "goodness_of_fit*": (
        "Goodness of fit in mass and features",
        "The statistic of the data against permutations of data and model, which is what a right model gives. The "
        "share beyond the data is the p-value.",
    ),
}

TABLES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "Fit": (
        "Whether the fit with the average of all members converged, and whether it describes the data.",
        {
            "status": "Convergence, estimated distance to the minimum, parameters at a limit.",
            "goodness of fit": "Probability that a right model gives data that are described as badly.",
        },
    ),
    "Mass shape of *": (
        "Parameters of a mass shape with their errors, and how well it describes what it was fitted to.",
        {"chi2 / ndf": "Chi-square by degrees of freedom with its p-value."},
    ),
    "Correlations": ("Correlation coefficients at the best fit; only strong ones of many parameters.", {}),
    "Events by region*": (
        "Fitted events of each component with their errors, and the events that were observed.",
        {"total": "sum of the components", "observed": "events of the data"},
    ),
    "Impacts, *": (
        "What each nuisance is fitted to, by how much it moves the parameter of interest, and the budget of the error.",
        {
            "best fit": "with its error after the fit",
            "pre-fit error": "of its constraint; none where only the data know it",
            "shift of *": "by the nuisance one fitted error up and down",
            "with the pre-fit error": "by one error of the constraint up and down",
        },
    ),
    "Error of *": (
        "The budget of its error: all of it, with every constrained nuisance held, and what the nuisances add in "
        "quadrature.",
        {"down": "distance to the lower end of the 68.3 % interval", "up": "to the upper end"},
    ),
    "Bootstraps (*": (
        "Fits with one redrawn training of the background each, alone. Their spread is what training does.",
        {"value": "best fit", "error": "its error", "z": "significance"},
    ),
    "Falling shapes *": (
        "The falling mass shapes of which the data chose, the best first; at each value of the parameter of interest "
        "the best one counts, with its penalty.",
        {},
    ),
}
