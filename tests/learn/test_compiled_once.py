"""Stacks that are trained at the same time share the functions that are compiled for their objective."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier
from time import sleep

import numpy as np

from hisigma_zfit.learn import optimiser
from hisigma_zfit.learn.optimiser import HeldOut, Stack, train_stack
from hisigma_zfit.learn.schedule import Schedule
from hisigma_zfit.learn.state import StackState

THREADS = 4


@dataclass(frozen=True)
class Counted:
    """Normal distribution around the parameter, which writes down how often it is traced."""

    name: str
    traced: list = field(default_factory=list, compare=False)
    xla: bool = False

    def log_likelihood(self, parameters, events):
        self.traced.append(self.name)
        sleep(0.05)  # long enough for other threads to come by
        return -0.5 * (events[0][None, :] - parameters) ** 2


def trained(objective, wait=lambda: None):
    x = np.random.default_rng(1).normal(1.0, 1.0, 50).astype(np.float32)
    held_out = HeldOut((x[:10],), np.ones(10, np.float32))
    stack = Stack(
        objective, (x,), np.ones(50, np.float32), (held_out,), lambda k: np.random.default_rng(k).permutation(50)
    )
    wait()
    return train_stack(
        stack, Schedule(n_steps=20, batch=10, learning_rate=0.1), StackState.start(np.zeros((1, 1), "f4"))
    )


def test_threads_that_begin_together_trace_once():
    alone = Counted("alone")
    expected = trained(alone)
    together, start = Counted("together"), Barrier(THREADS)
    with ThreadPoolExecutor(THREADS) as pool:
        ends = list(pool.map(lambda _: trained(together, start.wait), range(THREADS)))
    assert together.traced == ["together"] * len(alone.traced)
    for end in ends:
        np.testing.assert_array_equal(end.result, expected.result)


def test_held_out_losses_are_the_same_compiled(monkeypatch):
    plain = trained(Counted("plain", xla=True))
    monkeypatch.setattr(optimiser, "WORTH_COMPILING", 0)
    compiled = trained(Counted("compiled", xla=True))
    for (step, one), (same, other) in zip(plain.validations, compiled.validations, strict=True):
        assert step == same
        np.testing.assert_allclose(one, other, rtol=1e-6)
