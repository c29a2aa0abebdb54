"""One finished cross-section, made up with numbers as they come: fixtures of the tests of results and reports."""

from __future__ import annotations

import numpy as np
import pytest

from hisigma_zfit.results import (
    AssignmentAnswer,
    BiasPoint,
    BiasStudy,
    CalibrationCurve,
    CellTotal,
    ClosurePoint,
    Correlations,
    CountingFit,
    CoverageDraw,
    CoverageStudy,
    CrossSectionEvents,
    CrossSectionResult,
    DesignSummary,
    DrawnAnswers,
    ExponentSummary,
    FittedParameter,
    HeldBackStudy,
    Impact,
    Impacts,
    MethodAnswer,
    MomentSummary,
    NuisanceProfile,
    PoiAnswer,
    PoiScan,
    PosteriorSummary,
    ProcessYield,
    Projection,
    RatioMap,
    ShapeClosure,
    SimulationError,
    TrainingHistory,
    WeightedTest,
)
from hisigma_zfit.statistics.coverage import coverage_study

PROCESSES = ("htautau", "ztautau", "ttbar", "diboson")
SHARES = {"htautau": 0.0115, "ztautau": 0.882, "ttbar": 0.092, "diboson": 0.0145}
NUISANCES = ("jes", "tes", "diboson_norm", "bkg", "soft_met", "ttbar_norm")
LABELS = {
    "htautau": r"H $\to\tau\tau$",
    "ztautau": r"Z $\to\tau\tau$",
    "ttbar": r"$t\bar{t}$",
    "diboson": "Diboson",
    "mu": r"$\mu$",
    "tes": "Tau energy scale",
    "jes": "Jet energy scale",
    "soft_met": "Soft term",
    "score_htautau": r"$\ln\,g_{\mathrm{H}}$",
    "m_vis": r"$m_{\mathrm{vis}}$",
}
POINTS = [(t, j, s) for t in (-1.5, 0.0, 1.5) for j in (-1.5, 0.0, 1.5) for s in (0.0, 2.5) if (t, j, s) != (0, 0, 0)]


def bias(scatter: float, mean: float, *, truth: float = 1.0, sigma: float = 0.21, seed: int = 1) -> BiasStudy:
    rng = np.random.default_rng(seed)
    settings = [{"tes": float(t), "jes": float(j), "soft_met": float(s)} for t, j, s in POINTS[:12]]
    values = truth + mean + scatter * rng.standard_normal(len(settings))
    points = tuple(BiasPoint(s, float(v), 0.14, sigma) for s, v in zip(settings, values, strict=True))
    return BiasStudy(truth, truth + 0.01, 0.2, points, 5.8)


def calibration(process: str, *, region: str = "U") -> CalibrationCurve:
    rng = np.random.default_rng(len(process))
    top = {"htautau": 0.6, "ztautau": 0.99, "ttbar": 0.95, "diboson": 0.4}[process]
    predicted = np.sort(top * rng.beta(0.6, 1.5, 20))
    error = 0.02 * np.sqrt(predicted * (1.0 - predicted)) + 0.001
    fraction = np.clip(predicted + error * rng.standard_normal(20), 0.0, 1.0)
    expected = {"htautau": 616.0, "ztautau": 47_088.0, "ttbar": 4937.0, "diboson": 731.0}[process]
    return CalibrationCurve(process, region, predicted, fraction, error, 21.3, 20, 0.998 * expected, expected)


def closure(process: str, feature: str) -> ShapeClosure:
    """Shifts that stretch a falling spectrum, of three nuisances."""
    edges = np.linspace(40.0, 140.0, 21) if feature == "m_vis" else np.linspace(-6.0, 0.0, 21)
    x = 0.5 * (edges[1:] + edges[:-1])
    u = (x - edges[0]) / (edges[-1] - edges[0])
    rng = np.random.default_rng(len(process) + len(feature))
    nominal = 5000.0 * SHARES[process] * np.exp(-2.0 * (u - 0.3) ** 2 / 0.18)
    points = []
    for name, size in (("tes", 0.06), ("jes", 0.03), ("soft_met", 0.02)):
        for setting in (1.0, 2.0, 3.0) if name == "soft_met" else (-2.0, -1.0, 1.0, 2.0):
            slope = size * (setting**2 / 4.0 if name == "soft_met" else setting)
            reweighted = nominal * np.exp(slope * (2.0 * u - 1.0) + 0.2 * slope)
            error = 0.012 * nominal + 0.5
            shifted = reweighted + error * rng.standard_normal(20)
            chi2 = float(np.sum(((shifted - reweighted) / error) ** 2))
            points.append(ClosurePoint({name: setting}, shifted, reweighted, error, chi2, 20, abs(setting) < 3.0))
    both = nominal * 1.05
    points.append(ClosurePoint({"tes": 1.5, "jes": 1.5}, both, both, 0.01 * nominal, 0.0, 20))
    return ShapeClosure(process, feature, edges, nominal, tuple(points), "U")


def ratio_map(quantity: str) -> RatioMap:
    x_edges, y_edges = np.linspace(40.0, 140.0, 26), np.linspace(0.0, 120.0, 25)
    x, y = np.meshgrid(0.5 * (x_edges[1:] + x_edges[:-1]), 0.5 * (y_edges[1:] + y_edges[:-1]), indexing="ij")
    if quantity == "posterior":
        values = 0.5 * np.exp(-(((x - 105.0) / 18.0) ** 2) - ((y - 20.0) / 40.0) ** 2) + 2e-3
    else:
        values = np.exp(0.06 * np.tanh((x - 75.0) / 15.0) - 0.03 * (y - 50.0) / 60.0)
    values[(x < 50.0) & (y > 90.0)] = np.nan
    settings = {} if quantity == "posterior" else {"tes": 1.0}
    return RatioMap(quantity, "htautau", "m_vis", "pt_lep", x_edges, y_edges, values, settings)


@pytest.fixture
def ratio_maps() -> tuple[RatioMap, ...]:
    return ratio_map("posterior"), ratio_map("variation")


@pytest.fixture
def closures() -> tuple[ShapeClosure, ...]:
    return tuple(closure(process, feature) for process in PROCESSES for feature in ("score_htautau", "m_vis"))


@pytest.fixture
def poi_scan() -> PoiScan:
    mu = np.linspace(0.0, 2.2, 111)

    def curve(best: float, below: float, above: float) -> np.ndarray:
        return ((mu - best) / np.where(mu < best, below, above)) ** 2

    methods = {"binned-20": curve(1.1, 0.22, 0.23), "binned-8": curve(1.14, 0.24, 0.25)}
    return PoiScan("mu", mu, curve(1.04, 0.2, 0.22), curve(1.04, 0.19, 0.194), curve(1.04, 0.29, 0.31), methods)


@pytest.fixture
def soft_met_profile() -> NuisanceProfile:
    theta = np.linspace(-4.0, 2.0, 121)
    constraint = theta**2
    profiled = constraint + 40.0 * (np.exp(theta) - 1.1) ** 2
    return NuisanceProfile("soft_met", theta, profiled - profiled.min(), constraint, np.exp(theta), "GeV")


@pytest.fixture
def postfit() -> Projection:
    edges = np.linspace(-6.0, -0.4, 29)
    u = (edges[1:] - edges[0]) / (edges[-1] - edges[0])
    total = 9000.0 * np.exp(-6.0 * u)
    shares = {"diboson": 0.02 * total, "ttbar": 0.1 * total, "ztautau": total * (0.88 - 0.55 * u**2)}
    shares["htautau"] = total * 0.55 * u**2 * 0.9
    model = np.sum(list(shares.values()), axis=0)
    data = np.random.default_rng(4).poisson(model).astype(float)
    zero = {name: np.zeros_like(total) for name in shares}
    error = model * (0.006 + 0.05 * u**2)
    return Projection(
        "score_htautau", edges, data, data, shares, zero, ("htautau",), "unbinned region U", "U", model_error=error
    )


@pytest.fixture
def ratio_histories() -> tuple[TrainingHistory, ...]:
    steps = np.arange(0.0, 400.0, 4.0)
    return tuple(
        TrainingHistory(
            name=process,
            steps=steps,
            epochs=steps / 100.0,
            train=1e-3 * (np.array([[0.2], [0.25]]) + np.exp(-steps / 60.0)),
            validation=1e-3 * np.array([[0.5, 0.4], [0.55, 0.42]]),
            validation_steps=np.array([200.0, 396.0]),
            events=420_000,
        )
        for process in PROCESSES[:2]
    )


def _correlations(names: tuple[str, ...]) -> Correlations:
    rng = np.random.default_rng(8)
    root = np.eye(len(names)) + 0.35 * rng.standard_normal((len(names), len(names)))
    covariance = root @ root.T
    scale = np.sqrt(np.diag(covariance))
    return Correlations(names, covariance / np.outer(scale, scale))


@pytest.fixture
def cross_section() -> CrossSectionResult:
    sizes = dict(zip(NUISANCES, (0.062, 0.045, 0.016, 0.011, 0.010, 0.007), strict=True))
    post = dict(zip(NUISANCES, (0.08, 0.04, 0.21, 0.76, 0.13, 0.29), strict=True))
    pulls = dict(zip(NUISANCES, (0.42, -0.31, 0.9, 0.1, -0.2, 1.2), strict=True))
    impacts = tuple(
        Impact(n, pulls[n], (post[n], 1.1 * post[n]), 0.0, 1.0, (-s, 0.9 * s), (-s / post[n], 0.9 * s / post[n]))
        for n, s in sizes.items()
    )
    cells = ("U", *(f"{jets} jets, m_vis bin {k}" for jets in ("0", "1", "2+") for k in range(1, 5)))
    reference = dict(zip(cells, np.geomspace(53_000.0, 900.0, len(cells)), strict=True))
    rng = np.random.default_rng(3)
    return CrossSectionResult(
        data="observed",
        luminosity=10.0,
        poi={"mu": PoiAnswer(1.04, (0.84, 1.26), (0.65, 1.48), 0.192, 0.085, 0.21, (0.75, 1.35), (0.47, 1.66))},
        signal={"mu": ("htautau",)},
        cl=(0.683, 0.954),
        parameters={
            "mu": FittedParameter(1.04, 0.21),
            **{
                name: FittedParameter(
                    pulls[name], post[name], pulls[name], post[name], setting=0.82 if name == "soft_met" else None
                )
                for name in NUISANCES
            },
        },
        correlations=_correlations(("mu", *NUISANCES)),
        impacts={"mu": Impacts("mu", 1.04, (0.2, 0.22), (0.19, 0.194), {"scales": (0.07, 0.08)}, impacts)},
        n_events=CrossSectionEvents(
            951_040, {"U": 53_391}, 897_409, {"outside the acceptance": 240}, {"htautau": 74_992, "ztautau": 552_214}
        ),
        yields={
            process: {
                cell: ProcessYield(share * n, 1.01 * share * n, 0.02 * share * n) for cell, n in reference.items()
            }
            for process, share in SHARES.items()
        },
        cells={
            cell: CellTotal(cell == "U", float(rng.poisson(1.01 * n)), 1.01 * n, 0.004 * n)
            for cell, n in reference.items()
        },
        design=DesignSummary(
            ("tes", "jes", "soft_met"),
            np.array(POINTS),
            ("tes", "jes", "soft_met", "tes^2", "jes^2", "soft_met^2", "tes jes", "tes soft_met", "jes soft_met"),
            np.geomspace(12.0, 0.8, 9),
            {"soft_met": "GeV"},
        ),
        posterior=PosteriorSummary(
            "boosting",
            2,
            {"ztautau": 0.894, "ttbar": 0.984, "diboson": 0.95},
            0.602,
            tuple(calibration(process) for process in PROCESSES),
        ),
        exponents={
            "htautau": ExponentSummary(
                "learned", 75_000.0, 0.0004, {"m_vis": 1.1, "score_htautau": 0.9}, 0.54, 0.0, 0.002
            ),
            "ztautau": ExponentSummary(
                "learned", 421_000.0, 0.0012, {"m_vis": 1.3, "score_htautau": 1.0}, 0.26, 0.001, 0.001, (0.001, 0.7)
            ),
            "ttbar": ExponentSummary("none", 18_500.0, None, {"m_vis": 2.3, "score_htautau": 1.2}, 1.0, 0.0, 0.0),
            "diboson": ExponentSummary("none", 15_900.0, None, {}, None, 0.0, 0.0),
        },
        moments={"htautau": MomentSummary(1.9, 0.45), "ztautau": MomentSummary(2.6, 0.56)},
        bias={"unbinned": bias(0.05, 0.05), "binned-20": bias(0.06, 0.06, sigma=0.225, seed=2)},
        uncertainty={
            "mu": SimulationError(
                "all",
                1.0,
                np.array([1.11, 0.78, 1.24, 0.93, 0.86]),
                0.183,
                {"ztautau": 0.15, "ttbar": 0.14, "htautau": 0.015, "diboson": 0.012},
                {"ztautau": 421_000.0, "ttbar": 18_500.0, "htautau": 75_000.0, "diboson": 15_900.0},
                ((0.5, 0.17), (2.0, 0.22)),
            )
        },
        gof_counting=CountingFit(27.4, 30, 0.603),
        gof={"U": WeightedTest(1.48, 0.07, 0.503, 0.002, 53_391.0, 61_000.0, 1)},
        comparison={
            "counting": MethodAnswer(1.2, (0.4, 1.95), 1.55, 0.37),
            "binned-8": MethodAnswer(1.14, (0.9, 1.39), 0.49, 0.21, 8, 0.01),
            "binned-20": MethodAnswer(1.1, (0.88, 1.33), 0.45, 0.197, 20, 0.01),
            "binned-60": MethodAnswer(1.09, (0.87, 1.318), 0.448, 0.195, 60, 0.01),
            "unbinned-uncalibrated": MethodAnswer(1.07, (0.86, 1.284), 0.424, 0.193, None, 0.5),
            "unbinned": MethodAnswer(1.04, (0.84, 1.26), 0.42, 0.192, None, 0.5),
        },
        assignments=(AssignmentAnswer(1.04, (0.84, 1.26)), AssignmentAnswer(1.11, (0.9, 1.33))),
        held_back=HeldBackStudy(0.2, 3.0, 2.61, 0.21, 0.21, 2.8, {"unbinned": bias(0.09, -0.02, truth=3.0)}),
        reference={"mu": 1.0, "tes": 0.0, "jes": 0.0, "soft_met": 0.0},
        warnings=("the error of the simulation is 1.0 of that of the data",),
        timings_s={"read": 4.0, "design": 210.0, "train": 160.0, "fit": 0.6, "total": 374.6},
        cpu_s={"design": 337.0, "train": 284.0, "fit": 0.5},
        seed=7,
        inputs={"/far/away/fair_htautau.root": "sha256:" + "ab" * 32},
        versions={"zfit": "0.28.0"},
        options={"preset": "standard"},
    )


def drawn(number: int, *, toys: int = 20) -> CoverageDraw:
    """Toys of one draw, whose fits share a shift of a third of their error."""
    rng = np.random.default_rng([6, number])
    truth = rng.uniform(0.1, 3.0, toys)
    methods = {}
    for name, width, shift in (("unbinned", 0.437, 0.35), ("binned-20", 0.47, 0.28), ("binned-8", 0.508, 0.28)):
        half = 0.5 * width + 0.02 * (truth - 1.5)
        value = truth + half * (
            shift * np.random.default_rng([7, number]).standard_normal() + rng.standard_normal(toys)
        )
        pulls = {"jes": 1.1 * rng.standard_normal(toys), "tes": rng.standard_normal(toys)}
        methods[name] = DrawnAnswers(value, value - half, value + half, pulls)
    nuisances = {"tes": float(rng.standard_normal()), "jes": float(rng.standard_normal())}
    return CoverageDraw(number, nuisances, truth, methods, 14.0)


@pytest.fixture
def toy_study() -> CoverageStudy:
    draws = [drawn(number) for number in range(50)]
    return coverage_study(draws, poi="mu", mu=(0.1, 3.0), nuisances="random", seed=3)
