"""What an expression's operations mean for columns: float64 arithmetic, exact comparisons of whole numbers.

A file's own types would give wrong numbers without a word: true + true is true, int64 wraps around, 2**-1 is 0 and a
remainder of a division by zero is 0.  So whatever is added, multiplied or handed to a function is float64 first.  Event
numbers of 64 bits do not fit there, so comparisons, remainders, bits and choices of whole numbers stay exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

__all__ = ["FUNCTIONS", "OPERATORS", "MixedTypesError", "both", "either", "inverted", "negated", "truth"]

Values = Any  # an array, or a number of numpy: bool, int64, uint64 or float64


class MixedTypesError(TypeError):
    """Operands whose types do not fit together; the text says which."""


def _float(values: Values) -> npt.NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def _whole(*values: Values) -> tuple[Values, ...] | None:
    """Operands as integers of one type, unless some are no whole numbers or do not fit in it."""
    kinds = {np.asarray(own).dtype.kind for own in values}
    if "f" in kinds:
        return None
    if "u" not in kinds:
        return tuple(np.asarray(own, dtype=np.int64) for own in values)
    if any(np.asarray(own).dtype.kind == "i" and np.any(np.asarray(own) < 0) for own in values):
        return None
    return tuple(np.asarray(own, dtype=np.uint64) for own in values)


def truth(values: Values) -> Values:
    """Whether each is true: a number is if it is not zero."""
    return values if np.asarray(values).dtype == np.bool_ else np.not_equal(values, 0)


def both(left: Values, right: Values) -> Values:
    """``and``."""
    return truth(left) & truth(right)


def either(left: Values, right: Values) -> Values:
    """``or``."""
    return truth(left) | truth(right)


def negated(values: Values) -> Values:
    """The negative; a whole constant stays whole, so that it can be compared exactly."""
    return -values if np.ndim(values) == 0 and np.asarray(values).dtype == np.int64 else -_float(values)


def inverted(values: Values) -> Values:
    """``~``: not, or all bits of whole numbers."""
    if np.asarray(values).dtype.kind == "f":
        raise MixedTypesError("~ is for what is true or false and for bits, not for real numbers")
    return ~values


def _bits(operation: Callable[[Values, Values], Values], symbol: str) -> Callable[[Values, Values], Values]:
    def apply(left: Values, right: Values) -> Values:
        kinds = {np.asarray(left).dtype.kind, np.asarray(right).dtype.kind}
        if "f" in kinds:
            raise MixedTypesError(f"{symbol} joins what is true or false, or bits; put comparisons in parentheses")
        if kinds == {"b"}:
            return operation(left, right)
        # bits are bits, with a sign or without
        number = np.uint64 if "u" in kinds else np.int64
        return operation(np.asarray(left).astype(number), np.asarray(right).astype(number))

    return apply


def _compared(operation: Callable[[Values, Values], Values]) -> Callable[[Values, Values], Values]:
    def apply(left: Values, right: Values) -> Values:
        # numpy compares int64 with uint64 exactly
        whole = all(np.asarray(own).dtype.kind != "f" for own in (left, right))
        return operation(left, right) if whole else operation(_float(left), _float(right))

    return apply


def _remainder(left: Values, right: Values) -> Values:
    """With the sign of the divisor; of a division by zero not a number."""
    whole = _whole(left, right)
    if whole is None:
        return np.mod(_float(left), _float(right))
    dividend, divisor = whole
    zero = divisor == 0
    found = np.mod(dividend, np.where(zero, 1, divisor).astype(divisor.dtype))
    return np.where(zero, np.nan, found) if np.any(zero) else found


def _in_floats(operation: Callable[..., Values]) -> Callable[..., Values]:
    def apply(*values: Values) -> Values:
        return operation(*map(_float, values))

    return apply


def _extreme(operation: Callable[[Values, Values], Values]) -> Callable[..., Values]:
    def apply(*values: Values) -> Values:
        whole = _whole(*values)
        found, *others = map(_float, values) if whole is None else whole
        for own in others:
            found = operation(found, own)
        return found

    return apply


def _where(condition: Values, yes: Values, no: Values) -> Values:
    if {np.asarray(own).dtype.kind for own in (yes, no)} == {"b"}:
        return np.where(truth(condition), yes, no)
    whole = _whole(yes, no)
    first, second = (_float(yes), _float(no)) if whole is None else whole
    return np.where(truth(condition), first, second)


OPERATORS: dict[str, Callable[[Values, Values], Values]] = {
    "Add": _in_floats(np.add),
    "Sub": _in_floats(np.subtract),
    "Mult": _in_floats(np.multiply),
    "Div": _in_floats(np.true_divide),
    "Pow": _in_floats(np.power),
    "Mod": _remainder,
    "BitAnd": _bits(np.bitwise_and, "&"),
    "BitOr": _bits(np.bitwise_or, "|"),
    "Lt": _compared(np.less),
    "LtE": _compared(np.less_equal),
    "Gt": _compared(np.greater),
    "GtE": _compared(np.greater_equal),
    "Eq": _compared(np.equal),
    "NotEq": _compared(np.not_equal),
}

_TRIGONOMETRY = [f"{arc}{name}{h}" for arc in ("", "arc") for name in ("sin", "cos", "tan") for h in ("", "h")]
_OF_ONE = [*_TRIGONOMETRY, "exp", "expm1", "log", "log10", "log1p", "sqrt", "abs", "ceil", "floor"]

# name -> number of arguments, of which None is two or more, and meaning
FUNCTIONS: dict[str, tuple[int | None, Callable[..., Values]]] = {
    **{name: (1, _in_floats(getattr(np, name))) for name in _OF_ONE},
    "arctan2": (2, _in_floats(np.arctan2)),
    "where": (3, _where),
    "min": (None, _extreme(np.minimum)),
    "max": (None, _extreme(np.maximum)),
}
