"""Seeds: those of the first version for what it knew, others for everything else."""

from __future__ import annotations

import itertools

import numpy as np

from hisigma_zfit.measurement.streams import Stream, stream_seed


def test_seeds_are_those_of_the_first_version():
    for stream in Stream:
        expected = int(np.random.SeedSequence([7, int(stream)]).generate_state(1)[0])
        assert stream_seed(7, stream) == stream_seed(7, stream, "", "") == expected


def test_every_purpose_has_a_stream_of_its_own():
    names = [(), ("a",), ("b",), ("a", "b"), ("ab",), ("b", "a"), ("aa",)]
    seeds = {stream_seed(seed, stream, *n) for seed, stream, n in itertools.product(range(5), Stream, names)}
    assert len(seeds) == 5 * len(Stream) * len(names)
