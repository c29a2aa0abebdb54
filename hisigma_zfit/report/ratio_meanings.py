"""What the figures and tables of a cross-section and of its pseudo-experiments mean; see `report.meanings`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COVERAGE_FIGURES", "COVERAGE_TABLES", "FIGURES", "TABLES"]

COVERAGE_FIGURES: Mapping[str, tuple[str, str]] = {
    "toys_pulls_*": (
        "Pulls: {}",
        "(best fit - true value) by the error on the side of the truth, of each pseudo-experiment, beside a Gaussian "
        "of mean 0 and width 1.",
    ),
    "toys_coverage": (
        "Coverage against the true value",
        "Share of the pseudo-experiments whose interval holds the true value, with its error from the spread between "
        "draws of the nuisances. The line is the level that the interval claims.",
    ),
    "toys_width": ("Width against the true value", "Mean width of the intervals, upper less lower edge."),
    "toys_methods": ("Coverage and width of all methods", "All true values together; smaller widths that cover win."),
}

FIGURES: Mapping[str, tuple[str, str]] = {
    "postfit_*": (
        "{}: data and fitted model",
        "Points: events of the data, or of the Asimov set in their place. Filled: the processes at the best fit, "
        "stacked. Grey: error of the model. Below: (data - model) / error by bin. The vertical axis is logarithmic.",
    ),
    "prefit_*": (
        "{}: data and the model before the fit",
        "Points: events of the data, or of the Asimov set in their place. Filled: the processes as simulated, with "
        "strengths of one. Grey: what the constraints leave of the nuisances, one standard deviation each. Below: "
        "(data - model) / error by bin. The vertical axis is logarithmic.",
    ),
    "counting_bins": (
        "Counting bins in data and fitted model",
        "The bins in which events are only counted. Points: observed; filled: the processes at the best fit; below: "
        "(observed - fitted) / error.",
    ),
    "likelihood_*": (
        "Likelihood: {}",
        "Twice the rise of the negative logarithm of the likelihood, every other parameter fitted at each point. Where "
        "a line crosses 1 and 3.84 are the ends of its 68 % and 95 % intervals. Other lines: nuisances held, with the "
        "error of the simulation, and the other ways of measuring.",
    ),
    "widths": (
        "Error against the number of bins of the score",
        "Half of the 68 % interval of fits of the binned score, which the unbinned fit is the limit of.",
    ),
    "profile_*": (
        "Likelihood of a nuisance: {}",
        "Every other parameter fitted at each point, beside the constraint alone. A line that is no parabola has no "
        "symmetric error.",
    ),
    "calibration*": (
        "Calibration of the classifier",
        "True against predicted share of each process, in simulated events that did not train the classifier. On the "
        "diagonal if the shares are right; below: the difference by its error.",
    ),
    "closure_*": (
        "Closure of the learned variations: {}",
        "Shifted simulation (points) and nominal simulation with the learned weights (lines), by the nominal one, in "
        "the score and the features that close worst. They agree where the variation is learned well.",
    ),
    "map_*": ("Learned function: {}", "Over two features, the others at their medians of the simulation."),
    "bias": (
        "Bias at shifted truths",
        "Best fit of simulation that is shifted to random values of the nuisances, against the true value, by method.",
    ),
    "held_back": (
        "Fits of simulation that trained nothing",
        "The same with events that were held back from every training.",
    ),
    "replicas_*": (
        "Fits of replicas of the simulation: {}",
        "Each point is the same data fitted with simulation that was redrawn. The band is their spread: the error by "
        "the finite simulation and the training.",
    ),
    "training_posterior": (
        "Losses of the classifier",
        "Loss against epoch: each member thin, their mean thick, held-out events as points.",
    ),
    "training_exponents": (
        "Losses of the variations",
        "Loss against epoch, less that of no variation: negative where something was learned.",
    ),
    **COVERAGE_FIGURES,
}

_COLUMNS_OF_TOYS = {
    "coverage": "share of the intervals that hold the truth",
    "width": "mean width of the intervals, upper less lower edge",
    "score": "of the FAIR-Universe challenge, larger is better",
    "pull mean": "mean of (best - true) by the error on the side of the truth",
    "rms": "root of the mean square of the pulls",
    "of draws": "rms of the mean pull of each draw",
    "(chance)": "the same if the toys of a draw had nothing in common",
}

COVERAGE_TABLES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "All toys*": (
        "How often the intervals of each way of measuring hold the true value, and how wide they are. Toys of one "
        "draw share the error of what was learned, so that errors come from the spread between draws.",
        _COLUMNS_OF_TOYS,
    ),
    "What an interval needs to cover": (
        "The error that makes intervals hold the true value as often as they say, where it is added in quadrature to "
        "both sides; it stands for what toys of one draw have in common.",
        {
            "error to be added": "zero where none is needed; its error by leaving out one draw after the other",
            "of half width": "the same in units of half of the interval",
            "coverage with that of the simulation": "share of the intervals that hold the truth with the finite "
            "simulation's error added instead",
        },
    ),
    "Toys that could not be fitted*": ("They enter nowhere.", {}),
    "Coverage by the true value": ("The same in ranges of the true value.", {}),
    "Width by the true value": ("Mean width of the intervals in ranges of the true value.", {}),
    "Mean and rms of the pulls of nuisances": (
        "(best - true) / error of each nuisance: 0 and 1 if values and errors are right.",
        {},
    ),
}

TABLES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "Events": (
        "Numbers of events.",
        {
            "read": "Events of the data in the files; none for an Asimov set.",
            "unbinned in *": "Events that enter the likelihood one by one, with their density.",
            "in counting bins": "Events that are only counted.",
            "dropped": "Events that are nowhere, by reason in the rows below.",
            "simulated *": "Simulated rows of this process.",
        },
    ),
    "Result*": (
        "What was measured, all nuisances profiled.",
        {
            "value": "Best fit with the distances to the ends of its 68.3 % interval. This is the result.",
            "* % interval": "Profile likelihood interval of this level.",
            "error of the simulation": "By the finite simulation and the training, from fits with redrawn simulation. "
            "It is not in the intervals above; those below have it as one more nuisance.",
        },
    ),
    "Error of *": (
        "Where the error comes from, as distances below and above the best fit. A group's number is what is lost in "
        "quadrature when its nuisances are held.",
        {
            "total": "Half of the 68.3 % interval.",
            "statistical": "With every nuisance held at its best fit.",
            "systematic": "What the nuisances add in quadrature.",
            "simulation, beside": "By the finite simulation; not in the total.",
        },
    ),
    "Nuisances": (
        "Largest impact first.",
        {
            "best fit": "in standard deviations of the constraint",
            "pull": "(best - auxiliary measurement) / error before the fit",
            "post / pre": "error after by error before the fit: 1 where the data say nothing",
            "setting": "what the shift function is given at the best fit, in its own unit",
            "impact on *": "shift of the parameter of interest for one error after the fit, down and up",
            "pre-fit impact": "the same for one error before the fit",
        },
    ),
    "Fitted yields": (
        "Expected events of each process, in each unbinned region and in all counting bins together, beside those "
        "that were observed (closed while the run is blind; those of the Asimov set where it takes their place).",
        {"nominal": "of the nominal simulation", "fitted": "at the best fit"},
    ),
    "Ways of measuring *": (
        "The same data measured in other ways.",
        {
            "value": "best fit",
            "* % interval": "all nuisances profiled",
            "half": "half of this interval",
            "stat.": "the same with the nuisances held",
            "by unbinned": "half of the interval by that of the unbinned fit",
            "CPU s": "processor seconds of the fit",
        },
    ),
    "Assignments of events to folds": (
        "The fit with each assignment of the data to the folds of the cross-fitting: any is as good as another, and "
        "their spread is an error of the training.",
        {},
    ),
    "Learning": (
        "What was learned from the simulation.",
        {
            "posterior": "The classifier of the processes; its cross-entropy is of events that did not train it.",
            "AUC against *": "Area under the curve of the signal against this process: 0.5 cannot tell them apart.",
            "calibration of *": "Whether predicted shares of this process are its true ones.",
            "design": "Settings of the nuisances that the simulation was shifted to; a condition far above ten means "
            "that they cannot tell some variations apart.",
            "products": "Pairs of nuisances whose joint effect is learned.",
        },
    ),
    "Variations by process": (
        "How well the effect of the nuisances was learned.",
        {
            "shape": "whether shapes were learned, or rates only",
            "eff. events": "effective number of simulated events in the unbinned regions",
            "residual": "what is left in bins of the score, by the size of the variation",
            "worst closure": "feature with the largest chi2/ndf of shifted against reweighted simulation",
            "at bound": "share of the exponents near their bound",
            "norm.": "largest relative departure of the sum of reweighted events from the rate",
            "moments": "rms of the moments before > after their calibration, in units of their fluctuation",
            "trees z": "how well trees tell shifted from reweighted events, in standard deviations",
            "2-sample": "how well trees tell shifted from reweighted events, in standard deviations",
        },
    ),
    "Checks": (
        "Whether the fitted model describes the data, and what the simulation is good for.",
        {
            "counting bins": "chi2 of the counts, less what the fit follows, with its p-value.",
            "two-sample test in *": "Data against fitted simulation in this unbinned region.",
            "simulation, *": "Error by the finite simulation and the training.",
            "by process": "The same if only one process were finite.",
            "halved by": "How much more simulation would halve it.",
            "held back": "Fits of simulated events that trained nothing.",
        },
    ),
    "Bias of *": (
        "Best fit less truth at random values of the nuisances, for simulation that trained and that was held back.",
        {
            "events": "of which kind",
            "points": "number of values",
            "mean": "mean of best less true",
            "rms": "root of the mean square",
            "in sigma": "the same by the error of the fit",
            "largest": "largest of all",
            "rms to nominal": "rms of the difference to the nominal point",
            "chi2": "of the differences, where their covariance is known",
        },
    ),
}
