"""Column expressions and cuts: checked, compiled once per file, evaluated chunk by chunk with numpy.

An expression is arithmetic over branch names in Python notation.  ``and``, ``or``, ``not`` and chained comparisons
work as they read; ``&&``, ``||`` and ``!`` are those of ROOT.  All arithmetic is done in float64, in which true counts
as 1; comparisons, ``%``, ``&`` and ``|`` of whole numbers are exact, as event numbers need it.  ``where(c, a, b)``,
``min``, ``max`` and ``abs`` are among the functions.  A branch of any name, such as ``a-b`` or ``and``, may be put in
backticks.

The text is taken apart and evaluated by a short list of allowed elements, so that no text from a command line or a
configuration file runs as code.
"""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hisigma_zfit.data.arithmetic import (
    FUNCTIONS,
    OPERATORS,
    MixedTypesError,
    both,
    either,
    inverted,
    negated,
    truth,
)
from hisigma_zfit.data.names import is_reserved, name_hint, renamed, symbols
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from hisigma_zfit.data.names import Symbol

__all__ = ["Expression", "compile_expression", "name_hint", "names_in"]

_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod, ast.Pow, ast.BitAnd, ast.BitOr)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_LONGEST = 20_000  # characters: some thousand terms, more than anybody writes
_DEEPEST = 80  # brackets and functions within each other; the parser knows 200
_BLOCK = 2**16  # rows whose intermediate results stay in the processor's caches


@dataclass(frozen=True)
class Expression:
    """A compiled expression: call it with the branches of one chunk.

    Attributes:
        text: What the user wrote.
        branches: Names of the branches that it needs.
        tree: Its syntax tree over the aliases, or None when the expression is one branch as it stands.
        aliases: Alias in `tree` -> branch.
        logical_not: Columns of the text of `tree` where a ``~`` means not, whatever it is applied to.
    """

    text: str
    branches: tuple[str, ...]
    tree: ast.expr | None
    aliases: Mapping[str, str]
    logical_not: frozenset[int] = frozenset()

    @property
    def is_branch(self) -> bool:
        """Whether it is one branch as it stands."""
        return self.tree is None

    def __call__(self, chunk: Mapping[str, npt.NDArray[Any]], n_rows: int) -> npt.NDArray[Any]:
        """Evaluate on arrays of shape (n_rows,).

        Returns:
            Values of shape (n_rows,): bool, int64, uint64 or float64.

        Raises:
            InputError: The operands' types do not fit together, or a constant in it is no finite number.
        """
        if self.tree is None:
            return chunk[self.branches[0]]
        columns = {alias: _plain(chunk[branch]) for alias, branch in self.aliases.items()}
        blocks = []
        with np.errstate(all="ignore"):  # what is not finite is counted where the column is made
            for start in range(0, n_rows, _BLOCK) or [0]:
                block = {alias: values[start : start + _BLOCK] for alias, values in columns.items()}
                found = np.asarray(self._value(self.tree, block))
                # an expression without branches is a constant
                rows = min(_BLOCK, n_rows - start)
                blocks.append(found if found.ndim else np.full(rows, found))
        return np.concatenate(blocks)

    def _value(self, node: ast.expr, columns: Mapping[str, npt.NDArray[Any]]) -> Any:
        if isinstance(node, ast.Name):
            return columns[node.id]
        if isinstance(node, ast.Constant):
            return _constant(node.value)
        try:
            found = self._operation(node, columns)
        except MixedTypesError as error:
            raise _malformed(self.text, str(error)) from error
        if np.ndim(found) == 0 and not np.isfinite(found):
            raise _malformed(self.text, "a constant in it is no finite number")
        return found

    def _operation(self, node: ast.expr, columns: Mapping[str, npt.NDArray[Any]]) -> Any:
        if isinstance(node, ast.BinOp):
            # terms of a long sum nest to the left: in a loop they cost no depth
            first, terms = _spine(node)
            found = self._value(first, columns)
            for operator, right in terms:
                found = OPERATORS[type(operator).__name__](found, self._value(right, columns))
            return found
        if isinstance(node, ast.BoolOp):
            found, *others = (self._value(value, columns) for value in node.values)
            for other in others:
                found = (both if isinstance(node.op, ast.And) else either)(found, other)
            return found
        if isinstance(node, ast.Compare):
            values = [self._value(operand, columns) for operand in (node.left, *node.comparators)]
            pairs = zip(values[:-1], node.ops, values[1:], strict=True)
            return np.logical_and.reduce([OPERATORS[type(op).__name__](a, b) for a, op, b in pairs])
        if isinstance(node, ast.UnaryOp):
            value = self._value(node.operand, columns)
            if isinstance(node.op, ast.Not) or node.col_offset in self.logical_not:
                return ~truth(value)
            if isinstance(node.op, ast.Invert):
                return inverted(value)
            return negated(value) if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return FUNCTIONS[node.func.id][1](*(self._value(argument, columns) for argument in node.args))
        raise _malformed(self.text, f"{type(node).__name__} is not allowed")


def compile_expression(text: str, known: Collection[str], where: str) -> Expression:
    """Check an expression and bind its names to branches.

    Args:
        text: The expression, for example ``"Hgg_pt / Hgg_mass"``; a branch's exact name is always taken as that branch.
        known: Names of all branches.
        where: The file, for messages.

    Raises:
        InputError: The text is malformed, too long or too deep, uses something else than arithmetic, or names an
            unknown branch.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError.from_parts(expected="a column expression", got=repr(text), do="write one, such as 'a / b'")
    plain = text.strip()
    if plain in known:
        return Expression(text, (plain,), None, {})
    if len(plain) > _LONGEST:
        raise InputError.from_parts(
            expected=f"an expression of at most {_LONGEST:,} characters",
            got=f"{len(plain):,}, which begin with {plain[:40]!r}",
            do="write parts of it to the file as columns",
        )
    found = list(symbols(plain))
    for symbol in sorted(found, key=lambda own: own.kind != "other"):  # what is no expression is told first
        _require_known(symbol, text, known, where)
    bound = renamed(found)
    try:
        tree = ast.parse(bound.text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "too many parts within each other"
        raise _malformed(text, _in_own_names(reason, bound.names)) from error
    _check(tree, text)
    return Expression(text, tuple(bound.names.values()), tree, bound.names, frozenset(bound.logical_not))


def names_in(text: str) -> set[str]:
    """Names in an expression that are no functions, whether or not there are such branches."""
    return {symbol.text for symbol in symbols(text) if symbol.kind == "name"}


def _require_known(symbol: Symbol, text: str, known: Collection[str], where: str) -> None:
    if symbol.kind == "other":
        raise _malformed(text, f"{symbol.text!r} is not allowed")
    if symbol.kind == "function" and symbol.text not in FUNCTIONS:
        raise InputError.from_parts(
            expected="a function that columns know",
            got=f"{symbol.text}() in {_short(text)}",
            do=f"use {', '.join(sorted(FUNCTIONS))}",
        )
    if symbol.kind == "name" and symbol.text not in known:
        if is_reserved(symbol.text):
            raise _malformed(text, f"{symbol.text!r} is not allowed")
        raise InputError.from_parts(
            expected=f"a branch {symbol.text!r} in {where}",
            got="none of that name",
            do=name_hint(symbol.text, known),
        )


def _short(text: str) -> str:
    return repr(text) if len(text) <= 200 else f"{text[:200]!r}..."


def _malformed(text: str, reason: str) -> InputError:
    return InputError.from_parts(
        expected="arithmetic over branch names",
        got=f"{_short(text)} ({' '.join(reason.split())})",
        do="use + - * / ** % , comparisons in parentheses joined by & | ~ or && || !, and functions such as sqrt",
    )


def _in_own_names(reason: str, names: Mapping[str, str]) -> str:
    """A message of the parser without what it may say of aliases."""
    return "invalid syntax" if any(alias in reason for alias in names) else reason


def _spine(node: ast.BinOp) -> tuple[ast.expr, list[tuple[ast.operator, ast.expr]]]:
    """The first operand, and operators with their right sides, of ``((a + b) - c) + ...``."""
    terms: list[tuple[ast.operator, ast.expr]] = []
    first: ast.expr = node
    while isinstance(first, ast.BinOp):
        terms.append((first.op, first.right))
        first = first.left
    return first, terms[::-1]


def _check(tree: ast.expr, text: str) -> None:
    """Check that a syntax tree has allowed elements only, and not too many within each other."""
    waiting = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > _DEEPEST:
            raise _malformed(text, f"more than {_DEEPEST} parts within each other")
        # of a long sum, every term is as deep as the sum
        first = _spine(node)[0] if isinstance(node, ast.BinOp) else None
        waiting += [(child, depth + 1) for child in _children(node, text) if child is not first]
        if first is not None:
            waiting.append((first, depth + 1))


def _children(node: ast.expr, text: str) -> Sequence[ast.expr]:
    """Operands of an allowed element."""
    if isinstance(node, ast.Name):
        return ()
    if isinstance(node, ast.Constant):
        if not isinstance(node.value, (bool, int, float)) or not _is_finite(node.value):
            raise _malformed(text, f"{str(node.value)[:40]} is no finite number")
        return ()
    if isinstance(node, ast.BinOp):
        _, terms = _spine(node)
        for operator, _ in terms:
            if not isinstance(operator, _ARITHMETIC):
                raise _malformed(text, f"{type(operator).__name__} is not allowed")
        return [right for _, right in terms]
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.UnaryOp):
        return (node.operand,)
    if isinstance(node, ast.Compare):
        return _compared(node, text)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _arguments(node, node.func.id, text)
    raise _malformed(text, f"{type(node).__name__} is not allowed")


def _compared(node: ast.Compare, text: str) -> Sequence[ast.expr]:
    operands = [node.left, *node.comparators]
    # `a > 1 & b < 2` binds as the chain `a > (1 & b) < 2`, which nobody means
    if len(node.ops) > 1 and any(
        isinstance(x, ast.BinOp) and isinstance(x.op, (ast.BitAnd, ast.BitOr)) for x in operands
    ):
        raise _malformed(text, "& and | bind more tightly than comparisons")
    if not all(isinstance(op, _COMPARISONS) for op in node.ops):
        raise _malformed(text, "only < <= > >= == != compare")
    return operands


def _arguments(node: ast.Call, name: str, text: str) -> Sequence[ast.expr]:
    if node.keywords:  # ``**`` in brackets is one
        raise _malformed(text, f"{name}() takes no keywords")
    if name not in FUNCTIONS:
        raise _malformed(text, "only functions are called")
    wanted, _ = FUNCTIONS[name]
    if len(node.args) != wanted and (wanted is not None or len(node.args) < 2):
        raise _malformed(text, f"{name}() takes {wanted or 'two or more'} arguments, not {len(node.args)}")
    return node.args


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floating-point ones
        return False


def _constant(value: Any) -> Any:
    """A number of numpy: bool, int64 or uint64 where it fits, else float64."""
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, int):
        if value < 2**63:
            return np.int64(value)
        if value < 2**64:
            return np.uint64(value)
    return np.float64(value)


def _plain(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A column as bool, int64, uint64 or float64."""
    kind = values.dtype.kind
    if kind == "b":
        return values
    if kind in "iu":
        return values.astype(np.uint64 if values.dtype == np.uint64 else np.int64, copy=False)
    return values.astype(np.float64, copy=False)
