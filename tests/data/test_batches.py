"""Pieces of files are, joined, what is read at once."""

from __future__ import annotations

import numpy as np
import pytest

import hisigma_zfit as hz
from hisigma_zfit.errors import InputError

EVENTS = hz.examples.path("events.root")


@pytest.mark.parametrize("options", [{}, {"cut": "pt > 20"}, {"identity": "2 * (m > 125)", "weight": "1 + (pt > 40)"}])
def test_joined_they_are_the_whole(options):
    columns = {"m": "m", "ratio": "pt / m"}
    whole = hz.read(EVENTS, columns=columns, **options)
    pieces = list(hz.read_batches(EVENTS, columns=columns, chunk_bytes=16_000, **options))
    assert len(pieces) > 2
    for name in columns:
        np.testing.assert_array_equal(np.concatenate([piece[name] for piece in pieces]), whole[name])
    np.testing.assert_array_equal(np.concatenate([piece.identity for piece in pieces]), whole.identity)
    if whole.weights is not None:
        np.testing.assert_array_equal(np.concatenate([piece.weights for piece in pieces]), whole.weights)
    assert sum(piece.report.n_read for piece in pieces) == whole.report.n_read
    assert sum(sum(piece.report.dropped.values()) for piece in pieces) == sum(whole.report.dropped.values())


def test_pieces_without_events_are_left_out_and_mistakes_are_told():
    assert sum(len(piece) for piece in hz.read_batches(EVENTS, columns=["m"], cut="pt > 90", chunk_bytes=800)) == len(
        hz.read(EVENTS, columns=["m"], cut="pt > 90")
    )
    assert list(hz.read_batches(EVENTS, columns=["m"], cut="m < 0")) == []
    with pytest.raises(InputError, match="chunk_bytes"):
        next(hz.read_batches(EVENTS, columns=["m"], chunk_bytes=0))
    with pytest.raises(InputError, match="nowhere"):
        next(hz.read_batches(EVENTS, columns=["nowhere"]))
