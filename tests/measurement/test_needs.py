"""What a measurement will need is counted from the sizes of its arrays."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from hisigma_zfit import arrays
from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import InputError
from hisigma_zfit.measurement import needs, preparation
from hisigma_zfit.measurement.inputs import Inputs, Sample
from hisigma_zfit.measurement.needs import LIBRARIES, needs_of


def inputs(n_data, n_training, d=3):
    def events(n):
        # as many rows as asked for, of one number that all of them share: nothing is made of them
        column = np.broadcast_to(np.float64(1.0), (n,))
        return Dataset.from_arrays(dict.fromkeys(("m", *"abcdefgh"[:d]), column))

    return {"": Inputs(None, None, tuple("abcdefgh"[:d]), events(n_data), Sample(events(n_training), {}),
                       Sample(events(100), {}), {})}  # fmt: skip


ONE, FIVE = SimpleNamespace(bootstraps=1), SimpleNamespace(bootstraps=5)


def test_it_grows_with_the_events_and_with_what_is_trained_at_a_time(monkeypatch):
    monkeypatch.setattr(needs, "available", lambda: 2)
    small, large = (needs_of(inputs(1000, n), ONE).memory - LIBRARIES for n in (100_000, 200_000))
    assert large == pytest.approx(2.0 * small, rel=0.02)
    assert needs_of(inputs(1000, 200_000), FIVE).memory - LIBRARIES > 1.1 * large  # two stacks at a time
    fewer = needs_of(inputs(1000, 200_000), FIVE, elsewhere=True).memory
    assert fewer < needs_of(inputs(1000, 200_000), FIVE).memory


def test_large_arrays_count_as_disk(monkeypatch):
    whole = needs_of(inputs(50_000, 100_000), ONE)
    assert whole.disk == 0.0
    monkeypatch.setattr(arrays, "LARGE", 8 * 100_000)  # columns of the training events, and none of the data
    split = needs_of(inputs(50_000, 100_000), ONE)
    assert split.disk > 5 * 8 * 100_000
    assert split.memory < whole.memory - 5 * 8 * 100_000


def test_what_would_not_fit_is_refused_before_it_is_trained(monkeypatch):
    said = []
    monkeypatch.setattr(preparation, "require_room", lambda memory, disk: said.append(memory) or refuse())
    with pytest.raises(InputError, match="too small"):
        preparation.say_needs(inputs(1000, 2000), ONE, SimpleNamespace(say=print))
    assert said == [needs_of(inputs(1000, 2000), ONE).memory]


def test_what_will_be_trained_is_said_first(monkeypatch):
    said = []
    monkeypatch.setattr(preparation, "require_room", lambda memory, disk: "there is room")
    settings = SimpleNamespace(members=3, bootstraps=5)
    preparation.say_needs(inputs(1000, 2000), settings, SimpleNamespace(say=said.append))
    trained = "to train: background (2,000 events), signal (100 events); members 3, bootstraps 5"
    assert said == [trained, "there is room"]


def refuse():
    raise InputError("too small")
