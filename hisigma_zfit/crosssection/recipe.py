"""From the columns of a file, shifted or not, to what is learned from and counted in: selection, columns, features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.crosssection.columns import made_columns
from hisigma_zfit.crosssection.functions import call_on_columns, load_function
from hisigma_zfit.data.expressions import compile_expression
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Float32, Integers, Mask
    from hisigma_zfit.crosssection.functions import ColumnFunction
    from hisigma_zfit.crosssection.options import CrossSectionOptions

__all__ = ["Recipe", "evaluated", "recipe_of"]


def evaluated(text: str, columns: Mapping[str, Array], what: str) -> Any:
    """An expression of columns, shape (n,).

    Args:
        text: The expression.
        columns: Each of shape (n,).
        what: What it is, for messages.

    Raises:
        InputError: It is malformed, or names an unknown column.
    """
    return compile_expression(text, columns, what)(columns, len(next(iter(columns.values()))))


@dataclass(frozen=True)
class Recipe:
    """What is done to columns after every shift, and to those of data.

    Attributes:
        features: Expressions, or a function f(columns) -> columns.
        apply: f(columns) -> columns, or columns and the mask of those to keep; done first.
        expressions: More columns, name -> expression.
        derived: More columns, f(columns) -> columns.
        cut: Expression of what is kept; done last.
    """

    features: Sequence[str] | ColumnFunction
    apply: ColumnFunction | None = None
    expressions: Mapping[str, str] = field(default_factory=dict)
    derived: ColumnFunction | None = None
    cut: str | None = None

    def selected(self, columns: Mapping[str, Array]) -> tuple[dict[str, Array], Integers]:
        """Columns of the events that are kept, with the derived ones.

        Args:
            columns: As they are read, or after a shift, each of shape (n,).

        Returns:
            The columns, each of shape (m,), and which rows they are, shape (m,).

        Raises:
            InputError: A function fails, or an expression is wrong.
        """
        found, rows = dict(columns), np.arange(len(next(iter(columns.values()))), dtype=np.int64)
        if self.apply is not None:
            found, mask = call_on_columns(self.apply, found, what="the selection")
            found, rows = kept(found, mask, rows)
        for name, text in self.expressions.items():
            found[name] = np.asarray(evaluated(text, found, f"derived column {name}"), dtype=np.float64)
        if self.derived is not None:
            made, mask = call_on_columns(self.derived, found, what="the derived columns")
            if mask is not None:
                raise InputError.from_parts(
                    expected="derived columns of all events", got="a mask", do="drop events in the selection"
                )
            found |= made
        if self.cut is not None:
            keep = np.asarray(evaluated(self.cut, found, "the cut of the selection"))
            if keep.dtype != np.bool_:
                raise InputError.from_parts(
                    expected="a cut that is true or false for each event", got=repr(self.cut), do="compare it"
                )
            found, rows = kept(found, keep, rows)
        return found, rows

    def names(self, columns: Mapping[str, Array]) -> tuple[str, ...]:
        """Names of the features, made of a few selected columns."""
        return tuple(self._made(columns))

    def x(self, columns: Mapping[str, Array], rows: Mask | None = None, *, whose: str = "the events") -> Float32:
        """Features, shape (n, d).

        Args:
            columns: Selected ones, each of shape (n,).
            rows: For which events, shape (n,); all by default.
            whose: Whose they are, for messages.

        Raises:
            InputError: Some are not finite; the message names the first such feature and counts.
        """
        if rows is not None:
            columns = {name: values[rows] for name, values in columns.items()}
        made = self._made(columns)
        x = np.empty((len(next(iter(columns.values()))), len(made)), dtype=np.float32)
        for k, (name, values) in enumerate(made.items()):
            with np.errstate(over="ignore"):
                x[:, k] = values
            if bad := len(x) - int(np.count_nonzero(np.isfinite(x[:, k]))):
                raise InputError.from_parts(
                    expected=f"finite values of feature {name!r} of {whose}",
                    got=f"{bad} NaN or infinite in {len(x)} events",
                    do="give what is undefined a constant at the edge of its range, or cut it away",
                )
        return x

    def _made(self, columns: Mapping[str, Array]) -> Mapping[str, Array]:
        if callable(self.features):
            made, mask = call_on_columns(self.features, columns, what="the features")
            if mask is not None:
                raise InputError.from_parts(
                    expected="features of all events", got="a mask", do="drop events in the selection"
                )
            return made
        return {text: evaluated(text, columns, f"feature {text!r}") for text in self.features}


def kept(columns: Mapping[str, Array], mask: Mask | None, rows: Integers) -> tuple[dict[str, Array], Integers]:
    """Columns and rows after a mask, of columns that may already be without what it drops."""
    if mask is None or mask.all():
        return dict(columns), rows
    n = len(rows)
    return {name: own[mask] if len(own) == n else own for name, own in columns.items()}, rows[mask]


def recipe_of(options: CrossSectionOptions) -> Recipe:
    """What a configuration file says.

    Raises:
        InputError: A function cannot be found.
    """
    apply, derived = options.selection.apply, options.derived
    return Recipe(
        options.features if options.feature_function is None else load_function(options.feature_function),
        None if apply is None else load_function(apply),
        made_columns(options) | ({} if isinstance(derived, str) else dict(derived)),
        load_function(derived) if isinstance(derived, str) else None,
        options.selection.cut,
    )
