"""Signals that are no single lump: two decay modes at once, and a resonance as wide as the window.

    python benchmarks/search/beyond.py --truth p_b --data data.root --signal signal.root --other other.root
        --out runs/experiments

Goes on from experiments.py: the backgrounds are those that its nulls have learned, the windows are drawn from its
truth.  Each window is searched with one lump and with two, without signal, with a signal of one mode, with one that is
half of the other, and with the first one's mass smeared.  Each is one small file in the same folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from experiment_strengths import DRAWS, FOLDS, distance, x_only
from experiment_world import PURPOSE, World, arguments, drawn_window, learned, world_of
from scipy.stats import chi2

import hisigma_zfit as hz
from hisigma_zfit.baselines.anomaly_scores import place_events
from hisigma_zfit.files import write_text
from hisigma_zfit.inference.lump_yields import fiducial_yield
from hisigma_zfit.inference.search import CONTAINED, best_lumps, cross_fit
from hisigma_zfit.inference.search_scene import fold_of, scene
from hisigma_zfit.learn.streams import seed_for, stream
from hisigma_zfit.statistics.significance_improvement import significance_improvement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hisigma_zfit.inference.search_scene import Scene

SHARES, COUNTED = (0.003, 0.0053), (0.0, 0.0053)  # and strengths whose fiducial yield is taken
JUDGES, FAR = 50_000, 10**6  # background events that judge, and numbers of windows that no experiment has
_SIGNAL, _STARTS, _WIDE = range(80, 83)  # streams


def kinds(world: World, whole: hz.Dataset, other: hz.Dataset, smearing: float) -> dict[str, tuple[hz.Dataset, ...]]:
    """Signal events of the window, of one or two samples in equal parts."""
    given = world.how.given
    rng = stream(world.seed, PURPOSE, _WIDE)
    columns = {name: whole[name] for name in (*world.how.features, given)}
    columns[given] = columns[given] * np.exp(smearing * rng.standard_normal(len(whole)))
    wide = hz.Dataset.from_arrays(columns)
    wide = wide.select(world.region.contains(wide[given]))
    return {"one mode": (world.signal,), "two modes": (world.signal, other), "wide": (wide,)}


def searches(world: World, samples: dict[str, tuple[hz.Dataset, ...]], number: int) -> Iterator[dict[str, Any]]:
    """All searches of one window."""
    flow, spectrum = learned(world, number)
    rng = stream(world.seed, PURPOSE, _SIGNAL, number)
    background = drawn_window(world, number, int(rng.poisson(world.expected)), FAR + number)
    judges = drawn_window(world, number, JUDGES, FAR)
    judged: dict[str, Any] = {}
    for kind, share in [("nothing", 0.0), *((kind, share) for kind in samples for share in SHARES)]:
        parts = []
        for sample in samples[kind] if share else ():
            n = rng.poisson(share / (1.0 - share) * world.expected / len(samples[kind]))
            parts.append(sample.select(np.isin(np.arange(len(sample)), rng.permutation(len(sample))[:n])))
        data = background.concatenate(*parts) if parts else background
        true = np.arange(len(data)) >= len(background)
        for components in (1, 2):
            here = scene(data, flow, spectrum, region=world.region, components=components, folds=2, strict=False)
            seed = seed_for(world.seed, PURPOSE, _STARTS, number, components)
            found = best_lumps(here.points, stream(seed, PURPOSE, round(1e6 * share)), components=components)
            record = {"kind": kind, "share": share, "components": components, "n_signal": int(true.sum())}
            record |= {"t": float(found.statistic[0]), "yield": float(found.blobs.total[0]) * len(here)}
            if share in COUNTED:
                record |= _fiducial(here, true[np.isin(data.identity, here.identity)], components, seed)
            if share:
                if "judges" not in judged:
                    judged["judges"] = place_events(here, judges)[0]
                if kind not in judged:
                    judged[kind] = [place_events(here, sample)[0] for sample in samples[kind]]
                b = x_only(found.blobs, judged["judges"])
                s = [x_only(found.blobs, points) for points in judged[kind]]
                smallest = min(map(len, s))
                at = significance_improvement(np.concatenate([own[:smallest] for own in s]), b).at_1e3
                record |= {"sic": at.sic}
                record["sic_of_each"] = [significance_improvement(own, b).at_1e3.sic for own in s]
            yield record


def _fiducial(here: Scene, true: Any, components: int, seed: int) -> dict[str, Any]:
    number = fold_of(here.identity, seed, FOLDS)
    starts = (stream(seed, PURPOSE, _STARTS, fold) for fold in range(FOLDS))
    parts, _ = cross_fit(here.points, number, starts, components=components)
    radius = float(chi2.ppf(CONTAINED, here.points.y.shape[1]))
    got = fiducial_yield(
        here, parts, number, radius_squared=radius, contained=CONTAINED, draws=DRAWS, rng=stream(seed, PURPOSE, _SIGNAL)
    )
    inside = sum(
        int(np.sum(distance(here.points.y[(number == fold) & true], lump) <= radius))
        for fold, lump in enumerate(got.regions)
    )
    return {"fiducial": [got.value, got.error], "in_region": inside}


def table(records: list[dict[str, Any]]) -> str:
    """Medians, and the smallest and largest test statistic."""
    lines = [
        "kind        w %   lumps  sets  signal     T (smallest, largest)    yield  fiducial (true)    SIC  of each"
    ]
    for key in dict.fromkeys((r["kind"], r["share"], r["components"]) for r in records):
        own = [r for r in records if (r["kind"], r["share"], r["components"]) == key]
        t = [r["t"] for r in own]
        amount, s = (np.median([r[name] for r in own]) for name in ("yield", "n_signal"))
        line = f"{key[0]:10s} {100 * key[1]:5.2f} {key[2]:6d} {len(own):5d} {s:7.0f}   {np.median(t):6.1f} "
        line += f"({min(t):5.1f}, {max(t):5.1f}) {amount:12.0f}"
        counted = [[*r["fiducial"], r["in_region"]] for r in own if "fiducial" in r]
        if counted:
            value, error, inside = np.median(counted, axis=0)
            line += f" {value:6.0f} +- {error:.0f} ({inside:.0f})"
        if "sic" in own[0]:
            each = np.median([r["sic_of_each"] for r in own], axis=0)
            line += f"  {np.median([r['sic'] for r in own]):9.1f}  {', '.join(f'{v:.1f}' for v in each)}"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Search what is missing, then report."""
    parser = arguments(__doc__)
    parser.add_argument("--other", type=Path, required=True, help="ROOT file of the other decay's events")
    parser.add_argument("--smearing", type=float, default=0.15, help="of the wide signal's mass (default 0.15)")
    parser.add_argument("--sets", type=int, default=5, help="windows, each with another density (default 5)")
    options = parser.parse_args()
    world, samples = world_of(options), {}
    for number in range(options.sets):
        path = options.out / f"beyond-{number:02d}.json"
        if not path.exists():
            if not samples:
                names = (*world.how.features, world.how.given)
                whole, other = (hz.read(p, columns={n: n for n in names}) for p in (options.signal, options.other))
                other = other.select(world.region.contains(other[world.how.given]))
                samples = kinds(world, whole, other, options.smearing)
            write_text(path, json.dumps(list(searches(world, samples, number))))
            print(path.name, flush=True)
    records = [r for path in sorted(options.out.glob("beyond-*.json")) for r in json.loads(path.read_text())]
    print(table(records))


if __name__ == "__main__":
    main()
