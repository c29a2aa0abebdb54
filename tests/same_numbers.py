"""Results of a run that was repeated: the same words, and numbers to the digits that a repetition has."""

import dataclasses
import re

import pytest

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def assert_same_text(ours, theirs, *, digits=1e-7, name=""):
    """The order in which a processor adds, and so the last bits of a fit, depends on where in memory arrays lie."""
    assert NUMBER.split(ours) == NUMBER.split(theirs), name
    numbers = [[float(number) for number in NUMBER.findall(text)] for text in (ours, theirs)]
    assert numbers[0] == pytest.approx(numbers[1], rel=digits, abs=1e-9), name


def assert_same_results(ours, theirs, **but):
    """Two results, but for their timings and the fields that are given in ``but``."""
    nothing = {"timings_s": {}} | but
    assert_same_text(*(dataclasses.replace(result, **nothing).to_json() for result in (ours, theirs)))


def assert_same_files(ours, theirs):
    """All that two runs store as text beside their result."""
    assert ours.keys() == theirs.keys()
    for name, text in ours.items():
        if name != "result.json":
            assert_same_text(text, theirs[name], name=name)
