"""Kinds of features that no density over an interval describes: whole numbers, spikes at a value, angles.

A kind names the *atoms* of a feature, the values that have a probability of their own, and the circle that it may lie
on.  The density of such a feature is taken with respect to the counting measure at its atoms and to dx elsewhere.
Ratios of densities mean something only where both have the same atoms, which is why a kind is stated and not guessed
from the events of one training.

=====================  ============================================================================================
words                  meaning
=====================  ============================================================================================
``integer``            whole numbers, all from the lowest to the highest that is found
``integer:0:8``        the same from 0 to 8
``values:0,0.5,1``     these values and no other
``spike:0``            a value (or several: ``spike:-999,0``) that many events share, beside a density
``periodic``           an angle in radian, from -pi to pi or from 0 to 2 pi, whichever holds the values
``periodic:0:360``     a feature whose ends 0 and 360 are one point
``periodic+spike:-9``  an angle that some events do not have
=====================  ============================================================================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.arrays import Array, Mask

__all__ = ["FeatureKind", "advice", "resolve_kinds"]

MAX_VALUES = 64
CIRCLE_SLACK = 1e-6  # of the period: an angle of pi in single precision lies beyond pi
FOLDED = 0.51  # of the period: all values of an angle within a half are a folded angle, whose ends are two points
_WORDS = "integer, integer:LOW:HIGH, values:A,B,..., spike:A,B,..., periodic or periodic:LOW:HIGH"


@dataclass(frozen=True)
class FeatureKind:
    """What a feature is.

    Attributes:
        atoms: Values with a probability of their own, ascending; empty with `whole` until the events are known.
        continuous: Whether it has a density beside them.
        circle: Its two ends that are one point, where it is periodic; infinite until the events are known.
        whole: Whether the atoms are the whole numbers that are found.
    """

    atoms: tuple[float, ...] = ()
    continuous: bool = True
    circle: tuple[float, float] | None = None
    whole: bool = False

    @classmethod
    def parse(cls, words: str, *, name: str) -> Self:
        """Read what the module's table lists.

        Args:
            words: The kind in words.
            name: Of the feature, for messages.

        Raises:
            InputError: They mean nothing.
        """
        found = cls()
        try:
            for part in words.replace(" ", "").split("+"):
                head, _, tail = part.partition(":")
                found = found._with(head, tail)
        except ValueError:
            raise InputError.from_parts(
                expected=f"a kind of {name} such as {_WORDS}, the last two also with +spike:A",
                got=repr(words),
                do="correct it",
            ) from None
        return found

    def _with(self, head: str, tail: str) -> Self:
        if head == "integer" and self == type(self)():
            if not tail:
                return replace(self, whole=True, continuous=False)
            low, high = map(int, tail.split(":"))
            if not low < high or high - low >= MAX_VALUES:
                raise ValueError
            return replace(self, atoms=tuple(map(float, range(low, high + 1))), continuous=False)
        if head == "values" and self == type(self)():
            atoms = _values(tail)
            if len(atoms) < 2:
                raise ValueError
            return replace(self, atoms=atoms, continuous=False)
        if head == "spike" and self.continuous and not self.atoms:
            return replace(self, atoms=_values(tail))
        if head == "periodic" and self.continuous and self.circle is None:
            circle = (-math.inf, math.inf)
            if tail:
                first, last = map(float, tail.split(":"))
                circle = (first, last)
                if not (math.isfinite(first) and math.isfinite(last) and first < last):
                    raise ValueError
            return replace(self, circle=circle)
        raise ValueError

    def __str__(self) -> str:
        """The words that `parse` reads."""
        if not self.continuous:
            if self.whole:
                return "integer"
            steps = np.diff(self.atoms)
            if (steps == 1).all() and self.atoms[0].is_integer():
                return f"integer:{self.atoms[0]:.0f}:{self.atoms[-1]:.0f}"
            return f"values:{','.join(map(_plain, self.atoms))}"
        parts = []
        if self.circle is not None:
            ends = ":".join(map(_plain, self.circle))
            parts.append(f"periodic:{ends}" if math.isfinite(self.circle[0]) else "periodic")
        if self.atoms:
            parts.append(f"spike:{','.join(map(_plain, self.atoms))}")
        return "+".join(parts)

    def at_atom(self, values: Array) -> Mask:
        """Tell which values are atoms; compared in single precision, in which files keep them."""
        return np.isin(values.astype(np.float32), np.array(self.atoms, dtype=np.float32))

    def resolved(self, values: Array, *, name: str) -> Self:
        """The kind with what has to be found in the events: the range of whole numbers, the turn of an angle.

        Args:
            values: Of all samples that share the kind, shape (n,).
            name: Of the feature.

        Raises:
            InputError: Values are not of this kind.
        """
        values = values[np.isfinite(values)]  # others are refused where the feature is fitted
        if self.whole:
            return replace(self, atoms=_whole_numbers(values, name), whole=False)
        if self.circle is None or math.isfinite(self.circle[0]):
            return self
        angles = values[~self.at_atom(values)]
        slack = 2 * math.pi * CIRCLE_SLACK
        for low in (-math.pi, 0.0):
            if angles.size and low - slack <= angles.min() and angles.max() <= low + 2 * math.pi + slack:
                return replace(self, circle=(low, low + 2 * math.pi))
        raise InputError.from_parts(
            expected=f"{name} from -pi to pi or from 0 to 2 pi",
            got=f"{angles.min():g} to {angles.max():g}" if angles.size else "no angle",
            do="state its ends, as periodic:0:360, or the value of events without angle, as periodic+spike:-999",
        )

    def require(self, values: Array, *, name: str) -> None:
        """Check that values, shape (n,), are of this kind.

        Raises:
            InputError: They are not, or only one of the atoms is there.
        """
        at = self.at_atom(values)
        if not self.continuous:
            beyond = int(np.sum(~at))
            if beyond:
                raise InputError.from_parts(
                    expected=f"{name} among {_listed(self.atoms)}",
                    got=f"{beyond} of {len(values)} events with another value, such as {values[~at][0]:g}",
                    do="state all values in its kind, or cut these events away",
                )
            if len(np.unique(values.astype(np.float32))) == 1:
                raise InputError.from_parts(
                    expected=f"a feature {name} that varies",
                    got=f"{values[0]:g} in every event",
                    do="leave the feature out",
                )
        if self.circle is not None:
            self._require_circle(values[~at], name)

    def _require_circle(self, angles: Array, name: str) -> None:
        assert self.circle is not None
        low, high = self.circle
        slack = CIRCLE_SLACK * (high - low)
        outside = int(np.sum((angles < low - slack) | (angles > high + slack)))
        if outside:
            raise InputError.from_parts(
                expected=f"{name} in [{low:g}, {high:g}]",
                got=f"{outside} of {len(angles)} events outside",
                do="state the ends of its period",
            )
        if angles.size and np.ptp(angles) < FOLDED * (high - low):
            raise InputError.from_parts(
                expected=f"{name} over more than half of its period {low:g} to {high:g}",
                got=f"{angles.min():g} to {angles.max():g}",
                do="declare no period: the ends of a folded angle are two points",
            )


def _values(words: str) -> tuple[float, ...]:
    found = tuple(sorted(float(word) for word in words.split(",")))
    single = np.array(found, dtype=np.float32)
    if not np.isfinite(single).all() or len(np.unique(single)) < len(found) or len(found) > MAX_VALUES:
        raise ValueError
    return found


def _plain(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(value)


def _listed(values: Sequence[float]) -> str:
    words = [f"{value:g}" for value in values]
    return ", ".join(words if len(words) < 7 else [*words[:3], "...", words[-1]])


def _whole_numbers(values: Array, name: str) -> tuple[float, ...]:
    broken = values[values != np.rint(values)]
    if broken.size or not values.size:
        raise InputError.from_parts(
            expected=f"whole numbers of {name}",
            got=f"{broken[0]:g}" if broken.size else "no event",
            do="declare it values:A,B,... or continuous",
        )
    low, high = int(values.min()), int(values.max())
    if high - low >= MAX_VALUES:
        raise InputError.from_parts(
            expected=f"up to {MAX_VALUES} whole numbers of {name}",
            got=f"{low} to {high}",
            do=f"join them, such as {name}=min({name}, {low + MAX_VALUES // 2})",
        )
    return tuple(map(float, range(low, high + 1)))


def resolve_kinds(
    kinds: Mapping[str, str], features: Sequence[str], columns: Sequence[Mapping[str, Any] | Any]
) -> dict[str, FeatureKind]:
    """Kinds of features, with what has to be found in the events found in all samples together.

    Args:
        kinds: Words by feature.
        features: Names that there are.
        columns: Samples that share the kinds, each with an array for each name.

    Raises:
        InputError: A name is no feature, words mean nothing, or values are not of the kind that was stated.
    """
    unknown = [name for name in kinds if name not in features]
    if unknown:
        raise InputError.from_parts(
            expected=f"kinds of {', '.join(features)}", got=f"one of {unknown[0]}", do="correct the name"
        )
    return {
        name: FeatureKind.parse(words, name=name).resolved(
            np.concatenate([np.asarray(sample[name], dtype=np.float64) for sample in columns]), name=name
        )
        for name, words in kinds.items()
    }


def advice(values: Array) -> str:
    """The kind to state for a column that is not continuous: values, shape (n,), of which many are equal."""
    found, counts = np.unique(values, return_counts=True)
    if (found == np.rint(found)).all() and np.ptp(found) < MAX_VALUES and len(found) <= MAX_VALUES:
        return "integer"
    if len(found) <= MAX_VALUES:
        return f"values:{','.join(map(_plain, found.tolist()))}"
    return f"spike:{_plain(float(found[np.argmax(counts)]))}"
