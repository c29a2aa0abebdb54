"""Streams of random numbers that have nothing in common."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from hisigma_zfit.learn.streams import Purpose, hashed, hashed_uniform, seed_for, stream

N = 200_000


def test_names_that_numpy_takes_for_one_are_streams_of_their_own():
    names = [
        *itertools.product((0, 7, 2**32 + 7, 2**64), (Purpose.HELD_OUT, Purpose.START)),
        *((7, Purpose.START, *numbers) for n in (1, 2, 3) for numbers in itertools.product((0, 1), repeat=n)),
    ]
    drawn = [int(stream(*name).integers(2**63)) for name in names]
    seeds = [seed_for(*name) for name in names]
    hashes = [int(hashed(np.array([0]), *name)[0]) for name in names]
    plain = [int(np.random.default_rng(seed).integers(2**63)) for seed in (0, 7, [7, 0], [7, 1])]
    spawned = [int(np.random.default_rng(s).integers(2**63)) for s in np.random.SeedSequence(7).spawn(5)]
    everything = [*drawn, *seeds, *hashes, *set(plain), *spawned]
    assert len(set(everything)) == len(everything)
    assert seed_for(7, Purpose.PART, 1) == seed_for(7, Purpose.PART, 1)
    assert min(Purpose) == 1


@pytest.mark.statistical
@pytest.mark.parametrize(
    "identity",
    [np.arange(N), np.arange(N) * 1000 + 2**40, np.random.default_rng(1).integers(2**62, size=N)],
    ids=["rows", "regular numbers", "event numbers"],
)
def test_hashes_are_uniform_and_independent(identity):
    """False alarm of each comparison below 1e-6."""
    u = hashed_uniform(identity, 3, Purpose.RESAMPLE, 0)
    others = {
        "bootstrap": hashed_uniform(identity, 3, Purpose.RESAMPLE, 1),
        "seed": hashed_uniform(identity, 4, Purpose.RESAMPLE, 0),
        "purpose": hashed_uniform(identity, 3, Purpose.HELD_OUT, 0),
        "neighbour": np.roll(u, 1),
    }
    assert kstest(u, "uniform").pvalue > 1e-6
    for other in others.values():
        counts = np.histogram2d(u, other, bins=20, range=[[0, 1], [0, 1]])[0]
        assert chi2.sf(np.sum((counts - N / 400) ** 2 / (N / 400)), 399) > 1e-7
    bits = np.unpackbits(hashed(identity, 3, Purpose.RESAMPLE, 0).view(np.uint8).reshape(N, 8), axis=1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5.7 * 0.5 / np.sqrt(N)  # 64 bits at 5.7 sigma: 8e-7
