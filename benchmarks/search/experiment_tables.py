"""What the experiments of experiments.py say: tables of p-values, strengths and coverage, and a figure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter
from scipy.stats import chi2, gumbel_r, ks_2samp, norm

import hisigma_zfit as hz
from hisigma_zfit.inference.family_yields import FamilyYield
from hisigma_zfit.inference.search_null import GOOD, LEAST, gumbel_tail
from hisigma_zfit.report.style import BACKGROUND_COLOURS, LABEL, SIGNAL_COLOURS, finish, styled
from hisigma_zfit.results.measurement import SignalResponse
from hisigma_zfit.statistics.intervals import ONE_SIGMA
from hisigma_zfit.statistics.response_interval import censored_normal, response_interval

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("null", "toy", "window", "family", "response", "bet")
LN_20 = 3.0  # p <= 0.05 without toys
ONE, TWO = 1.0, float(chi2.ppf(0.95, 1))  # of 2 dlnL
PAIR = (float(chi2.ppf(0.6827, 2)), float(chi2.ppf(0.95, 2)))
CLOSE = 5.0  # percent of a mass
EXCHANGES = 2000


@dataclass(frozen=True)
class Study:
    """All that is there."""

    nulls: list[dict[str, Any]]
    toys: list[dict[str, Any]]
    windows: list[dict[str, Any]]
    families: list[dict[str, Any]]
    responses: list[dict[str, Any]]
    bets: list[dict[str, Any]]

    @classmethod
    def load(cls, out: Path) -> Study:
        return cls(*([json.loads(p.read_text()) for p in sorted(out.glob(f"{kind}-*.json"))] for kind in KINDS))

    def t(self, share: float = 0.0) -> Any:
        """Test statistics of the windows with one strength."""
        return np.array([record[f"{share:g}"]["t"] for record in self.windows if f"{share:g}" in record])

    def by_training(self, kind: str) -> list[Any]:
        """Test statistics without signal of all windows beside the same sidebands, the whole experiment's first."""
        found = [[record["t"], *record.get("more", [])] for record in (self.nulls if kind == "null" else self.toys)]
        if kind == "null":
            for record in self.windows:
                found[record["origin"]].append(record["0"]["t"])
        return [np.array(own) for own in found]

    @property
    def shares(self) -> list[float]:
        names = {name for record in self.windows for name, value in record.items() if isinstance(value, dict)}
        return sorted(map(float, names))

    def of(self, share: float, name: str) -> list[dict[str, Any]]:
        """What the windows of one strength have of one kind, with its origin."""
        own = [record.get(f"{share:g}", {}) | {"origin": record["origin"]} for record in self.windows]
        return [record for record in own if name in record]

    @property
    def drawable(self) -> bool:
        """Whether there is enough for a figure."""
        toys = sum(map(len, self.by_training("toy")))
        return len(self.nulls) > 1 and toys >= LEAST and bool(self.windows)


def report(study: Study, masses: tuple[float, float]) -> str:
    """The tables.

    Args:
        study: What there is.
        masses: True m_y and m_x of the signal.
    """
    origins = [len({record["origin"] for record in records}) for records in (study.toys, study.windows)]
    lines = [
        f"{len(study.nulls)} nulls, {len(study.toys)} toys of {origins[0]} of them, "
        f"{len(study.windows)} further windows of {origins[1]} of them"
    ]
    cpu = [
        f"a {kind} {np.median([record['cpu_s'] for record in records]):.0f}"
        for kind, records in zip(KINDS, vars(study).values(), strict=True)
        if records
    ]
    lines.append(f"CPU seconds (medians): {', '.join(cpu)}")
    null, toys = study.by_training("null"), study.by_training("toy")
    if min(len(null), len(toys)) < 2:
        return "\n".join(lines)
    first = [np.array([t[0] for t in own]) for own in (null, toys)]
    lines += [
        f"T of nulls, one window each           {_spread(null, first=True)}",
        f"T of toys, one window each            {_spread(toys, first=True)}",
        f"T of all windows of nulls' trainings  {_spread(null)}",
        f"T of all windows of toys' trainings   {_spread(toys)}",
        f"nulls against toys, Kolmogorov-Smirnov: one window each p = {ks_2samp(*first).pvalue:.2f}; "
        f"all windows, by exchanging whole trainings, p = {_exchanged(null, toys):.2f}",
        _small(null, np.concatenate(toys)),
    ]
    if study.windows:
        lines += ["", *_strengths(study, hz.results.NullToys(t=np.concatenate(toys), seed=1)), *_separated(study), ""]
        for share in study.shares:
            lines += _fiducial(study, share)
        for share in study.shares:
            lines += [*_family(study, share, masses), *_family_yields(study, share)]
        lines += _injected(study)
    return "\n".join(lines)


def _exchanged(null: list[Any], toys: list[Any]) -> float:
    """P-value of the largest distance of two distributions, where only whole trainings may be exchanged."""
    rng, both = np.random.default_rng(1), [*null, *toys]
    distances = []
    for k in range(1 + EXCHANGES):
        order = rng.permutation(len(both)) if k else np.arange(len(both))
        one, other = (np.concatenate([both[i] for i in rows]) for rows in np.split(order, [len(null)]))
        distances.append(ks_2samp(one, other, method="asymp").statistic)
    return float(np.mean(np.array(distances) >= distances[0]))


def _p_values(null: list[Any], toys: Any) -> list[Any]:
    return [np.array([(1 + np.sum(toys >= t)) / (1 + len(toys)) for t in own]) for own in null]


def _small(null: list[Any], toys: Any) -> str:
    """How often p-values are small, with an error by resampled trainings."""
    p, texts = _p_values(null, toys), []
    for level in (0.05, 0.3173):
        small = np.array([np.mean(own < level) for own in p])
        weight = np.array([len(own) for own in p])
        rng = np.random.default_rng(2)
        rows = rng.integers(len(p), size=(EXCHANGES, len(p)))
        again = (small * weight)[rows].sum(axis=1) / weight[rows].sum(axis=1)
        texts.append(f"below {level:.2g} in {100 * (small @ weight) / weight.sum():.1f} +- {100 * again.std():.1f} %")
    return f"p-values of all windows of nulls: {', '.join(texts)}"


def _strengths(study: Study, toys: Any) -> list[str]:
    lines = [
        f"{'w %':>5} {'n':>4} {'signal':>7} {'T median (16, 84 %)':>23} {'local Z (16, 84 %)':>21} "
        f"{'ln e (n; above 3)':>20} {'SIC at 1e-3':>15} {'jets of the lump':>17}"
    ]
    for share in study.shares:
        own = study.of(share, "t")
        t = np.quantile([record["t"] for record in own], [0.5, 0.16, 0.84])
        z = [_significance(hz.search_pvalue(float(value), toys)) for value in t]
        ln_e = np.array([record["ln_e"] for record in (own if share else study.bets or own) if "ln_e" in record])
        sic = np.array([record["sic"][0] for record in own if "sic" in record])
        light, heavy = np.median([record["masses"] for record in own], axis=0)
        bets = f"{np.median(ln_e):.1f} ({len(ln_e)}; {np.mean(ln_e > LN_20):.2f})" if len(ln_e) else ""
        lines.append(
            f"{100 * share:5.2f} {len(own):4d} {np.mean([record['n_signal'] for record in own]):7.1f} "
            f"{f'{t[0]:.1f} ({t[1]:.1f}, {t[2]:.1f})':>23} {f'{z[0]} ({z[1]}, {z[2]})':>21} "
            f"{bets:>20} {_middle(sic):>15} {f'{light:.1f} {heavy:.1f}' if share else '':>17}"
        )
    return lines


def _separated(study: Study) -> list[str]:
    """Medians by strength in units of the spread without signal, for the likelihood ratio alone and with the prior."""
    lines = []
    for name, what in (("t", "T"), ("likelihood_ratio", "likelihood ratio alone")):
        values = {share: np.array([record[name] for record in study.of(share, name)]) for share in study.shares}
        null = values.get(0.0, np.empty(0))
        if len(null) > 1:
            apart = [(np.median(own) - null.mean()) / null.std(ddof=1) for share, own in values.items() if share]
            lines.append(f"{what}: {', '.join(f'{value:.1f}' for value in apart)} standard deviations above nothing")
    return lines


def _significance(p: Any) -> str:
    """By the tail that is fitted to the toys, or what their number can say."""
    return f"{p.z_extrapolated:.1f}" if np.isfinite(p.z_extrapolated) else f"{p.z:.1f} by counting"


def _fiducial(study: Study, share: float) -> list[str]:
    """Coverage; only some densities have bootstraps, the others get their error in units of the counting error."""
    own = study.of(share, "fiducial")
    if len(own) < 2:
        return []
    value, error, background = np.array([record["fiducial"] for record in own], dtype=np.float64).T
    known = np.isfinite(background)
    relative = float(np.median((background / error)[known])) if known.any() else 0.0
    whole = np.hypot(error, np.where(known, background, relative * error))
    lines = [
        f"fiducial yield at {100 * share:g} %: error {np.median(error):.0f}, the background's {relative:.2f} of it"
    ]
    for name in ("in_region", "expected_in_region") if share else ("in_region",):
        true = np.array([record[name] for record in own])
        pull, counted = (value - true) / whole, (value - true) / error
        lines.append(
            f"  {name:18s} {true.mean():5.1f}, pull {pull.mean():+.2f} +- {pull.std(ddof=1) / len(pull) ** 0.5:.2f}, "
            f"rms {pull.std(ddof=1):.2f}, within 1 {_share(abs(pull) <= 1.0)}, 1.96 {_share(abs(pull) <= 1.96)}; "
            f"counting error alone {_share(abs(counted) <= 1.0)}, {_share(abs(counted) <= 1.96)}"
        )
    learned = np.array([record["learned"][0] for record in own])
    return [*lines, f"  learned yield {np.median(learned):.0f} of {own[0]['mean']:.0f}"]


def _family(study: Study, share: float, masses: tuple[float, float]) -> list[str]:
    """Coverage by 2 dlnL of the yield, and of both masses together."""
    own = [record["family"] for record in study.of(share, "family")]
    if len(own) < 2:
        return []
    t, t_yield, t_masses, fitted = (
        np.array([record[name] for record in own]) for name in ("t", "t_yield", "t_masses", "yield")
    )
    off = 100.0 * np.abs(np.array([record["masses"] for record in own]) / masses - 1.0)
    text = f"family at {100 * share:g} %: T {np.median(t):.1f}, yield {np.median(fitted):.1f}, in its interval of 68 % "
    text += f"{_share(t_yield <= ONE)}, 95 % {_share(t_yield <= TWO)}"
    if share:
        text += f"; masses in 68 % {_share(t_masses <= PAIR[0])}, 95 % {_share(t_masses <= PAIR[1])}; off by "
        text += f"{np.median(off[:, 0]):.1f}, {np.median(off[:, 1]):.1f} % (medians), "
        text += f"both within {CLOSE:g} % in {_share((off < CLOSE).all(axis=1))}"
    return [text]


def _family_yields(study: Study, share: float) -> list[str]:
    """Coverage of the yield with all of its errors; densities without bootstraps get the others' relative error."""
    own = [record[f"{share:g}"] for record in study.families if f"{share:g}" in record]
    if len(own) < 2:
        return []
    half = np.array([0.5 * (record["profiled"][0][1] - record["profiled"][0][0]) for record in own])
    background = np.array([record["background_error"] for record in own], dtype=np.float64)
    relative = float(np.nanmean((background / half) ** 2) ** 0.5) if np.isfinite(background).any() else 0.0
    values, alone, whole, pulls = [], [], [], []
    for record, error, width in zip(own, background, half, strict=True):
        response = SignalResponse(*record["response"], n_events=None)
        known = error if np.isfinite(error) else relative * width
        profiled = tuple((low, high) for low, high in record["profiled"])
        found = FamilyYield(record["fitted"], profiled, float(known), response)
        values.append(found.value)
        alone.append([low <= record["mean"] <= high for low, high in profiled])
        whole.append([low <= record["mean"] <= high for low, high in found.intervals])
        (low, high), off = found.intervals[0], record["mean"] - found.value
        pulls.append(-off / (high - found.value if off > 0 else found.value - low))
    fitted, response = (np.array([record[name] for record in own]) for name in ("fitted", "response"))
    pull = np.array(pulls)
    return [
        f"  {len(own)} windows: fitted {fitted.mean():.1f}, response {response[:, 0].mean():.3f} +- "
        f"{response[:, 1].mean():.3f}, yield {np.mean(values):.1f} of {own[0]['mean']:.1f}, the background's error "
        f"{relative:.2f} of that of 2 dlnL",
        f"  2 dlnL alone {_both(alone)}; with all errors {_both(whole)}; pull {pull.mean():+.2f} +- "
        f"{pull.std(ddof=1) / len(pull) ** 0.5:.2f}, rms {pull.std(ddof=1):.2f}",
    ]


def _both(passed: list[list[bool]]) -> str:
    one, two = np.array(passed).T
    return f"68 % {_share(one)}, 95 % {_share(two)}"


def _injected(study: Study) -> list[str]:
    """Coverage of the interval of the signal by what copies of learned lumps return, one response for all windows."""
    if not study.responses:
        return []
    truths = np.array(study.responses[0]["truths"])
    found = np.concatenate([record["found"] for record in study.responses], axis=1)
    n = found.shape[1]
    if n < 2:
        return []
    means, widths = np.array([censored_normal(row) for row in found]).T
    lines = [
        f"copies of {len(study.responses)} learned lumps, {n} experiments each: "
        + ", ".join(f"{a:.0f} return {b:.0f} +- {c:.0f}" for a, b, c in zip(truths, means, widths, strict=True))
    ]
    for share in study.shares:
        own, best, passed = study.of(share, "learned"), [], []
        for record in own:
            value, row = record["learned"][0], []
            for cl in (ONE_SIGMA, 0.95):
                at, low, high = response_interval(truths, means, widths, value, cl=cl, experiments=n)
                row.append(low <= record["mean"] <= high)
            best.append(at)
            passed.append(row)
        if own:
            lines.append(
                f"  {100 * share:g} %, {len(own)} windows: signal {np.median(best):.0f} of {own[0]['mean']:.0f}, "
                f"in its interval {_both(passed)}"
            )
    return lines


def _spread(by_training: list[Any], *, first: bool = False) -> str:
    """Of all windows or of the first of each training, which are independent; the mean's error is by trainings."""
    own = [values[:1] if first else values for values in by_training]
    t, means = np.concatenate(own), np.array([values.mean() for values in own])
    low, middle, high = np.quantile(t, [0.16, 0.5, 0.84])
    return (
        f"n {len(t):3d}, {t.mean():.1f} +- {means.std(ddof=1) / len(means) ** 0.5:.1f}, median {middle:.1f} "
        f"({low:.1f}, {high:.1f}), rms {t.std(ddof=1):.1f}, largest {t.max():.1f}"
    )


def _share(passed: Any) -> str:
    """In percent with its binomial error, which is not zero where none or all passed."""
    n, k = len(passed), float(np.sum(passed))
    guess = (k + 0.5) / (n + 1.0)
    return f"{100.0 * k / n:.0f} +- {100.0 * (guess * (1.0 - guess) / n) ** 0.5:.0f} %"


def _middle(values: Any) -> str:
    return f"{np.median(values):.2f} +- {1.25 * values.std(ddof=1) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""


def draw(study: Study, path: Path) -> None:
    """P-values of the nulls, and the test statistic by strength."""
    with styled():
        figure = Figure(figsize=(20, 8.5))
        left, right = figure.add_axes((0.065, 0.13, 0.4, 0.79)), figure.add_axes((0.565, 0.13, 0.4, 0.79))
        _draw_p_values(left, study)
        _draw_strengths(right, study)
        for axes in (left, right):
            finish(figure, axes, LABEL, "")
        figure.savefig(path, dpi=80)


def _draw_p_values(axes: Any, study: Study) -> None:
    null, toys = study.by_training("null"), study.by_training("toy")
    reference = np.concatenate(toys)
    grid = np.linspace(0.0, 1.0, 201)
    # of Kolmogorov and Smirnov at 5 %, for as many independent windows as there are trainings: too wide for all windows
    band = 1.358 * (1.0 / len(null) + 1.0 / len(toys)) ** 0.5
    axes.fill_between(grid, grid - band, grid + band, color="0.88", linewidth=0, label="95 %, one window each")
    axes.plot(grid, grid, color="0.4", linestyle=":")
    one = [own[:1] for own in null]
    samples = ((one, SIGNAL_COLOURS[0], "experiments"), (null, BACKGROUND_COLOURS[0], "windows beside their sidebands"))
    for own, colour, name in samples:
        p = np.sort(np.concatenate(_p_values(own, reference)))
        steps = np.concatenate([[0.0], np.arange(1, len(p) + 1) / len(p), [1.0]])
        axes.step(np.concatenate([[0.0], p, [1.0]]), steps, where="post", color=colour, label=f"{len(p)} {name}")
    axes.set(xlim=(0, 1), ylim=(0, 1.05), ylabel="Share below")
    axes.set_xlabel(f"Local p-value by {len(toys)} trainings of toys")
    style = {"frameon": True, "facecolor": "white", "edgecolor": "none", "framealpha": 1.0}
    axes.legend(loc="lower right", fontsize=20, title="No signal", title_fontsize=20, **style)


def _draw_strengths(axes: Any, study: Study) -> None:
    toys = np.concatenate(study.by_training("toy"))
    low, middle, high = np.quantile(toys, [0.025, 0.5, 0.975])
    axes.axhspan(low, high, color="0.88", label="95 % of toys")
    axes.axhline(middle, color="0.4", linestyle=":")
    rng = np.random.default_rng(1)
    for share in study.shares:
        t, label = study.t(share), not share
        place = 100.0 * share + 0.006 * rng.standard_normal(len(t))
        colour = BACKGROUND_COLOURS[0]
        axes.plot(place, t, "o", markersize=5, alpha=0.4, color=colour, label="Windows" if label else None)
        a, b, c = np.quantile(t, [0.16, 0.5, 0.84])
        style = {"fmt": "s", "markersize": 9, "capsize": 5, "color": SIGNAL_COLOURS[0]}
        axes.errorbar(100.0 * share, b, [[b - a], [c - b]], label="Median and 68 %" if label else None, **style)
    right = 100.0 * max(study.shares) + 0.04
    location, scale, good = gumbel_tail(toys)
    for z in (3.0, 5.0) if good > GOOD else ():
        at, colour = gumbel_r.isf(norm.sf(z), location, scale), BACKGROUND_COLOURS[2]
        axes.axhline(at, color=colour, linewidth=1.2)
        axes.text(0.45, at, rf"{z:.0f}$\sigma$", va="bottom", ha="right", fontsize=20, color=colour)
    axes.set(xlim=(-0.04, right), xlabel="Signal in the window [%]", ylabel="Test statistic $T$")
    axes.set_yscale("symlog", linthresh=10.0)  # T may be below zero
    top = 6.0 * np.quantile(study.t(max(study.shares)), 0.84)  # room for the legend
    axes.set_ylim(min(0.0, 1.2 * study.t(0.0).min(), 1.2 * toys.min()), top)
    axes.yaxis.set_major_locator(FixedLocator([-10, 0, 5, 10, 20, 50, 100, 200, 500]))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.legend(loc="upper left", fontsize=20)
