"""A saved combination is the combination."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hisigma_zfit as hz
from hisigma_zfit import cli
from hisigma_zfit.errors import InputError

OLD = Path(__file__).parent / "made_by_0_1_0.hisigma.zip"


def test_a_saved_combination_is_read_fitted_to_and_combined_again(tmp_path, capsys):
    old, data = hz.load_analysis(OLD), hz.examples.events()
    even = np.arange(len(data)) % 2 == 0
    events = {"a": data.select(even), "b": data.select(~even)}
    both = hz.combine_analyses({"a": old, "b": hz.load_analysis(OLD)}, poi="mu", expected={"a": 40.0, "b": 20.0})
    path = both.save(tmp_path / "both.hisigma.zip")
    again = hz.load_analysis(path)
    assert again.verify() < 1e-9
    assert again.parameters == both.parameters
    assert again.categories == ("a", "b")
    assert again.about["shared"] == ["lumi"]
    assert again.about["analyses"]["a"]["digest"] == old.digest
    values = {"mu": 0.7, "lumi": -0.4, "n_bkg_b": 1400.0}
    assert again.nll(events, values) == pytest.approx(both.nll(events, values), rel=1e-12)
    more = hz.combine_analyses({"first": again, "c": old}, poi="strength", expected={"first": 1.0, "c": 40.0})
    assert set(more.categories) == {"first_a", "first_b", "c"}
    assert cli.main(["info", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "combination of a, b in mu" in printed
    assert "a events.root" in printed
    assert "6054" in printed  # events fitted, of both
    with pytest.raises(InputError, match="one that is there"):
        both.save(path)
    with pytest.raises(InputError, match="make it first"):
        both.save(tmp_path / "none" / "both.zip")
