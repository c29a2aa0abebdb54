"""Experiments whose truth is known, everything drawn and trained again: are p-values uniform, do intervals cover?

    python benchmarks/search/experiments.py --truth p_b --data data.root --signal signal.root --out runs/experiments

The truth is a density of dijets that was learned before and a spectrum.  There are six kinds of tasks, which take
turns; each is one small file, so that an interrupted study goes on:

- `null`: draws events over the whole range of the mass, learns the background from their own sidebands as a toy of
  `hisigma search` does, and searches the window, and MORE windows that are drawn beside the same sidebands;
- `toy`: of the reference of the p-values, the same drawn from what one of the first nulls has learned;
- `window`: one more window of a null, as it is and with signal of several strengths, other events each;
- `family`: the yield of the scaled simulation with all of its errors, in the same events as in a window;
- `response`: what a search returns of copies of the lump that one of the windows of the first null has learned;
- `bet`: ln e of a window as it is, which the windows have of some only.

Further windows cost no training.  Those of one training share its error: they count as one where it matters.

Signal enters the window only.  What is dear is made of some windows only: see `EVERY`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from experiment_strengths import FAMILY, YIELDS, Strengths
from experiment_tables import KINDS, Study, draw, report
from experiment_world import PURPOSE, Stream, arguments, events_of, learned, place_of, truth_of, world_of

import hisigma_zfit as hz
from hisigma_zfit.density.loading import unpacked
from hisigma_zfit.files import write_text
from hisigma_zfit.inference.retrained import NullModel, search_window
from hisigma_zfit.inference.search import best_lumps
from hisigma_zfit.inference.search_scene import scene
from hisigma_zfit.learn.streams import Purpose, seed_for, stream
from hisigma_zfit.workers import finished

if TYPE_CHECKING:
    from experiment_world import World

    from hisigma_zfit.model.spectrum import Spectrum

EVERY = {  # which windows measure what; all of them the yields at YIELDS
    "strengths": 2,  # all strengths, and the family at FAMILY
    "scores": 8,  # ln e at BETS and significance improvement
}
REFERENCES = 8  # nulls that have toys
TRAININGS = 8  # nulls that have windows
BOOTSTRAPS = 3
RESAMPLED = 1  # nulls whose density has bootstraps, for the background's error
LEARNED, COPIES = 0.003, 2  # strength at which a lump is learned, and experiments at each strength of its copies
MORE = 3  # windows beside the sidebands of each training


def experiment(world: World, kind: str, number: int) -> dict[str, Any]:
    """One task."""
    start = time.process_time()
    made = {"null": _null, "toy": _toy, "window": _window, "family": _family, "response": _response, "bet": _bet}[kind]
    record = made(world, number)
    return record | {"number": number, "cpu_s": round(time.process_time() - start, 1)}


def _null(world: World, k: int) -> dict[str, Any]:
    data = world.truth.draw(seed_for(world.seed, PURPOSE, Stream.TRUTH), PURPOSE, k)
    seed = seed_for(world.seed, PURPOSE, Stream.TRUTH, 1)
    found = search_window(data, world.window, world.how, seed=seed, purpose=PURPOSE, numbers=(k,))
    flow, spectrum = unpacked(*found.null.background), found.null.spectrum
    if k < RESAMPLED:
        beside = data.select(~world.region.contains(data[world.how.given]))
        options = {"given": world.how.given, "members": world.how.members, "preset": world.how.preset}
        flow = hz.train_flow(
            beside, world.how.features, bootstraps=BOOTSTRAPS, seed=seed_for(seed, PURPOSE, k), **options
        )
    if k < max(REFERENCES, TRAININGS):
        flow.save(world.out / f"background-{k}")
    kept = {"coefficients": spectrum.coefficients.tolist(), "events": spectrum.events, "error": spectrum.error}
    record = {"t": found.t, "n_events": found.n_events, "spectrum": kept}
    return record | {"more": _more(world, found.null, truth_of(world, k), world.truth.spectrum, (seed, k))}


def _toy(world: World, number: int) -> dict[str, Any]:
    origin, k = number % REFERENCES, number // REFERENCES
    flow, spectrum = learned(world, origin)
    seed = seed_for(world.seed, PURPOSE, Stream.TOYS, origin)
    data = NullModel(flow.pack(), spectrum).draw(seed, Purpose.NULL_TOY, k)
    found = search_window(data, world.window, world.how, seed=seed, purpose=Purpose.NULL_TOY, numbers=(k,))
    drawn = flow.bootstraps[k % len(flow.bootstraps)]
    return {"origin": origin, "t": found.t, "more": _more(world, found.null, drawn, spectrum, (seed, k))}


def _more(world: World, null: NullModel, truth: Any, spectrum: Spectrum, numbers: tuple[int, int]) -> list[float]:
    """Test statistics of more windows beside the same sidebands."""
    flow, found, (seed, k) = unpacked(*null.background), [], numbers
    for i in range(MORE):
        n = int(stream(seed, PURPOSE, Stream.MORE, k, i).poisson(spectrum.expected(*world.window)))
        data = events_of(world, truth, spectrum, n, (seed, Stream.MORE, k, i, 1))
        here = scene(data, flow, null.spectrum, region=world.region, components=1, folds=2, strict=False)
        starts = stream(seed, PURPOSE, Stream.MORE, k, i, 2)
        found.append(float(best_lumps(here.points, starts, centres=world.how.centres).statistic[0]))
    return found


def _window(world: World, number: int) -> dict[str, Any]:
    origin = number % TRAININGS
    strengths = Strengths.of(world, number, origin)
    wanted = {
        name for name, every in EVERY.items() if (number + number // TRAININGS) % every == 0
    }  # of all trainings in turn
    record: dict[str, Any] = {"origin": origin}
    for share in (0.0, *world.shares):
        if "strengths" in wanted or share in YIELDS:
            record[f"{share:g}"] = strengths.search(share, wanted)
    return record | {"t": record["0"]["t"]}


def _family(world: World, number: int) -> dict[str, Any]:
    origin = number % TRAININGS
    strengths = Strengths.of(world, number, origin)
    return {"origin": origin, **{f"{share:g}": strengths.family_yields(share) for share in FAMILY}}


def _response(world: World, number: int) -> dict[str, Any]:
    k = number * TRAININGS  # a window of the null whose density has bootstraps
    return {"window": k, **Strengths.of(world, k, 0).response(LEARNED, COPIES)}


def _bet(world: World, number: int) -> dict[str, Any]:
    origin = number % TRAININGS
    return {"origin": origin, "ln_e": Strengths.of(world, number, origin).ln_e(0.0)}


def main() -> None:
    """Make what is missing, then report."""
    parser = arguments(__doc__)
    parser.add_argument("--nulls", type=int, default=200, help="without signal (default 200)")
    parser.add_argument("--toys", type=int, default=200, help="of the reference, all together (default 200)")
    parser.add_argument("--windows", type=int, default=200, help="with several strengths (default 200)")
    parser.add_argument("--families", type=int, default=100, help="windows whose family is fitted (default 100)")
    parser.add_argument("--responses", type=int, default=8, help="lumps whose copies are injected (default 8)")
    parser.add_argument("--bets", type=int, default=100, help="windows without signal that are bet on (default 100)")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="only the table and the figure of what is there")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.report:
        numbers = (options.nulls, options.toys, options.windows, options.families, options.responses, options.bets)
        wanted = dict(zip(KINDS, numbers, strict=True))
        limits = {"toy": REFERENCES, "window": TRAININGS, "family": TRAININGS, "response": RESAMPLED, "bet": TRAININGS}
        needed = max(1, *(min(wanted[kind], most) for kind, most in limits.items()))
        first = [("null", k) for k in range(needed)]
        rest = [(kind, k) for k in range(max(wanted.values())) for kind in wanted if k < wanted[kind]]
        rest = [task for task in rest if task not in first]
        world = world_of(options)
        for tasks in (first, rest):  # toys and windows need what the first have learned
            missing = [task for task in tasks if not place_of(options.out, *task).exists()]
            for task, record in finished(experiment, world, missing, processes=options.processes):
                write_text(place_of(options.out, *task), json.dumps(record))
                print(*task, record["cpu_s"], flush=True)
    study = Study.load(options.out)
    print(report(study, tuple(options.masses)))
    if study.drawable:
        draw(study, options.out / "experiments.png")


if __name__ == "__main__":
    main()
