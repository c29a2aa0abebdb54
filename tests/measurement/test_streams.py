"""Seeds of the steps of a measurement."""

from __future__ import annotations

import itertools

from hisigma_zfit.measurement.streams import Stream, stream_seed


def test_empty_names_do_not_count():
    assert stream_seed(7, Stream.SIGNAL) == stream_seed(7, Stream.SIGNAL, "", "")


def test_every_purpose_has_a_stream_of_its_own():
    names = [(), ("a",), ("b",), ("a", "b"), ("ab",), ("b", "a"), ("aa",)]
    seeds = {stream_seed(seed, stream, *n) for seed, stream, n in itertools.product(range(5), Stream, names)}
    assert len(seeds) == 5 * len(Stream) * len(names)
