"""A mass shape without some windows of its range: what is fitted where these are masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import zfit
import zfit.z.numpy as znp

from hisigma_zfit.data.region import beside, require_apart
from hisigma_zfit.model.shapes import finite_limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.data import SignalRegion

__all__ = ["MaskedShape", "masked", "windows_of"]


class MaskedShape(zfit.pdf.BaseFunctor):
    """A mass shape that is zero in some windows and normalised over the masses beside them.

    A window of the mass that must not count, because something else peaks there or because the detector was bad, is
    left out of the data and out of the shape of every component.  Yields are then those beside the windows, and
    parameters of the shape keep their meaning.

    Args:
        shape: zfit PDF of the mass with finite limits.
        windows: What is left out; inside the range, and apart from each other.
        extended: Yield, if the PDF is to be extended.
        norm: Normalisation range; that of `shape` by default.
        name: Name of the PDF.
        label: Human-readable name.

    Raises:
        InputError: A window is not inside the range, or two of them touch.

    Example:
        >>> whole = hz.ExpQuadratic(hz.examples.mass(), p1=2.0, p2=0.0)
        >>> shape = hz.MaskedShape(whole, [hz.SignalRegion(140.0, 150.0)])
        >>> ratio = shape.pdf([130.0, 145.0]) / whole.pdf([130.0, 145.0])
        >>> [float(own) for own in ratio]  # 9 % of it were in the window
        [1.095, 0.0]
    """

    def __init__(
        self,
        shape: zfit.pdf.BasePDF,
        windows: Sequence[SignalRegion],
        *,
        extended: Any = None,
        norm: Any = None,
        name: str | None = None,
        label: str | None = None,
    ) -> None:
        require_apart(windows, *finite_limits(shape.space))
        self.shape = shape
        self.windows = tuple(sorted(windows, key=lambda window: window.lower))
        name = str(shape.name) if name is None else name
        super().__init__(pdfs=[shape], obs=shape.space, extended=extended, norm=norm, name=name, label=label)

    @zfit.supports(norm=False)
    def _pdf(self, x: Any, norm: Any) -> Any:
        del norm
        height = self.shape.pdf(x, norm=False)
        m = x.value(self.obs[0])
        for window in self.windows:  # half-open, as `SignalRegion.contains`
            height = tf.where((m >= window.lower) & (m < window.upper), znp.zeros_like(height), height)
        return height

    @zfit.supports(norm=False)
    def _integrate(self, limits: Any, norm: Any, options: Any = None) -> Any:
        del norm
        # inside a trace limits are symbolic constants
        lower, upper = (float(np.ravel(tf.get_static_value(edge))[0]) for edge in (limits.v1.lower, limits.v1.upper))
        parts = beside(lower, upper, self.windows)
        spaces = [zfit.Space(self.obs[0], *part) for part in parts]
        return sum((self.shape.integrate(space, norm=False, options=options) for space in spaces), znp.zeros(1))

    def copy(self, **overrides: Any) -> MaskedShape:
        """A new PDF with some arguments replaced."""
        arguments: dict[str, Any] = {"shape": self.shape, "windows": self.windows, "name": self.name}
        if self.is_extended:
            arguments["extended"] = self.extended
        return type(self)(**(arguments | overrides))


def masked(shape: zfit.pdf.BasePDF, windows: Sequence[SignalRegion]) -> zfit.pdf.BasePDF:
    """The shape without some windows; itself where there are none."""
    return MaskedShape(shape, windows) if windows else shape


def windows_of(shape: Any) -> tuple[SignalRegion, ...]:
    """The windows that a mass shape leaves out."""
    return shape.windows if isinstance(shape, MaskedShape) else ()
