"""One rival of `peers.py` in a process of its own: ``python benchmarks/rivals.py NAME FOLDER``; prints JSON."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
BATCH, WARM_UP, SAMPLES = 512, 100, 50_000
CPU = time.process_time


def peak_gib() -> float:
    """Largest resident memory of this process so far; Linux reports KiB, macOS bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20


def warm_up(steps: int) -> int:
    """Steps of the rise."""
    return min(WARM_UP, max(steps // 5, 1))


def rate(step: int, steps: int) -> float:
    """Learning rate by its peak: a linear rise and half a cosine to zero."""
    return min(1.0, (step + 1) / warm_up(steps)) * 0.5 * (1.0 + np.cos(np.pi * step / steps))


def judged(
    title: str,
    events: Any,
    kind: str,
    *,
    train: Callable[[], tuple[float, float, int]],
    log_prob: Callable[[Any, Any], Any],
    sample: Callable[[Any], Any],
    evaluated: int = 0,
) -> dict[str, Any]:
    """Time a rival, and compare it with the exact density.

    Args:
        title: Its name in the table.
        events: What `peers.prepare` wrote.
        kind: Which of the inputs it takes: ``"z"`` or ``"s"``, or ``"x"`` for its own preparation.
        train: Trains; returns CPU seconds in all, those that compile, and the events that steps were made of.
        log_prob: Log density of inputs given the mass or its scaled value.
        sample: As many samples as there are masses.
        evaluated: Events whose evaluation is timed, at least; for those who compile when there are many.
    """
    total, compiling, shown = train()
    given = "m" if kind == "x" else "c"
    inputs, masses = events[f"{kind}_test"], events[f"{given}_test"]
    times = max(-(-evaluated // len(inputs)), 1)
    many = [np.tile(array, (times, *[1] * (array.ndim - 1))) for array in (inputs, masses)]
    log_prob(*many)  # compiles, if anything does
    start = CPU()
    found = np.asarray(log_prob(*many), dtype=np.float64)[: len(inputs)]
    evaluation = CPU() - start
    more = np.resize(masses, (SAMPLES, *masses.shape[1:]))
    sample(more)
    start = CPU()
    sample(more)
    sampling = CPU() - start
    difference = events["exact"] - found - (0.0 if kind == "x" else events[f"log_{kind}"])
    return {
        "title": title,
        "cpu_s": total,
        "compile_s": compiling,
        "kl": float(difference.mean()),
        "kl_error": float(difference.std() / np.sqrt(len(difference))),
        "train_rate": shown / max(total - compiling, 1e-9),
        "evaluate_rate": times * len(inputs) / evaluation,
        "sample_rate": SAMPLES / sampling,
        "peak_gib": peak_gib(),
    }


def prepared_rate(flow: Any, x: Any, m: Any, *, block: int = 4096, evaluated: int = 1_000_000) -> float:
    """Evaluations a CPU second of features that were prepared ahead, as those that the rivals get."""
    import tensorflow as tf

    config, parameters = flow.config, tf.constant(flow.parameters)
    u, c = flow.transform.forward(x)[0], flow.mass_scale(m)
    blocks = [slice(start, start + block) for start in range(0, len(u) - block + 1, block)]
    prepared = [config.prepare(tf.constant(u[rows]), tf.constant(c[rows])) for rows in blocks]

    @tf.function(jit_compile=True, autograph=False)
    def log_prob(*arrays: Any) -> Any:
        return config.log_prob(parameters, arrays)

    log_prob(*prepared[0])
    times, start = -(-evaluated // (block * len(blocks))), CPU()
    for _ in range(times):
        for arrays in prepared:
            np.asarray(log_prob(*arrays))
    return times * len(blocks) * block / (CPU() - start)


def ours(events: Any, epochs: float) -> dict[str, Any]:
    sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]
    import truth

    import hisigma_zfit as hz

    columns = dict(zip(truth.FEATURES, events["x"].T, strict=True)) | {truth.MASS: events["m"]}
    data = hz.Dataset.from_arrays(columns).sidebands(truth.MASS, hz.SignalRegion(*truth.REGION))
    train_flow, times, flows = hz.train_flow, [], []

    def train() -> tuple[float, float, int]:
        start = CPU()
        steps: list[int] = []

        def note(done: int, _: int) -> None:
            times.append(CPU())
            steps.append(done)

        flows.append(train_flow(data, truth.FEATURES, given=truth.MASS, seed=1, epochs=epochs, progress=note))
        each = np.diff(times)
        # what the first chunk of steps took, with all that comes before it, beyond what a chunk takes
        return CPU() - start, max(times[0] - start - float(np.median(each)), 0.0), steps[-1] * BATCH

    found = judged(
        "this package, one member",
        events,
        "x",
        train=train,
        log_prob=lambda x, m: flows[-1].log_prob_array(x, m),  # noqa: PLW0108 - it is not there yet
        sample=lambda m: flows[-1].sample(m, seed=1),
        evaluated=1_000_000,
    )
    return {**found, "prepared_rate": prepared_rate(flows[-1], events["x_test"], events["m_test"])}


def flowjax(events: Any, epochs: float) -> dict[str, Any]:
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow
    from flowjax.train import fit_to_data

    z, c = (jnp.asarray(events[name], dtype=jnp.float32) for name in ("z", "c"))
    steps = int(np.ceil(epochs * len(z) / BATCH))
    schedule = optax.warmup_cosine_decay_schedule(0.0, 3e-3, warm_up(steps), steps)
    optimizer, found = optax.adam(schedule), []

    def fit(z: Any, c: Any, epochs: int) -> None:
        flow = masked_autoregressive_flow(
            jax.random.key(0),
            base_dist=Normal(jnp.zeros(z.shape[1])),
            transformer=RationalQuadraticSpline(knots=8, interval=4),
            cond_dim=1,
            flow_layers=3,
            invert=True,
        )
        options = {"batch_size": BATCH, "max_epochs": epochs, "max_patience": epochs, "show_progress": False}
        trained, _ = fit_to_data(
            jax.random.key(1), flow, (z, c), optimizer=optimizer, val_prop=0.05, return_best=False, **options
        )
        found.append(trained)

    def train() -> tuple[float, float, int]:
        few = 8 * BATCH
        begin = CPU()
        fit(z[:few], c[:few], 1)
        first = CPU() - begin
        fit(z[:few], c[:few], 1)
        second = CPU() - begin - first
        begin = CPU()
        fit(z, c, max(round(epochs), 1))
        whole = CPU() - begin
        compiling = max(first - second, 0.0)
        kept = second < 0.5 * first  # what was compiled for the few serves all
        return whole + (compiling if kept else 0.0), compiling, int(0.95 * len(z)) * max(round(epochs), 1)

    log_prob = eqx.filter_jit(lambda flow, z, c: flow.log_prob(z, condition=c))
    sample = eqx.filter_jit(lambda flow, c: flow.sample(jax.random.key(2), condition=c))

    def pieces(function: Callable[[Any], Any], n: int) -> Any:
        return np.concatenate([np.asarray(function(slice(at, at + 10_000))) for at in range(0, n, 10_000)])

    return judged(
        "flowjax, neural spline flow",
        events,
        "z",
        train=train,
        log_prob=lambda z, c: pieces(
            lambda rows: log_prob(found[-1], jnp.float32(z[rows]), jnp.float32(c[rows])), len(z)
        ),
        sample=lambda c: pieces(lambda rows: sample(found[-1], jnp.float32(c[rows])), len(c)),
    )


def with_torch(title: str, events: Any, kind: str, epochs: float, make: Callable[[int], Any], peak: float) -> Any:
    """Train what `make` gives: an object with parameters, log_prob(x, c) and sample(c)."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, c = (torch.as_tensor(events[name], dtype=torch.float32) for name in (kind, "c"))
    flow, n = make(x.shape[1]), len(x)
    steps = int(np.ceil(epochs * n / BATCH))
    adam = torch.optim.Adam(flow.parameters(), lr=peak)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: rate(step, steps))

    def train() -> tuple[float, float, int]:
        start, order = CPU(), torch.randperm(n)
        for step in range(steps):
            first = step * BATCH % n
            if first < BATCH:
                order = torch.randperm(n)
            rows = order[first : first + BATCH]
            loss = -flow.log_prob(x[rows], c[rows]).mean()
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
            adam.step()
            schedule.step()
        return CPU() - start, 0.0, steps * BATCH

    def pieces(function: Callable[..., Any], *arrays: Any) -> Any:
        with torch.no_grad():
            tensors = [torch.as_tensor(array, dtype=torch.float32) for array in arrays]
            return torch.cat([function(*part) for part in zip(*(t.split(10_000) for t in tensors), strict=True)])

    return judged(
        title,
        events,
        kind,
        train=train,
        log_prob=lambda x, c: pieces(flow.log_prob, x, c),
        sample=lambda c: pieces(flow.sample, c),
    )


def zuko(events: Any, epochs: float) -> dict[str, Any]:
    import zuko as package

    class Flow:
        def __init__(self, d: int) -> None:
            self.flow = package.flows.NSF(d, 1, bins=8, transforms=3, hidden_features=(64, 64))

        def parameters(self) -> Any:
            return list(self.flow.parameters())

        def log_prob(self, x: Any, c: Any) -> Any:
            return self.flow(c).log_prob(x)

        def sample(self, c: Any) -> Any:
            return self.flow(c).sample()

    return with_torch("zuko, neural spline flow", events, "z", epochs, Flow, 2e-3)


def nflows(events: Any, epochs: float, *, kind: str = "z") -> dict[str, Any]:
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow as Base
    from nflows.transforms.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressiveTransform as Splines
    from nflows.transforms.base import CompositeTransform
    from nflows.transforms.permutations import ReversePermutation

    class Flow:
        def __init__(self, d: int) -> None:
            options = {"context_features": 1, "num_bins": 8, "tails": "linear", "tail_bound": 5.0, "num_blocks": 2}
            layers = [
                part for _ in range(4) for part in (ReversePermutation(d), Splines(d, hidden_features=64, **options))
            ]
            self.flow = Base(CompositeTransform(layers), StandardNormal([d]))

        def parameters(self) -> Any:
            return list(self.flow.parameters())

        def log_prob(self, x: Any, c: Any) -> Any:
            return self.flow.log_prob(x, context=c)

        def sample(self, c: Any) -> Any:
            return self.flow.sample(1, context=c)[:, 0]

    words = "Gaussianised" if kind == "z" else "standardised"
    return with_torch(f"nflows, neural spline flow, {words}", events, kind, epochs, Flow, 1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=float, default=5.0)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.name in {"fits", "roofit"}:
        if options.name == "fits":
            from fit_rivals import fits

            rows = fits(options.folder, scale=options.scale, rounds=options.rounds)
        else:
            from roofit_rival import roofit

            rows = roofit(options.folder, rounds=options.rounds)
        print(json.dumps({"name": options.name, "rows": rows}))
        return
    events = dict(np.load(options.folder / "events.npz"))
    learners = {"ours": ours, "flowjax": flowjax, "zuko": zuko, "nflows": nflows}
    if options.name == "nflows-standardised":
        found = nflows(events, options.epochs, kind="s")
    else:
        found = learners[options.name](events, options.epochs)
    print(json.dumps({"name": options.name, **found}))


if __name__ == "__main__":
    main()
