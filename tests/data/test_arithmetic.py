"""Column expressions are float64 arithmetic whatever the file stores, and whole numbers are compared exactly."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hisigma_zfit.data.expressions import compile_expression, names_in
from hisigma_zfit.errors import InputError

BIG = 2**53 + 1  # the first whole number that float64 does not hold
COLUMNS = {
    "n": np.array([3, 3, 2], dtype=np.int32),
    "k": np.array([0, 5, -7], dtype=np.int64),
    "f": np.array([0.0, 1.5, -2.0], dtype=np.float32),
    "b": np.array([True, True, False]),
    "u": np.full(3, 3_000_000_000, dtype=np.uint32),
    "id": np.array([2**63 + 5, BIG, 4], dtype=np.uint64),
    "event": np.array([BIG, BIG - 1, -1], dtype=np.int64),
}


def evaluate(text, columns=COLUMNS):
    n = len(next(iter(columns.values())))
    return compile_expression(text, list(columns), "a file")(columns, n)


# text and its values, written down by hand
RIGHT = {
    "(n > 1) + (f > -9)": [2, 2, 2],
    "b + b": [2, 2, 0],
    "b * 3 - True": [2, 2, -1],
    "n**70": [3.0**70, 3.0**70, 2.0**70],
    "u*u*u": [2.7e28, 2.7e28, 2.7e28],
    "2**-n": [0.125, 0.125, 0.25],
    "n / 2": [1.5, 1.5, 1.0],
    "-u": [-3e9, -3e9, -3e9],
    "k % 3": [0, 2, 2],  # with the sign of the divisor, as in Python
    "id % 2": [1, 1, 0],
    "event % 10": [3, 2, 9],  # ...0993, ...0992
    "n % 0": [np.nan] * 3,
    "f % 2": [0, 1.5, 0],
    f"id == {BIG}": [False, True, False],
    f"event == {BIG}": [True, False, False],
    f"event > {BIG - 1}": [True, False, False],
    "id == event": [False, False, False],
    "id > event": [True, True, True],
    "event == -1": [False, False, True],
    f"event == {2**64 + 1}": [False, False, False],
    "event & 1": [1, 0, 1],
    "id & 1": [1, 1, 0],
    "~k": [-1, -6, 6],
    "b == 1": [True, True, False],
    "min(n, k)": [0, 3, -7],
    "max(n, k, f)": [3, 5, 2],
    f"max(event, 0) == {BIG}": [True, False, False],
    "abs(k)": [0, 5, 7],
    "where(b, n, 0.5)": [3, 3, 0.5],
    f"where(b, event, 7) == {BIG}": [True, False, False],
    "where(k, b, f < -1)": [False, True, False],
    "k && n": [False, True, True],
    "k and n": [False, True, True],  # not the bits, of which 5 and 3 share one
    "k || f > 1": [False, True, True],
    "!k": [True, False, False],
    "!k == b": [True, False, True],  # (!k) == b in C++, and not !(k == b)
    "!(n > 2) || !b && n != 3": [False, False, True],
    "not n > 2": [False, False, True],
    "!!k + 1": [1, 2, 2],
    "n\n + 1": [4, 4, 3],
    "0x10 | n": [19, 19, 18],
    "1e-1 * 10 + .5": [1.5, 1.5, 1.5],
    "0 < n < 3": [False, False, True],
}


@pytest.mark.parametrize("text", RIGHT)
def test_values(text):
    with np.errstate(all="raise"):
        found = evaluate(text)
    np.testing.assert_array_equal(found, RIGHT[text])
    assert found.shape == (3,)


def test_true_and_false_stay_so_for_cuts():
    for text in ("!k", "k && n", "b & (n > 2)", "b | b", "~b", "where(b, b, b)", "0 < n < 3"):
        assert evaluate(text).dtype == np.bool_


whole = st.integers(1 - 2**63, 2**63 - 1)


@given(st.lists(whole, min_size=1, max_size=5), whole, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
def test_comparisons_of_whole_numbers_are_those_of_python(values, limit, symbol):
    compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq}
    expected = [compare.get(symbol, operator.ne)(value, limit) for value in values]
    found = evaluate(f"x {symbol} {limit}", {"x": np.array(values)})
    assert found.tolist() == expected


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5), st.integers(1, 2**63))
def test_remainders_of_whole_numbers_are_those_of_python(values, divisor):
    found = evaluate(f"x % {divisor}", {"x": np.array(values, dtype=np.uint64)})
    assert [int(value) for value in found] == [value % divisor for value in values]


def test_blocks_are_joined_in_order():
    x = np.arange(200_000)
    np.testing.assert_array_equal(evaluate("2 * x + 1", {"x": x}), 2.0 * x + 1)
    np.testing.assert_array_equal(evaluate("2 * x + 1", {"x": x[:0]}), [])


TWINS = {"\u00b5_pt": np.arange(3.0), "\u03bc_pt": 100 + np.arange(3.0), "a-b": np.arange(3.0) + 5, "a": np.ones(3)}


def test_names_are_taken_as_they_are_written():
    np.testing.assert_array_equal(evaluate("1*\u00b5_pt", TWINS), [0, 1, 2])
    np.testing.assert_array_equal(evaluate("1*\u03bc_pt", TWINS), [100, 101, 102])
    np.testing.assert_array_equal(evaluate("`a-b` - 2*`a`", TWINS), [3, 4, 5])
    columns = {"lambda": np.ones(2), "and": np.zeros(2), "jet.0.pt": np.full(2, 7.0), "e\u0301": np.full(2, 3.0)}
    np.testing.assert_array_equal(evaluate("lambda + `and` + jet.0.pt + e\u0301", columns), [11, 11])


def test_a_name_that_only_looks_the_same_is_told_by_its_characters():
    with pytest.raises(InputError, match=r"whose characters are '\\xb5_pt' and not '\\u03bc_pt'"):
        evaluate("2*\u03bc_pt", {"\u00b5_pt": np.ones(1)})


def test_names_in_an_expression():
    assert names_in("sqrt(jet.pt) + `a-b` && !x and 1e5") == {"jet.pt", "a-b", "x"}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("9**9**9 > f", "no finite number"),
        ("1e999 > f", "no finite number"),
        (f"1{'0' * 400} > f", "no finite number"),
        ("f > 1/0", "no finite number"),
        ("where(b, " * 100 + "f" + ", f)" * 100, "within each other"),
        ("-" * 5000 + "f", "within each other"),
        ("f**" * 200 + "f", "within each other"),
        ("f + " * 10_000 + "f", "at most 20,000 characters"),
        ("f & b", "put comparisons in parentheses"),
        ("~f", "not for real numbers"),
        ("`b`(f)", "only functions are called"),
        ("min(f)", "two or more arguments, not 1"),
        ("where(b, f)", "takes 3 arguments, not 2"),
        ("`f", "'`' is not allowed"),
        ("f # and more", "'#' is not allowed"),
    ],
)
def test_refused_at_once(text, part):
    with pytest.raises(InputError) as error:
        evaluate(text)
    assert part in str(error.value)
    assert len(str(error.value)) < 600


def test_many_terms_are_no_depth():
    np.testing.assert_array_equal(evaluate(" + ".join(["n"] * 900)), [2700, 2700, 1800])
    np.testing.assert_array_equal(evaluate(" & ".join(["(n > 2)"] * 300)), [True, True, False])
    np.testing.assert_array_equal(evaluate(" or ".join(f"event == {k}" for k in range(-1, 500))), [0, 0, 1])
