"""CPU seconds of the default example by stage: `python benchmarks/stages.py --out runs/stages`.

The measurement is that of `analyses/dihiggs/measure.py`: 40,200 data, sidebands and signal of the sample in the
repository, five redrawn trainings of five seeds.  With `--reuse RUN` the members of an earlier run serve, so that all
but the training can be timed within a minute.  CPU seconds are those of all threads of this process; on a machine that
does something else beside they are what stays comparable.  `--profile` leaves a profile of each stage for `pstats`.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import hisigma_zfit as hz
from hisigma_zfit.runs.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
# what a measurement imports before and in its stages, so that none of these pays for it
IMPORTS = ("zfit", "scipy.stats", "tensorflow_probability", "matplotlib.figure", "hisigma_zfit.measurement.answers")


class CountedStages(Stages):
    """Stages that keep their CPU seconds, their wall time, and their profiles where a folder is given."""

    cpu: ClassVar[dict[str, float]] = {}
    wall: ClassVar[dict[str, float]] = {}
    profiles: ClassVar[Path | None] = None

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        profile = None if self.profiles is None else cProfile.Profile(time.process_time)
        start, began = time.process_time(), time.perf_counter()
        with super().__call__(name), nullcontext() if profile is None else profile:
            yield
        self.cpu[name] = self.cpu.get(name, 0.0) + time.process_time() - start
        self.wall[name] = self.wall.get(name, 0.0) + time.perf_counter() - began
        if profile is not None:
            profile.dump_stats(self.profiles / f"{name}.prof")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="run folder to be made")
    parser.add_argument("--reuse", type=Path, help="complete run of the same options, whose members are taken")
    parser.add_argument("--profile", type=Path, help="folder for the profiles of the stages")
    options = parser.parse_args()
    began = time.perf_counter()
    for name in IMPORTS:
        __import__(name)
    imports, imported = time.process_time(), time.perf_counter()
    from hisigma_zfit.measurement import pipeline

    sys.path.insert(0, str(ROOT / "analyses" / "dihiggs"))
    from samples import COLUMNS, FEATURES, MASS, RANGE, SIGNAL_REGION, WORDS, write_dataset

    pipeline.Stages = CountedStages
    if options.profile is not None:
        options.profile.mkdir(parents=True, exist_ok=True)
        CountedStages.profiles = options.profile
    options.out.parent.mkdir(parents=True, exist_ok=True)
    hz.measure(
        **write_dataset(0, options.out.parent / "dataset0"),
        mass=MASS,
        range=RANGE,
        signal_region=SIGNAL_REGION,
        features=FEATURES,
        columns=COLUMNS,
        **WORDS,
        out=options.out,
        reuse=options.reuse,
        overwrite=True,
    )
    seconds = {"imports": imports, **CountedStages.cpu}
    seconds["all"] = time.process_time()
    wall = {"imports": imported - began, **CountedStages.wall, "all": time.perf_counter() - began}
    print(f"{'':8s}{'CPU s':>8s}{'wall s':>8s}")
    for name, used in seconds.items():
        print(f"{name:8s}{used:8.1f}{wall[name]:8.1f}")
    print(json.dumps({name: round(used, 2) for name, used in seconds.items()}))


if __name__ == "__main__":
    main()
