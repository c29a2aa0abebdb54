"""The round trip of every result through strict JSON."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hisigma_zfit.errors import InputError
from hisigma_zfit.results import Interval, LikelihoodScan
from hisigma_zfit.results.base import JsonArray, Result, plain


@dataclass(frozen=True)
class Part(Result):
    schema: ClassVar[str] = "test/part/1"
    value: float
    edges: tuple[float, float] | None = None


@dataclass(frozen=True)
class Whole(Result):
    schema: ClassVar[str] = "test/whole/2"
    name: str
    n: int
    parts: tuple[Part, ...]
    by_name: dict[str, Part]
    line: JsonArray
    table: JsonArray | None = None

    @staticmethod
    def rename(raw: dict) -> dict:
        return {**raw, "schema": "test/whole/2", "name": raw["title"]}

    earlier: ClassVar = {"test/whole/1": rename}


def refuse(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


numbers = st.floats(width=64)
parts = st.builds(Part, numbers, st.none() | st.tuples(numbers, numbers))


@settings(deadline=None)  # the first one imports pydantic
@given(
    st.builds(
        Whole,
        name=st.text(),
        n=st.integers(-(2**60), 2**60),
        parts=st.lists(parts, max_size=3).map(tuple),
        by_name=st.dictionaries(st.text(), parts, max_size=3),
        line=st.lists(numbers, max_size=4).map(lambda v: np.array(v, dtype=float)),
        table=st.none() | st.lists(st.tuples(numbers, numbers), min_size=1, max_size=3).map(np.array),
    )
)
def test_every_number_comes_back_exactly(whole):
    text = whole.to_json()
    json.loads(text, parse_constant=refuse)
    again = Whole.from_json(text)
    assert again.to_json() == text
    assert (again.name, again.n, len(again.parts)) == (whole.name, whole.n, len(whole.parts))
    assert type(again.parts) is tuple
    assert all(type(part) is Part for part in (*again.parts, *again.by_name.values()))
    np.testing.assert_array_equal(again.line, whole.line)
    assert again.line.dtype == np.float64
    if whole.table is not None:
        np.testing.assert_array_equal(again.table, whole.table)


def test_numbers_that_are_not_finite_go_by_their_names():
    part = Part(math.nan, (-math.inf, math.inf))
    assert json.loads(part.to_json()) == {"schema": "test/part/1", "value": "nan", "edges": ["-inf", "inf"]}
    again = Part.from_json(part.to_json())
    assert math.isnan(again.value)
    assert again.edges == (-math.inf, math.inf)


def test_plain_knows_numpy():
    value = {"a": np.float64(1.5), "b": [np.int64(2), np.array([1.0, np.inf])], 3: (True, None)}
    assert plain(value) == {"a": 1.5, "b": [2, [1.0, "inf"]], "3": [True, None]}


def test_an_earlier_version_is_brought_up_to_date():
    old = {"schema": "test/whole/1", "title": "x", "n": 1, "parts": [], "by_name": {}, "line": [1, "nan"]}
    whole = Whole.from_json(json.dumps(old))
    assert whole.name == "x"
    assert json.loads(whole.to_json())["schema"] == "test/whole/2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": ', "expected a JSON document, got text that breaks at character 11; check the file"),
        ('{"schema": "test/part/1", "value": 1}', "expected schema 'test/whole/2', got 'test/part/1'; check"),
        ("[1]", "expected schema 'test/whole/2', got 'list'; check"),
        ('{"schema": "test/whole/2", "name": "x"}', "expected the content of test/whole/2, got n: Field required;"),
        ('{"schema": "test/whole/1", "name": "x"}', "expected the content of test/whole/1, got KeyError 'title';"),
        (
            '{"schema": "test/whole/2", "name": "x", "n": 1, "parts": [{"value": "much"}], "by_name": {}, "line": []}',
            "got parts.0.value: Input should be a valid number, unable to parse string as a number; check",
        ),
        (
            '{"schema": "test/whole/2", "name": "x", "n": 1, "parts": [], "by_name": {}, "line": [[1], [1, 2]]}',
            "got line: Value error, setting an array element with a sequence",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, message):
    with pytest.raises(InputError) as caught:
        Whole.from_json(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_content_of_a_newer_version_is_ignored():
    interval = Interval("n", 1.0, 0.5, 1.5, 0.68)
    raw = json.loads(interval.to_json()) | {"colour": "red"}
    assert Interval.from_json(json.dumps(raw)) == interval


def test_a_scan_comes_back_with_its_shapes(parabolas):
    again = LikelihoodScan.from_json(parabolas.to_json())
    assert again.members.shape == (3, 201)
    np.testing.assert_array_equal(again.members, parabolas.members)


def test_importing_results_is_light():
    """Neither what takes seconds, nor pydantic before the first JSON."""
    code = (
        "import sys, hisigma_zfit.results\n"
        "print([m for m in ('tensorflow', 'zfit', 'scipy', 'hist', 'matplotlib', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
