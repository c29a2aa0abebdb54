"""Find a resonance among dijets that nobody has described, as in arXiv:2506.00119.

python analyses/anomaly/dijet.py --out runs/dijet

prints the table and leaves it, the figures and result.json in the run folder.  Toys for the p-value take half a CPU
minute each: --toys 200 --processes 4.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import hisigma_zfit as hz

FILES = Path(__file__).parent / "data"
FEATURES = ("mj_light", "dmj", "tau21_light", "tau21_heavy")
# one simulated sample at 500 and 100 GeV, whose jet masses are scaled to others
FAMILY = f"scaled:{FILES / 'signal.root'}:mj_light=m_y,mj_light + dmj=m_x@m_x=500,m_y=100"


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=FILES / "dijets.root", help="events (default: those beside this script)"
    )
    parser.add_argument("--toys", type=int, default=0, help="retrained background-only experiments (default 0)")
    parser.add_argument("--responses", type=int, default=5, help="experiments at each injected signal (default 5)")
    parser.add_argument("--compare", nargs="*", default=["classifier"], help="other scores (default: classifier)")
    parser.add_argument("--family", default=FAMILY, help="signal known up to its masses (default: scaled simulation)")
    parser.add_argument(
        "--scan", nargs=4, type=float, metavar=("LO", "HI", "WIDTH", "STEP"), help="search these windows"
    )
    parser.add_argument("--preset", default="standard", help="training: quick, standard or paper")
    parser.add_argument("--seed", type=int, default=1, help="seed of every random step (default 1)")
    parser.add_argument("--processes", type=int, default=2, help="worker processes (default 2)")
    parser.add_argument("--out", type=Path, default=Path("runs/dijet"), help="run folder to be made")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    result = hz.search(
        data=options.data,
        mass="mjj",
        range=(2500, 4500),
        signal_region=(3300, 3700),
        features=FEATURES,
        properties={"m_heavy": "mj_light + dmj"},
        experiment="HI-SIGMA",
        label="simulation",
        units=dict.fromkeys(("mjj", "mj_light", "dmj", "m_heavy"), "GeV"),
        truth="truth",
        bootstraps=3,
        toys=options.toys,
        responses=options.responses,
        compare=options.compare,
        family=options.family,
        scan=options.scan,
        preset=options.preset,
        seed=options.seed,
        processes=options.processes,
        out=options.out,
        quiet=False,
    )
    print(result)
    print(f"\ninjected: 154 signal events in the window; figures and result.json are in {options.out}")


if __name__ == "__main__":
    main()
