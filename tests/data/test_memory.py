"""Events in memory are read as files are: by expressions, with their weights, identities and accounts."""

from __future__ import annotations

import numpy as np
import pytest

from hisigma_zfit.data import Dataset, read
from hisigma_zfit.data.digest import file_digest
from hisigma_zfit.data.memory import Held, mounted
from hisigma_zfit.data.overlap import require_other_content
from hisigma_zfit.errors import InputError
from hisigma_zfit.measurement.in_memory import with_addresses

TABLE = {"m": np.arange(6.0), "n": np.arange(6), "tight": np.arange(6) % 2 == 0, "label": np.array(list("abcdef"))}


def test_a_mapping_keeps_its_types():
    with mounted({"data": Held.of(TABLE)}):
        data = read("memory://data", columns={"x": "2 * m + tight"}, cut="tight & (n > 0)", weight="n")
        assert read("memory://data").names == ("m", "n", "tight")
        with pytest.raises(InputError, match="one number per event in branch 'label'"):
            read("memory://data", columns=["label"])
    np.testing.assert_array_equal(data["x"], [5, 9])
    np.testing.assert_array_equal(data.weights, [2, 4])
    np.testing.assert_array_equal(data.identity, [2, 4])
    assert data.report.to_dict() == {"read": 6, "used": 2, "dropped": {"cut tight & (n > 0)": 4}}


def test_a_dataset_brings_weights_identity_and_account():
    whole = Dataset.from_arrays({"m": TABLE["m"]}, weights=TABLE["m"] + 1, identity=np.arange(6) * 10)
    with mounted({"signal": Held.of(whole[whole["m"] > 1])}):
        data = read("memory://signal", cut="m < 5", chunk_bytes=16)
        assert read("memory://signal", weight="m").weights[0] == 2
    np.testing.assert_array_equal(data.identity, [20, 30, 40])
    np.testing.assert_array_equal(data.weights, [3, 4, 5])
    assert data.report.to_dict() == {"read": 6, "used": 3, "dropped": {"selection": 2, "cut m < 5": 1}}


def test_events_are_there_only_while_they_are_mounted():
    with pytest.raises(InputError, match=r"events in memory at memory://data, got none"):
        read("memory://data")
    with mounted({"a": Held.of(TABLE)}), mounted({"b": Held.of({"m": [1.0]})}):
        assert (len(read("memory://a")), len(read("memory://b"))) == (6, 1)


def test_the_digest_is_that_of_everything():
    changed = [
        TABLE,
        TABLE | {"m": TABLE["m"] + 1},
        TABLE | {"n": TABLE["n"].astype(np.int32)},
        {"k" if name == "m" else name: values for name, values in TABLE.items()},
        Dataset.from_arrays({"m": [1.0]}),
        Dataset.from_arrays({"m": [1.0]}, weights=[1.0]),
        Dataset.from_arrays({"m": [1.0]}, identity=[1]),
    ]
    assert len({Held.of(table).digest for table in changed}) == len(changed)
    with mounted({"a": Held.of(TABLE), "b": Held.of(dict(TABLE))}):
        assert file_digest("memory:/a") == Held.of(TABLE).digest
        with pytest.raises(InputError, match=r"same content in memory:/a \(data\) and memory:/b \(more\)"):
            require_other_content({"data": "memory://a", "more": "memory://b"})


def test_addresses_in_options():
    one = Dataset.from_arrays({"m": [1.0]})
    options, held = with_addresses(
        {
            "data": TABLE,
            "signal": ["a.root", one],
            "systematic": {"jes": (one, "down.root")},
            "backgrounds": {"VH": {"files": one, "expected": 3.0}},
            "mass": "m",
        }
    )
    assert options == {
        "data": "memory://data",
        "signal": ["a.root", "memory://signal-1"],
        "systematic": {"jes": ["memory://systematic.jes-0", "down.root"]},
        "backgrounds": {"VH": {"files": "memory://VH.files", "expected": 3.0}},
        "mass": "m",
    }
    assert set(held) == {"data", "signal-1", "systematic.jes-0", "VH.files"}
    with pytest.raises(InputError, match="observed events without weights, got weights of data"):
        with_addresses({"data": Dataset.from_arrays({"m": [1.0]}, weights=[2.0])})
    for wrong in (3, {"m": [1.0], "n": [1.0, 2.0]}, {"m": 1.0}):
        with pytest.raises(InputError):
            with_addresses({"data": wrong})
