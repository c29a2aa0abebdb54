"""What the figures, tables and rows of a run mean, in words: the captions of its page.

Keys are names or patterns with one ``*``; what stands in its place fills ``{}`` in a title.  Words that several tasks
share come last.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from hisigma_zfit.report import fit_meanings, ratio_meanings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TOY_OPTIONS", "FigureWords", "figure_words", "row_words", "table_words"]

_PROJECTION = fit_meanings.PROJECTION
_LIKELIHOOD = (
    "Twice the rise of the negative logarithm of the likelihood, every other parameter fitted at each point. Where "
    "the thick line crosses 1 and 3.84 are the ends of the 68 % and 95 % intervals."
)
_TRAINING = (
    "Loss against epoch: each trained member thin, their mean thick, events that were held out as points. The dashed "
    "line is the step whose parameters were kept. Held-out points that rise while the lines fall are overtraining."
)
_IMPACTS = (
    "Left: (best fit - value before) / error before of each nuisance, the bar its error after the fit in the same "
    "unit. Right: by how much the parameter of interest moves when the nuisance is held one error up or down, after "
    "the fit (filled) and before it (frame). The largest is on top."
)
_CORRELATIONS = "Correlation coefficients of all parameters at the best fit."
_MEMBERS = "Thin lines are members alone, dotted the fit of the mass without features, dashed that without nuisances."

_FIGURES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "measure": {
        "projection_*": ("{}: data and fitted model", _PROJECTION),
        "enriched_*": (
            "{} where the features favour signal",
            "Only events of the signal region whose ratio of signal to background density in the features is above a "
            "cut that half of the signal passes. " + _PROJECTION,
        ),
        "scan": ("Likelihood of the parameter of interest", f"{_LIKELIHOOD} {_MEMBERS}"),
        **fit_meanings.FIGURES,
    },
    "blind": {
        "sidebands_*": ("{} in the sidebands", f"Events outside of the signal region only. {_PROJECTION}"),
        "expected_scan": (
            "Expected likelihood of the parameter of interest",
            "Of an Asimov set, in which nothing fluctuates, with the signal that is written above the frame; no data "
            f"of the signal region are in it. {_LIKELIHOOD} {_MEMBERS}",
        ),
    },
    "search": {
        "profile_share": (
            "Test statistic against the number of signal events",
            "By how much the best lumps with a given number of events are worse than the best of all. Not an interval: "
            "the lumps were chosen by the same data.",
        ),
        "learned_*": (
            "Learned signal: {}",
            "Density of the learned signal (line) and of the learned background (filled), both of area one; points are "
            "the true signal, where it is known.",
        ),
        "enriched_*": (
            "{} of the events that look most like the learned signal",
            "Events are chosen by their features, not by their mass. " + _PROJECTION,
        ),
        "null": (
            "Test statistic of background-only experiments",
            "Everything is trained and searched again in each experiment. The dashed line is the data; the share of "
            "experiments at or above it is the local p-value, the curve a Gumbel distribution that extrapolates it.",
        ),
        "response": (
            "Signal that is found against signal that is injected",
            "Each point is an experiment with injected signal that is like the learned one; the dotted line is the "
            "diagonal. The horizontal line is the yield in the data, and the shaded band the 68 % interval of the "
            "true signal that follows from it.",
        ),
        "family": (
            "Parameters of the signal that was named",
            "Lines of constant likelihood that hold the true parameters in 68.3 % and 95 % of experiments, for two "
            "parameters together.",
        ),
        "scan": (
            "Search along the mass",
            "Local p-value of windows along the mass, each trained by itself; the global p-value is in the table.",
        ),
        "improvement": (
            "Significance improvement",
            "Signal efficiency by the root of the background efficiency, against signal efficiency, of cuts on each "
            "score, with its statistical error. Only where the true signal is known.",
        ),
    },
    "validate": {
        "spectrum": (
            "Where the pseudo-signal regions lie",
            "Masses of the data in the sidebands, the shape that pseudo-experiments are drawn from, and the "
            "pseudo-signal regions. The data of the signal region were not looked at.",
        ),
        "shifts": (
            "Shift of every fit",
            "Every fit's distance from the right answer in units of the statistical error. Windows: the signal found "
            "in data that have none, with its error. Injected: against a fit of the same events with the densities "
            "they were drawn from. Below: against the same fit with another training.",
        ),
        "injection": (
            "Found against injected signal",
            "After training again, and with the true densities. The dashed line is the diagonal.",
        ),
        "closure": (
            "Misfit of the background's density",
            "Feature by feature, in events that did not train it; below the dashed line it does not matter.",
        ),
    },
    "toys": {
        "toys_pulls": (
            "Pulls of the parameter of interest",
            "(best fit - true value) / error of each pseudo-experiment, beside a Gaussian of mean 0 and width 1, which "
            "they follow if value and error are right.",
        ),
        "toys_coverage": (
            "Coverage",
            "Share of the pseudo-experiments whose interval holds the true value, less the level that the interval "
            "claims, against that level: zero is right, and the shaded region holds 95 % of what chance does.",
        ),
        "toys_expected": (
            "Expected results",
            "Significance of each pseudo-experiment, and its upper limit where one was asked for, with median and "
            "68 % and 95 % of them.",
        ),
    },
    "cross-section": ratio_meanings.FIGURES,
    "coverage": ratio_meanings.COVERAGE_FIGURES,
    "": {
        "training*": ("Losses of the trainings", _TRAINING),
        "impacts*": ("Pulls and impacts of the nuisances", _IMPACTS),
        "correlations*": ("Correlations of the parameters", _CORRELATIONS),
    },
}

TOY_OPTIONS: Mapping[str, str] = {
    "poi": "Parameter of interest.",
    "inject": "Its true value in every pseudo-experiment.",
    "mu": "Ends of the flat distribution of the true parameter of interest; equal ends fix it.",
    "seed": "Of everything that is random.",
    "limit": "Confidence level of the upper limits; null where none are asked for.",
    "events": "Events of each component that pseudo-experiments are drawn from.",
    "events_digest": "Of these events: equal digests are equal events.",
    "toys": "Pseudo-experiments of each draw of the nuisances.",
    "nuisances": "random: true nuisances are drawn from their priors; fixed: auxiliary measurements are drawn instead.",
    "numbers": "Of stochastic shifts: new ones, or those that the simulation was shifted with.",
    "methods": "Ways of measuring that are tried.",
}
"""What the options of pseudo-experiments mean."""

_EVENTS = {
    "read": "Events of the data in the files.",
    "used": "Events of the data in the fit.",
    "sidebands": "Events of the data beside the signal region, which are fitted; the others were never looked at.",
    "dropped": "Events that are not used, by reason in the rows below.",
    "signal simulation": "Simulated signal events that the density of the signal is trained with.",
    "sideband training": "Events that the density of the background is trained with.",
}
_RESULT = {
    "{poi}": "Best fit with half of the 68.3 % interval, the error of the training included. This is the result.",
    "* % interval": "Profile likelihood interval of this level, all nuisances and the error of the training in it.",
    "statistical only": "Best fit and error with every nuisance held: what the number of events alone does.",
    "training": "Spread of the yields of redrawn trainings, in events, which is in the error; and the bias that was "
    "measured with events that half of the training has not seen, and subtracted.",
    "significance": "Test of the hypothesis that there is no signal; p0 is the probability of data at least as unlike "
    "background. Local: only this one model was tested.",
    "* % upper limit": "Largest signal that is not excluded at this level, by the CLs method.",
    "expected*": "What the fitted model expects in the median, in an Asimov set in which nothing fluctuates.",
    "mass only": "The same fit without features: the usual fit of the mass spectrum, for comparison.",
    "the features*": "What they bring: by how much the error of the mass alone is larger, and what more data would do "
    "the same.",
    "median": "Half of all experiments without signal would exclude more than this.",
    "* sigma": "Where the limit would lie in 68 % and 95 % of experiments without signal.",
}
_CLOSURE = {
    "background in the sidebands": "Whether the density of the background describes sideband events that it was not "
    "trained with; names the features that it misses.",
    "misfit in nats": "How much worse than possible each feature is described, by event, given those before it; near 0 "
    "if it is right, below 0 by fluctuation.",
    "fitted signal by true signal": "How many events the fit returns for each simulated signal event; one if signal "
    "and background densities are right.",
}

_TABLES: Mapping[str, Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "blind": {
        "Expected (*": (
            "What this measurement would say, from Asimov sets in which nothing fluctuates: without signal, for "
            "signals of 3 and 5 sigma, and for those that were asked for.",
            {
                "events": "signal in the set",
                "value": "best fit",
                "error": "half of the expected 68.3 % interval",
                "Z": "median significance",
                "stat. error": "error with all nuisances held",
                "average's Z": "significance by the average of the members alone",
                "mass-only error": "error of a fit without features",
                "its Z": "significance of a fit without features",
            },
        ),
        "Expected * upper limit*": ("The largest signal that would not be excluded if there is none.", _RESULT),
        "Fit of the sidebands": (
            "Parameters of the mass spectrum and number of background events, fitted outside of the signal region, "
            "and what they say about its inside.",
            {
                "training": "Spread of the yields of redrawn trainings, in events, which is in the errors above.",
                "background in the region": "Background events that this fit expects in the signal region.",
            },
        ),
    },
    "search": {
        "Result": (
            "What was found in the window, and how likely background alone does that.",
            {
                "background": "Events of the window that the mass spectrum of the sidebands expects, and those seen.",
                "closure": "Whether the learned density describes sideband events that it was not trained with.",
                "test statistic": "Twice the logarithm of likelihood and prior of the best lumps, less that of none. "
                "It has no known distribution: its p-value comes from background-only experiments.",
                "without toys": "A bound on the p-value that holds without any experiment, by bets on later events.",
                "fiducial yield": "Events beyond the background in regions that other events have chosen, with the "
                "error of counts and background. No density of the signal is needed.",
                "learned yield": "Events of the learned signal with their 68 % interval, by scores of events that did "
                "not teach them.",
                "differs in": "Features in which the learned signal is not like background.",
                "signal": "Interval of the true signal, if it is like the learned one, by experiments with injected "
                "signal.",
                "local p*": "Share of background-only experiments, trained again, that find as much in this window.",
                "extrapolated*": "The same by a Gumbel distribution fitted to the experiments.",
                "sidebands": "Test statistics in windows where no signal is looked for: what background alone does.",
                "unblinding": "When the window was opened for the first time, and after which result.",
            },
        ),
        "Properties of the learned signal": (
            "Median of each observable of the learned signal with its error; in brackets where 68 % of the signal is.",
            {},
        ),
        "Significance improvement": (
            "How much a cut on each score improves the significance: signal efficiency by the root of the background "
            "efficiency. Only where the true signal is known.",
            {},
        ),
        "Signal known up to parameters": (
            "Fit of the signal that was named, whose parameters are free, with 68 % intervals and, in brackets, those "
            "of 95 %.",
            {
                "test statistic": "Twice the logarithm of the likelihood ratio of the best parameters and no signal.",
                "signal yield": "Events of this signal.",
            },
        ),
        "*": ("Windows along the mass, each searched by itself.", {}),
    },
    "validate": {
        "Questions": ("Every question with its answer and the threshold that it was judged by.", {}),
        "Fits": (
            "Every fit that the answers come from.",
            {
                "region": "(pseudo-)signal region",
                "injected": "signal events that were put in",
                "found": "best fit",
                "Z": "its significance",
                "true densities": "the same events fitted with the densities that they were drawn from",
                "shift": "distance of both in expected statistical errors; in a window the signal found",
                "events": "events of the fit",
                "training": "events of the training of the background",
                "p": "goodness of fit",
            },
        ),
    },
    "toys": {
        "result": (
            "What to expect of an experiment, and how often its intervals are right.",
            {
                "injected *": "True value in every pseudo-experiment.",
                "toys": "Number of pseudo-experiments.",
                "expected significance": "Median with its error; in brackets where 68 % of them lie.",
                "expected * limit": "Median of the upper limits, likewise.",
                "coverage of *": "Share of intervals of this level that hold the true value, with its binomial error.",
                "* at a limit": "Pseudo-experiments whose parameter has no error, because it is at its limit.",
                "without a limit": "Pseudo-experiments whose upper limit was not found.",
            },
        ),
        "bias and pulls": (
            "Whether best values and errors of each parameter are right.",
            {
                "bias": "mean of the best values less the true one",
                "spread": "standard deviation of the best values",
                "mean error": "mean of the fits' own errors, which the spread should equal",
                "pull mean": "mean of (best - true) / error, 0 if unbiased",
                "pull width": "standard deviation of the same, 1 if errors are right",
            },
        ),
    },
    "cross-section": ratio_meanings.TABLES,
    "coverage": ratio_meanings.COVERAGE_TABLES,
    "": {
        "Events": ("Numbers of events.", _EVENTS),
        "Result*": ("What was measured.", _RESULT),
        "Fitted parameters": (
            "All parameters of the fit with the average of all members, errors from its second derivatives. Nuisances "
            "are in standard deviations of their constraints.",
            {},
        ),
        **fit_meanings.TABLES,
        "Training": (
            "How long each density was trained: held-out events decide. The gain is by event, beyond a density in "
            "which the features are independent.",
            {},
        ),
        "Closure": ("Whether the densities describe events that did not train them.", _CLOSURE),
        "Unblinding": ("When the signal region was opened for the first time, and after which result.", {}),
        "Time": ("Wall time by stage.", {}),
        "Warnings": ("What a reader should know before using the numbers.", {}),
    },
}


def _found(words: Mapping[str, str] | Mapping[str, tuple[str, object]], name: str) -> tuple[str, str] | None:
    """The key that a name belongs to, and what stands in place of its ``*``."""
    for key in words:
        if key == name or ("*" in key and fnmatchcase(name, key.replace("[", "[[]"))):
            before, _, after = key.partition("*")
            return key, name[len(before) : len(name) - len(after)].strip("_") if "*" in key else ""
    return None


class FigureWords(NamedTuple):
    """What a figure shows.

    Attributes:
        title: Of the figure.
        caption: What is to be seen; empty where nothing is known of it.
        group: Title of several figures with this caption.
    """

    title: str
    caption: str
    group: str


def figure_words(kind: str, name: str) -> FigureWords:
    """What a figure shows; its name alone where nothing is known of it.

    Args:
        kind: Of the page, such as ``"measure"``.
        name: Of the figure.
    """
    for own in (_FIGURES.get(kind, {}), _FIGURES[""]):
        found = _found(own, name)
        if found is not None:
            title, caption = own[found[0]]
            group = title.replace("{}", "").strip(" :,")
            return FigureWords(title.replace("{}", found[1]), caption, group[:1].upper() + group[1:])
    return FigureWords(name.replace("_", " "), "", "")


def table_words(kind: str, title: str) -> tuple[str, Mapping[str, str]]:
    """What a table is about, and what its rows or columns mean; nothing where it is not known.

    Args:
        kind: Of the page.
        title: Of the table.
    """
    for own in (_TABLES.get(kind, {}), _TABLES[""]):
        found = _found(own, title)
        if found is not None:
            return own[found[0]]
    return "", {}


def row_words(words: Mapping[str, str], name: str, poi: str) -> str:
    """What a row or column means, by `table_words`; empty where it is not known.

    Args:
        words: Of its table.
        name: Of the row.
        poi: Name of the parameter of interest.
    """
    if name == poi and "{poi}" in words:
        return words["{poi}"]
    found = _found(words, name)
    return "" if found is None else words[found[0]]
