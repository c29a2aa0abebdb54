"""One finished run of the analytic world and what it has learned, as fixtures; a test file has to name those it takes.

They live as long as a file of tests: two files would make two runs.
"""

from __future__ import annotations

import functools
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from crosssection_world import TOY, World, write_root
from scipy.stats import norm, qmc

from hisigma_zfit.crosssection import learning, pipeline
from hisigma_zfit.crosssection.inputs import read
from hisigma_zfit.crosssection.options import CrossSectionOptions
from hisigma_zfit.crosssection.stored import CrossSectionResults
from hisigma_zfit.fitting.profiler import Profiler
from hisigma_zfit.report import crosssection_figures
from hisigma_zfit.report.crosssection_figures import cross_section_figures

if TYPE_CHECKING:
    from hisigma_zfit.results import CrossSectionResult

__all__ = [
    "WRONG",
    "KilledError",
    "exact_expected",
    "few_steps",
    "killing",
    "learned",
    "learner_of",
    "no_figures",
    "numbers",
    "observed",
    "run",
]


def no_figures(self):
    return {}


def numbers(result: CrossSectionResult) -> str:
    """What is in result.json, without seconds."""
    found = json.loads(result.to_json())
    for own in found["comparison"].values():
        del own["cpu_s"]
    return json.dumps({name: value for name, value in found.items() if name not in {"timings_s", "cpu_s"}})


def learner_of(run, settings=None, folder=True):
    """What learns, with what the run has kept."""
    settings = run.settings if settings is None else settings
    kept = run.path / "members" / "ratios" if folder else None
    return learning.Learner(read(settings), settings, folder=kept, seed=settings.seed)


@pytest.fixture(scope="module", autouse=True)
def few_steps():
    """Of nets so small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "QUICK_STEPS", 150)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One complete run on expected events."""
    world = World(tmp_path_factory.mktemp("world")).write()
    path, config, figures = world.folder / "run", world.config(), []

    def few_figures(*arguments, **keywords):
        """All but the pages of closures, of which one is put on disk: that takes most of the time."""
        made = cross_section_figures(*arguments, **{**keywords, "closures": ()})
        figures.extend(made)
        return {"likelihood_mu": made["likelihood_mu"]}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crosssection_figures, "cross_section_figures", few_figures)
        result = pipeline.cross_section(config=config, out=path)
    settings = CrossSectionOptions.load(config)
    return SimpleNamespace(world=world, path=path, result=result, settings=settings, figures=figures)


@pytest.fixture(scope="module")
def learned(run):
    """Its model and simulation, made of what it has kept."""
    own = learner_of(run)
    scorer = own.scorer()
    simulation = own.simulation(scorer)
    return SimpleNamespace(inputs=own.inputs, scorer=scorer, simulation=simulation, model=own.model(scorer, simulation))


@pytest.fixture(scope="module")
def observed(run):
    """A fit of data that takes what the first run has learned."""
    settings = CrossSectionOptions.load(run.world.config("data", data={"files": str(run.world.folder / "data.root")}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CrossSectionResults, "figures", no_figures)
        return pipeline.run_cross_section(settings, out=run.world.folder / "observed", reuse=run.path)


@functools.cache
def exact_expected():
    """Profile of mu of expected events with exact ratios, at the median of the smearing."""
    z = norm.ppf(qmc.Halton(3, rng=1).random(4000))
    x = [
        TOY.shifted(p, np.array(TOY.centre[p]) + np.array(TOY.width[p]) * z[:, :2], 0.0, TOY.median, z[:, 2])
        for p in range(2)
    ]
    weights = np.repeat(np.array(TOY.size) / 4000, 4000)
    return Profiler(TOY.likelihood(TOY.columns(np.concatenate(x), weights=weights)), "mu")


class KilledError(Exception):
    """In the place of a kill."""


def killing(function, at):
    """The function, which does its work `at` times and fails then."""
    calls = []

    def wrapped(*arguments, **keywords):
        calls.append(1)
        if len(calls) > at:
            raise KilledError
        return function(*arguments, **keywords)

    return wrapped


def data_with(world, name, change):
    columns = world.observed()
    write_root(world.folder / f"{name}.root", change(columns))
    return {"files": str(world.folder / f"{name}.root")}


WRONG = {
    "data elsewhere": (
        lambda w: {"data": data_with(w, "far", lambda c: {**c, "x": c["x"] + 9.0})},
        "expected data inside of the simulated range of feature 'x', got",
    ),
    "no column": (
        lambda w: {"data": data_with(w, "short", lambda c: {"x": c["x"]})},
        "data: expected a branch 'y'",
    ),
    "weights": (lambda w: {"data": str(w.folder / "signal.root")}, "expected data that are no simulation"),
    "not at nominal": (
        lambda w: {
            "nuisances": {"scale": {"shift": f"{w.folder / 'shifts.py'}:scale", "nominal": 1.0, "points": [-1, 1]}}
        },
        "expected shift scale to change nothing at its nominal value 1",
    ),
    "overlap": (
        lambda w: {"regions": {"U": {"unbinned": "score.signal > 0.1"}, "C": {"counting": "y > 0"}}},
        "expected regions that share no event",
    ),
    "nothing in a region": (
        lambda w: {"regions": {"U": {"unbinned": "x > 90"}, "C": {"counting": "else"}}},
        "expected events of the simulation in U, got none",
    ),
    "few of a shape": (
        lambda w: {"regions": {"U": {"unbinned": "x > 2.9"}, "C": {"counting": "else"}}},
        "simulated events of process",
    ),
    "a region without data": (
        lambda w: {
            "data": data_with(w, "low", lambda c: {name: own[c["x"] < 2.0] for name, own in c.items()}),
            "regions": {"U": {"unbinned": "x > 2.1"}, "C": {"counting": "else"}},
        },
        "expected events of data in region U, got none",
    ),
}
