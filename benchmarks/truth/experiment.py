"""One pseudo-experiment: everything redrawn, everything trained again, and what a fit would return on average."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from asimov import AsimovFit, TruthSample
from rivals import copula, reweighted
from worlds import WORLDS, World

import hisigma_zfit as hz
from hisigma_zfit.density.ensemble import EnsembleFlow
from hisigma_zfit.density.training import train_halves
from hisigma_zfit.inference.unseen import Hypothesis, Taught, unseen_yield

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array

__all__ = ["run", "run_halves"]

# purposes of random streams
_SIDEBANDS, _SIMULATION = 1, 2


def run_halves(name: str, *, extra: int, number: int, members: int = 5) -> dict[str, Any]:
    """The part of `run` that makes the value of the default, a third of the work; the same bits.

    Args:
        name: Of the world; one with at least 10,000 sideband events.
        extra: As in `run`.
        number: As in `run`.
        members: As in `run`.
    """
    world, start = WORLDS[name], time.process_time()
    truth = TruthSample(world)
    sidebands, simulation = _redrawn(world, extra, number)
    background, signal = (
        train_halves(events, world.features, given="m", members=members, seed=seed)
        for events, seed in ((sidebands, 2 * number + 1), (simulation, 2 * number + 2))
    )
    pairs = list(zip(background, signal, strict=True))
    fits: dict[str, AsimovFit | list[AsimovFit]] = {
        "exact": truth.fit(truth.exact_background, truth.exact_signal),
        "halves": [truth.fit(_score(b, truth), _score(s, truth)) for b, s in pairs],
    }
    return {
        "world": name,
        "extra": extra,
        "number": number,
        "sidebands": len(sidebands),
        "fits": {key: _plain(value) for key, value in fits.items()},
        "unseen": _unseen(world, pairs, sidebands, simulation, number),
        "cpu_s": {"total": time.process_time() - start},
    }


def run(name: str, *, extra: int, number: int, members: int = 5, bootstraps: int = 5) -> dict[str, Any]:
    """Redraw the sidebands and the simulation of one world, train, and fit the expected data.

    Args:
        name: Of the world.
        extra: Sideband events for the training beyond those of the data.
        number: Of the pseudo-experiment; it seeds everything.
        members: Seeds of the un-resampled densities.
        bootstraps: Resampled densities of the background, and of the signal.

    Returns:
        For every fit the signal, its error and its noise, and what the trainings cost.
    """
    world = WORLDS[name]
    truth = TruthSample(world)
    sidebands, simulation = _redrawn(world, extra, number)
    start = time.process_time()
    plain = _train(world, sidebands, members=members, bootstraps=bootstraps, seed=2 * number + 1)
    background_s = time.process_time() - start
    signal = _train(world, simulation, members=members, bootstraps=bootstraps, seed=2 * number + 2)
    trained_s = time.process_time() - start
    log_b = _score(plain, truth)
    log_s = _score(signal, truth)
    boots_b = [_score(flow, truth) for flow in plain.bootstraps]
    boots_s = [_score(flow, truth) for flow in signal.bootstraps]
    exact_b, exact_s = truth.exact_background, truth.exact_signal
    rivals = {
        "copula": copula(world, sidebands, truth.x),
        "reweighted": reweighted(world, sidebands, truth.x, truth.m, seed=number),
    }
    fits: dict[str, AsimovFit | list[AsimovFit]] = {
        "exact": truth.fit(exact_b, exact_s),
        "plain": truth.fit(log_b, log_s),
        "background alone": truth.fit(log_b, exact_s),
        "signal alone": truth.fit(exact_b, log_s),
        "mixture": truth.fit(_mean(boots_b), log_s),
        "bootstraps": [truth.fit(own, log_s) for own in boots_b],
        "signal bootstraps": [truth.fit(log_b, own) for own in boots_s],
        "halves": [truth.fit(_score(b, truth), _score(s, truth)) for b, s in _halves(plain, signal)],
    } | {rival: truth.fit(log, exact_s) for rival, log in rivals.items()}
    background = truth.weights[: len(log_b)] * (np.arange(len(log_b)) < np.argmax(truth.weights != truth.weights[0]))
    return {
        "world": name,
        "extra": extra,
        "number": number,
        "sidebands": len(sidebands),
        "fits": {key: _plain(value) for key, value in fits.items()},
        "divergence": {
            "plain": _divergence(exact_b, log_b, background),
            "mixture": _divergence(exact_b, _mean(boots_b), background),
            "single": float(np.mean([_divergence(exact_b, own, background) for own in boots_b])),
            **{rival: _divergence(exact_b, log, background) for rival, log in rivals.items()},
        },
        "unseen": _unseen(world, _halves(plain, signal), sidebands, simulation, number),
        "stopped": None if plain.history is None else plain.history.kept_step,
        "cpu_s": {"background": background_s, "all": trained_s, "total": time.process_time() - start},
    }


def _redrawn(world: World, extra: int, number: int) -> tuple[hz.Dataset, hz.Dataset]:
    """Sidebands and simulation of one pseudo-experiment."""
    rng = np.random.default_rng([number, 9])
    n = int(rng.poisson(world.n_background * world.share_of_sidebands)) + extra
    return world.sidebands(n, seed=(number, _SIDEBANDS)), world.simulation(seed=(number, _SIMULATION))


def _train(world: World, events: hz.Dataset, *, seed: int, members: int = 1, bootstraps: int = 1) -> hz.ConditionalFlow:
    train = hz.train_flow
    return train(events, world.features, given="m", members=members, bootstraps=bootstraps, seed=seed)


def _halves(*flows: hz.ConditionalFlow) -> list[tuple[hz.ConditionalFlow, ...]]:
    """The densities of the first halves, and those of the second."""
    halves = [flow.halves for flow in flows if isinstance(flow, EnsembleFlow)]
    return list(zip(*halves, strict=True))


def _unseen(
    world: World,
    halves: list[tuple[hz.ConditionalFlow, ...]],
    sidebands: hz.Dataset,
    simulation: hz.Dataset,
    number: int,
) -> list[float]:
    """What the halves' densities find beyond the injected signal among the events of the other half."""
    low, high = world.mass_range

    def falling(m: Array) -> Array:
        return np.exp(-world.slope * (m - low) / (high - low))

    n_background = world.n_background * (1.0 - world.share_of_sidebands)
    region = hz.SignalRegion(*world.region)
    hypothesis = Hypothesis(world.signal_mass_density, falling, world.n_signal, n_background, region)
    taught = Taught(sidebands, 2 * number + 1), Taught(simulation, 2 * number + 2)
    return [
        unseen_yield(*own, *(one.unseen(k) for one in taught), hypothesis, rng=np.random.default_rng([number, k, 7]))
        - world.n_signal
        for k, own in enumerate(halves)
    ]


def _score(flow: hz.ConditionalFlow, truth: TruthSample) -> Array:
    return flow.log_prob_array(truth.x, truth.m)


def _mean(logs: list[Array]) -> Array:
    """Log of the average density."""
    top = np.max(logs, axis=0)
    with np.errstate(invalid="ignore"):
        mean = top + np.log(np.mean(np.exp(np.array(logs) - top), axis=0))
    return np.where(np.isfinite(top), mean, -np.inf)


def _divergence(exact: Array, learned: Array, weights: Array) -> float:
    """Kullback-Leibler divergence in nats over the background of the signal region."""
    inside = np.isfinite(learned)
    return float(np.average((exact - learned)[inside], weights=weights[inside]))


def _plain(fit: AsimovFit | list[AsimovFit]) -> Any:
    if isinstance(fit, list):
        return [_plain(own) for own in fit]
    return [fit.signal, fit.error, fit.noise, fit.value]
