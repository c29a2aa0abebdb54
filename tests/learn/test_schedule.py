"""How long a training lasts."""

from __future__ import annotations

import numpy as np
import pytest

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.schedule import Schedule, preset_epochs


def test_few_events_and_many_features_are_trained_longer():
    assert preset_epochs("standard", 200_000, 4) == 5.0
    assert preset_epochs("standard", 51_200, 2) == 10.0
    assert preset_epochs("standard", 5_000, 4) == 20.0
    assert preset_epochs("standard", 200_000, 9) == pytest.approx(5.0 * 1.5**3)
    assert preset_epochs("quick", 5_000, 4) == 2.0
    assert preset_epochs("paper", 200_000, 16) == pytest.approx(160.0)


def test_steps_follow_from_passes_and_have_a_least_number():
    plan = Schedule.plan(51_200, 2, learning_rate=0.01, preset="standard")
    assert (plan.n_steps, plan.batch) == (1000, 512)
    assert Schedule.plan(51_200, 2, learning_rate=0.01, preset="standard", epochs=4.0).n_steps == 400
    assert Schedule.plan(1000, 2, learning_rate=0.01, preset="quick").n_steps == 300


def test_the_rate_rises_falls_and_ends_at_zero():
    plan = Schedule(n_steps=1000, batch=512, learning_rate=0.01)
    rates = plan.rates(np.arange(1001))
    assert rates.argmax() == 99
    assert rates[99] == pytest.approx(0.01, rel=0.03)
    assert (np.diff(rates[99:]) < 0).all()
    assert rates[1000] == 0.0


@pytest.mark.parametrize(
    ("change", "message"), [({"preset": "slow"}, "preset quick, standard, paper"), ({"epochs": 0.0}, "epochs > 0")]
)
def test_bad_plans_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        Schedule.plan(1000, 2, **{"learning_rate": 0.01, "preset": "quick", **change})
