"""Every class of results survives the way through JSON, whatever its fields hold."""

from __future__ import annotations

import dataclasses
import json
import types
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import hisigma_zfit.density.diagnostics
import hisigma_zfit.results
from hisigma_zfit.results.base import Result

assert hisigma_zfit.results
assert hisigma_zfit.density.diagnostics  # its classes of results are found below

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
WORDS = st.text(max_size=8)


def classes(kind=Result):
    """All classes of results that are imported, in the order of their names."""
    below = {c for child in kind.__subclasses__() for c in [child, *classes(child)]}
    return sorted((c for c in below if c.__module__.startswith("hisigma_zfit.")), key=lambda c: c.__name__)


def values(kind: Any) -> st.SearchStrategy:
    """Anything that an annotation allows."""
    if get_origin(kind) is Annotated:
        return arrays(np.float64, array_shapes(max_dims=2, max_side=3), elements=NUMBERS)
    arguments = get_args(kind)
    if get_origin(kind) in {Union, types.UnionType}:
        return st.one_of([values(a) for a in arguments])
    if get_origin(kind) is Literal:
        return st.sampled_from(arguments)
    if get_origin(kind) is tuple:
        if arguments[-1] is Ellipsis:
            return st.lists(values(arguments[0]), max_size=3).map(tuple)
        return st.tuples(*map(values, arguments))
    if get_origin(kind) is dict:
        return st.dictionaries(WORDS, values(arguments[1]), max_size=3)
    if dataclasses.is_dataclass(kind):
        return instances(kind)
    return {
        Any: st.one_of(st.booleans(), st.integers(-(2**40), 2**40), WORDS),
        bool: st.booleans(),
        float: NUMBERS,
        int: st.integers(-(2**53), 2**53),
        str: WORDS,
        type(None): st.none(),
    }[kind]


def instances(kind: type) -> st.SearchStrategy:
    """Results with any content."""
    hints = get_type_hints(kind, include_extras=True)
    fields = {f.name: values(hints[f.name]) for f in dataclasses.fields(kind) if get_origin(hints[f.name]) != ClassVar}
    return st.builds(kind, **fields)


def opened(value: Any) -> Any:
    """Results as their class and fields, which can be compared where they hold arrays and NaN."""
    if dataclasses.is_dataclass(value):
        return [type(value).__name__, {f.name: opened(getattr(value, f.name)) for f in dataclasses.fields(value)}]
    if isinstance(value, tuple):
        return tuple(map(opened, value))
    return {name: opened(each) for name, each in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
@settings(max_examples=8)
@given(st.data())
def test_results_survive_json(kind, data):
    result = data.draw(instances(kind))
    text = result.to_json()
    assert json.loads(text)["schema"] == kind.schema
    again = kind.from_json(text)
    assert type(again) is kind
    np.testing.assert_equal(opened(again), opened(result))
    assert again.to_json() == text


def test_every_class_of_the_package_is_among_them():
    names = {kind.__name__ for kind in classes()}
    assert len(names) > 20
    assert names >= {n for n in hisigma_zfit.results.__all__ if issubclass(getattr(hisigma_zfit.results, n), Result)}
