"""The bookkeeping of the search's benchmarks: who judges, and the table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "search"))

from contest import different, load, table

from hisigma_zfit.data import Dataset
from hisigma_zfit.statistics.significance_improvement import significance_improvement


def test_judges_are_the_events_that_were_not_taken():
    rng = np.random.default_rng(1)
    events = Dataset.from_arrays({"m": rng.random(50), "a": rng.random(50)})
    taken = events.select(np.arange(50) % 3 == 0)
    left = different(events, taken, ("m", "a"))
    np.testing.assert_array_equal(left["m"], events["m"][np.arange(50) % 3 != 0])


def test_the_table_has_medians_of_the_data_sets(tmp_path):
    rng = np.random.default_rng(2)
    curves = [significance_improvement(rng.normal(2, 1, 500), rng.normal(0, 1, 3000)) for _ in range(3)]
    for k, curve in enumerate(curves):
        record = {"share": 0.01, "n_signal": 100 + k, "n_background": 10_000, "t": 50.0 + k}
        record["curves"] = {"blob": json.loads(curve.to_json())}
        record["flow"] = {"gain": 7.0, "gain_trained": [200.0, 210.0], "chosen": [0.01, 0.01]}
        (tmp_path / f"{k}.json").write_text(json.dumps(record))
    text = table(load(tmp_path.glob("*.json")), {0.01: 9.9}, point="share")
    assert f"{np.median([curve.at_1e3.sic for curve in curves]):.2f} +- " in text
    assert "101.0       1.01  blob" in text
    assert "9.9" in text
    assert "50, 51, 52" in text
    assert "held out 7, in training 200, 210" in text
