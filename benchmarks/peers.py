"""Densities and fits beside their rivals, all in one run: `python benchmarks/peers.py`.

Densities: the default density and neural spline flows of flowjax, zuko and nflows learn the same events of an exactly
known density (`tests/truth.py`), with the same schedule: batches of 512, Adam, a rise of 100 steps and half a cosine to
zero.  The first three see the same marginally Gaussianised inputs, which favours the rivals, who would otherwise do
without; nflows is also run as published examples do, on standardised inputs.  Each is set up as its authors' examples
are, with a customary peak of the learning rate.  This package prepares its features itself, the rivals get them
prepared; one more line has its rate of evaluation without that.  KL, in nats, is that of the exact density in the
signal region, which no training has seen, with the error of its mean over the test events.

Fits: the fit, its Hessian and a 60-point profile of 40,200 events, with the densities computed ahead.  The rivals are
an expert's value, gradient and Hessian in numba with a Newton profile (`expert.py`), iminuit with numba's gradient, the
published procedure (`fit_speed.py`), and RooFit with its vectorising backend where ROOT is installed.  With nuisance
parameters, each of which scales the signal's yield, all but the published procedure are asked the same.  All in turns;
the spread is that of the turns.

Every rival runs in a process of its own, on one thread, and CPU seconds are quoted.  A rival that is not installed is
left out and said so: pip install 'hisigma_zfit[benchmark]'.  `--python` names an interpreter that has the rivals, where
they are not in this environment.
"""

from __future__ import annotations

import os

# before numpy is imported, here and in what is started from here
os.environ.update(
    {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "ZFIT_DISABLE_TF_WARNINGS": "1",
        "JAX_PLATFORMS": "cpu",
    }
)

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

DENSITIES = ("ours", "flowjax", "zuko", "nflows", "nflows-standardised")
FITS = ("fits", "roofit")


def prepare(folder: Path, events: int, test: int) -> None:
    """Write what all densities learn and are tested on: the same Gaussianised inputs, and the exact density there."""
    import truth

    from hisigma_zfit.learn.preprocess import FeatureTransform, Support

    columns = truth.BACKGROUND.columns(events, seed=1, region="sidebands")
    x, m = truth.stack(columns)
    supports = [Support.infer(values, name=name) for values, name in zip(x.T, truth.FEATURES, strict=True)]
    transform = FeatureTransform.fit(x, truth.FEATURES, supports=supports)
    own, masses = truth.stack(truth.BACKGROUND.columns(test, seed=1001, region="signal"))
    inside = transform.inside(own)
    own, masses = own[inside], masses[inside]

    def gaussianised(values: Any) -> tuple[Any, Any]:
        from scipy.special import ndtri

        u, log_jacobian = transform.forward(values)
        z = ndtri(np.clip(u, 1e-7, 1.0 - 1e-7))
        return z, log_jacobian + 0.5 * np.sum(z**2, axis=1) + 0.5 * z.shape[1] * np.log(2.0 * np.pi)

    centre, width = x.mean(axis=0), x.std(axis=0)
    (z, _), (z_test, log_z) = gaussianised(x), gaussianised(own)

    def scaled(masses: Any) -> Any:
        return (masses - 135.0) / 45.0

    np.savez(
        folder / "events.npz",
        x=x,
        m=m,
        z=z,
        c=scaled(m)[:, None],
        s=(x - centre) / width,
        x_test=own,
        m_test=masses,
        z_test=z_test,
        c_test=scaled(masses)[:, None],
        s_test=(own - centre) / width,
        exact=truth.BACKGROUND.log_prob(own, masses),
        log_z=log_z,
        log_s=np.full(len(own), -np.log(width).sum()),
    )


def in_own_process(python: str, name: str, folder: Path, options: list[str]) -> dict[str, Any]:
    """What a rival prints, or why there is nothing."""
    command = [python, str(HERE / "rivals.py"), name, str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        why = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        return {"name": name, "absent": why}
    return json.loads(lines[-1])


def density_table(rows: list[dict[str, Any]]) -> str:
    head = f"{'':40s}{'CPU s':>8s}{'compile':>9s}{'KL (nats)':>18s}"
    head += f"{'train':>10s}{'evaluate':>10s}{'sample':>9s}{'GiB':>6s}"
    lines = [head, f"{'':40s}{'':8s}{'':9s}{'':18s}{'events/s':>10s}{'events/s':>10s}{'events/s':>9s}"]
    for row in rows:
        if "absent" in row:
            lines.append(f"{row['name']:40s}  left out: {row['absent']}")
            continue
        kl = f"{row['kl']:.4f} +- {row['kl_error']:.4f}"
        lines.append(
            f"{row['title']:40s}{row['cpu_s']:8.1f}{row['compile_s']:9.1f}{kl:>18s}{row['train_rate']:10.0f}"
            f"{row['evaluate_rate']:10.0f}{row['sample_rate']:9.0f}{row['peak_gib']:6.1f}"
        )
        if "prepared_rate" in row:  # what the rivals get
            lines.append(f"{'the same, features prepared ahead':85s}{row['prepared_rate']:10.0f}")
    return "\n".join(lines)


def fit_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        f"{'':44s}{'nuisances':>10s}{'CPU s':>9s}{'(range)':>18s}"
        f"{'times ours':>12s}{'in a row':>10s}{'times ours':>12s}{'compile':>9s}{'n_sig':>9s}{'error':>8s}"
    ]
    ours = {row["nuisances"]: (row["cpu_s"], row["in_a_row_s"]) for row in rows if row.get("ours")}
    for row in rows:
        if "absent" in row:
            lines.append(f"{row['name']:44s}  left out: {row['absent']}")
            continue
        first, further = ours.get(row["nuisances"], (np.nan, np.nan))
        spread = f"({row['least_s']:.3f} - {row['most_s']:.3f})"
        lines.append(
            f"{row['title']:44s}{row['nuisances']:10d}{row['cpu_s']:9.3f}{spread:>18s}"
            f"{row['cpu_s'] / first:12.1f}{row['in_a_row_s']:10.3f}{row['in_a_row_s'] / further:12.1f}"
            f"{row['compile_s']:9.2f}"
            f"{row['n_sig']:9.2f}{row['error']:8.2f}"
        )
    return "\n".join(lines)


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000, help="that the densities learn (default 200000)")
    parser.add_argument("--test-events", type=int, default=50_000)
    parser.add_argument("--epochs", type=float, default=5.0, help="passes over the events (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="events of the fits, in units of 40,200")
    parser.add_argument("--rounds", type=int, default=3, help="turns of the fits")
    parser.add_argument("--only", nargs="+", choices=(*DENSITIES, *FITS), default=(*DENSITIES, *FITS))
    parser.add_argument("--python", help="interpreter that has torch, zuko, nflows, flowjax and ROOT")
    parser.add_argument("--json", type=Path, help="where the numbers go, for plots/speed.py")
    options = parser.parse_args()

    other = options.python or sys.executable
    densities, fits = [], []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if any(name in DENSITIES for name in options.only):
            prepare(folder, options.events, options.test_events)
        for name in DENSITIES:
            if name in options.only:
                python = sys.executable if name == "ours" else other
                densities.append(in_own_process(python, name, folder, ["--epochs", str(options.epochs)]))
                lines = density_table(densities[-1:]).splitlines()
                print("\n".join(lines if len(densities) == 1 else lines[2:]), flush=True)
        for name in FITS:
            if name in options.only:
                python = other if name == "roofit" else sys.executable
                given = ["--scale", str(options.scale), "--rounds", str(options.rounds)]
                found = in_own_process(python, name, folder, given)
                fits += found.get("rows", [found])
    if fits:
        print("\n" + fit_table(fits))
    print(f"\n{options.events} events; {processor()}, one thread; Python {platform.python_version()}")
    if options.json:
        content = {"events": options.events, "processor": processor(), "densities": densities, "fits": fits}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
