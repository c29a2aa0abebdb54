"""Column expressions and cuts: checked, compiled once per file, evaluated chunk by chunk with numexpr.

An expression is arithmetic over branch names in Python notation.  ``and``, ``or``, ``not`` and chained comparisons
work as they read.  The text is parsed and rebuilt from a short list of allowed elements, and branches are renamed on
the way, so that no text from a command line or a configuration file runs as code, and a branch may have any name.
"""

from __future__ import annotations

import ast
import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["Expression", "compile_expression", "name_hint"]

_TRIGONOMETRY = {f"{arc}{name}{h}" for arc in ("", "arc") for name in ("sin", "cos", "tan") for h in ("", "h")}
_POWERS = {"exp", "expm1", "log", "log10", "log1p", "sqrt"}
FUNCTIONS = _TRIGONOMETRY | _POWERS | {"abs", "arctan2", "ceil", "floor", "where"}
_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod, ast.Pow, ast.BitAnd, ast.BitOr)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


def name_hint(name: str, known: Collection[str]) -> str:
    """Say what to do about an unknown name: list the closest known ones, or the first of them."""
    names = [str(k) for k in known]
    by_lower = {k.lower(): k for k in names}
    close = [by_lower[k] for k in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"there are {', '.join(map(repr, names[:12]))}{more}" if names else "there are none at all"


@dataclass(frozen=True)
class Expression:
    """A compiled expression: call it with the branches of one chunk.

    Attributes:
        text: What the user wrote.
        branches: Names of the branches that it needs.
        code: The numexpr text over the aliases, or None when the expression is one branch as it stands.
        aliases: Alias in `code` -> branch.
    """

    text: str
    branches: tuple[str, ...]
    code: str | None
    aliases: Mapping[str, str]

    def __call__(self, chunk: Mapping[str, npt.NDArray[Any]], n_rows: int) -> npt.NDArray[Any]:
        """Evaluate on arrays of shape (n_rows,).

        Raises:
            InputError: The operands' types do not fit together.
        """
        if self.code is None:
            return chunk[self.branches[0]]
        import numexpr

        try:
            values = numexpr.evaluate(
                self.code,
                local_dict={alias: chunk[branch] for alias, branch in self.aliases.items()},
                global_dict={},
                truediv=True,
            )
        except (TypeError, ValueError, NotImplementedError, ZeroDivisionError, OverflowError) as error:
            raise _malformed(self.text, " ".join(str(error).split())) from error
        # an expression without branches is a constant: numexpr returns it without a dimension
        return values if values.ndim else np.full(n_rows, values)


def compile_expression(text: str, known: Collection[str], where: str) -> Expression:
    """Check an expression and bind its names to branches.

    Args:
        text: The expression, for example ``"Hgg_pt / Hgg_mass"``; a branch's exact name is always taken as that branch.
        known: Names of all branches.
        where: The file, for messages.

    Raises:
        InputError: The text is malformed, uses something else than arithmetic, or names an unknown branch.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError.from_parts(expected="a column expression", got=repr(text), do="write one, such as 'a / b'")
    plain = text.strip()
    if plain in known:
        return Expression(text, (plain,), None, {})
    try:
        tree = ast.parse(plain, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise _malformed(text, reason) from error
    binder = _Binder(text, known, where)
    code = ast.unparse(binder.visit(tree))
    return Expression(text, tuple(binder.aliases), code, {alias: name for name, alias in binder.aliases.items()})


def _malformed(text: str, reason: str) -> InputError:
    return InputError.from_parts(
        expected="arithmetic over branch names",
        got=f"{text!r} ({reason})",
        do="use + - * / ** % , comparisons in parentheses joined by & | ~, and functions such as sqrt",
    )


class _Binder(ast.NodeTransformer):
    """Rebuild a syntax tree from allowed elements only, with branches renamed to ``v0``, ``v1``, ..."""

    def __init__(self, text: str, known: Collection[str], where: str) -> None:
        self.text, self.known, self.where = text, known, where
        self.aliases: dict[str, str] = {}

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, (ast.Expression, ast.BinOp, *_ARITHMETIC)):
            return super().generic_visit(node)
        raise _malformed(self.text, f"{type(node).__name__} is not allowed")

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if not isinstance(node.value, (bool, int, float)):
            raise _malformed(self.text, f"{node.value!r} is not a number")
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self._bind(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        # branches of split objects are called "photon.pt"; anything else with a dot is unknown and refused
        return self._bind(ast.unparse(node))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = ast.unparse(node.func)
        if name not in FUNCTIONS:
            raise InputError.from_parts(
                expected="a function that columns know",
                got=f"{name}() in {self.text!r}",
                do=f"use {', '.join(sorted(FUNCTIONS))}",
            )
        if node.keywords:
            raise _malformed(self.text, f"{name}() takes no keywords")
        return ast.Call(node.func, [self.visit(argument) for argument in node.args], [])

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        joint = ast.BitAnd() if isinstance(node.op, ast.And) else ast.BitOr()
        return self._join([self.visit(value) for value in node.values], joint)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        op = ast.Invert() if isinstance(node.op, ast.Not) else node.op
        return ast.UnaryOp(op, self.visit(node.operand))

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        operands = [node.left, *node.comparators]
        # `a > 1 & b < 2` binds as the chain `a > (1 & b) < 2`, which nobody means
        if len(node.ops) > 1 and any(
            isinstance(x, ast.BinOp) and isinstance(x.op, (ast.BitAnd, ast.BitOr)) for x in operands
        ):
            raise _malformed(self.text, "& and | bind more tightly than comparisons")
        if not all(isinstance(op, _COMPARISONS) for op in node.ops):
            raise _malformed(self.text, "only < <= > >= == != compare")
        bound = [self.visit(operand) for operand in operands]
        pairs = zip(bound[:-1], node.ops, bound[1:], strict=True)
        return self._join([ast.Compare(left, [op], [right]) for left, op, right in pairs], ast.BitAnd())

    def _bind(self, name: str) -> ast.Name:
        if name not in self.known:
            raise InputError.from_parts(
                expected=f"a branch {name!r} in {self.where}",
                got="none of that name",
                do=name_hint(name, self.known),
            )
        return ast.Name(self.aliases.setdefault(name, f"v{len(self.aliases)}"), ast.Load())

    @staticmethod
    def _join(terms: list[Any], op: ast.operator) -> ast.AST:
        joined = terms[0]
        for term in terms[1:]:
            joined = ast.BinOp(joined, op, term)
        return joined
