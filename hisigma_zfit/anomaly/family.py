"""A family of signals as it is written in one option: one sample that is scaled, or samples on a grid.

scaled:FILE:EXPRESSION=PARAMETER,...@PARAMETER=VALUE,...
grid:FILES:PARAMETER,...[:MOVING,...]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from hisigma_zfit import data
from hisigma_zfit.data.columns import expand
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from hisigma_zfit.data.places import Place
    from hisigma_zfit.measurement.options import EventOptions

__all__ = ["FamilyText"]

_SCALED, _GRID = "scaled", "grid"
_FORMS = {
    _SCALED: "scaled:FILE:EXPRESSION=PARAMETER,...@PARAMETER=VALUE,...",
    _GRID: "grid:FILES:PARAMETER,...[:MOVING,...]",
}


@dataclass(frozen=True)
class FamilyText:
    """The parts of such an option.

    Attributes:
        kind: ``"scaled"`` or ``"grid"``.
        files: Simulated signal; may have wildcards.
        scale: Of a scaled sample: feature or expression -> parameter.
        at: Its parameters' values.
        theta: Of a grid: its parameters, columns of the files.
        moving: Features or expressions that move as they do.
    """

    kind: str
    files: str
    scale: dict[str, str]
    at: dict[str, float]
    theta: tuple[str, ...]
    moving: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take it apart.

        Raises:
            ValueError: It is written in another way; pydantic tells of which option.
        """
        kind, *parts = text.split(":")
        known = (kind == _SCALED and len(parts) == 2) or (kind == _GRID and len(parts) in {2, 3})
        if not known:
            forms = f" or {_FORMS[_GRID]}" if kind not in _FORMS else ""
            raise ValueError(f"family: expected {_FORMS.get(kind, _FORMS[_SCALED])}{forms}, got {text!r}; correct it")
        if kind == _GRID:
            names, moving = parts[1], parts[2] if len(parts) > 2 else ""
            return cls(kind, parts[0], {}, {}, _listed(names), _listed(moving))
        scale, _, at = parts[1].partition("@")
        words = _pairs(at)
        try:
            values = {name: float(value) for name, value in words.items()}
        except ValueError:
            raise ValueError(f"family: expected numbers behind @, got {at!r}; write m_x=500") from None
        return cls(kind, parts[0], _pairs(scale), values, (), ())

    @property
    def paths(self) -> tuple[Place, ...]:
        """The files."""
        return tuple(expand(self.files))

    def build(self, options: EventOptions) -> Any:
        """The family, for `fit_family`.

        Raises:
            InputError: Files or columns are wrong, or see `ScaledSignal` and `SignalFamily`.
        """
        columns = options.column_expressions() | {name: options.columns.get(name, name) for name in self.theta}
        events = data.read(self.files, tree=options.tree, columns=columns, cut=options.cut)
        low, high = options.range
        m = events[options.mass]
        events = events.select((m >= low) & (m <= high), reason="outside the mass range")
        if not len(events):
            raise InputError.from_parts(
                expected=f"simulated signal in the range of {options.mass}", got="none", do="check the files"
            )
        from hisigma_zfit.inference.signal_families import ScaledSignal, SignalFamily

        if self.kind == _SCALED:
            return ScaledSignal(events, self.scale, self.at)
        return SignalFamily(events, self.theta, self.moving)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _pairs(text: str) -> dict[str, str]:
    pairs = [part.rpartition("=") for part in _listed(text)]
    if not pairs or not all(left and right for left, _, right in pairs):
        raise ValueError(f"family: expected NAME=VALUE, separated by commas, got {text!r}; correct it")
    return {left.strip(): right.strip() for left, _, right in pairs}
