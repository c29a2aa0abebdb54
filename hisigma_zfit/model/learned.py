"""The mass of a learned signal as a zfit PDF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import zfit

from hisigma_zfit.learn.preprocess import to_cube

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.learn.preprocess import FeatureTransform

__all__ = ["LearnedPeak"]

_EDGE = 1e-15


class LearnedPeak(zfit.pdf.BasePDF):
    """Gaussian mixture in y = Phi^-1(F(m)), with F the background's distribution function in a window.

    Args:
        obs: Space of the mass; the density is zero outside of the window.
        transform: F, see `hisigma_zfit.density.gaussianised.window_transform`.
        shares: Of the components, shape (K,).
        means: In y, shape (K,).
        widths: In y, shape (K,).
        extended: Yield, if the PDF is to be extended.
        norm: Normalisation range; `obs` by default.
        name: Name of the PDF.
        label: Human-readable name.
    """

    _N_OBS = 1

    def __init__(
        self,
        obs: zfit.Space,
        transform: FeatureTransform,
        *,
        shares: Array,
        means: Array,
        widths: Array,
        extended: Any = None,
        norm: Any = None,
        name: str = "LearnedPeak",
        label: str | None = None,
    ) -> None:
        self.transform = transform
        self.shares, self.means, self.widths = shares / shares.sum(), means, widths
        super().__init__(obs=obs, params={}, extended=extended, norm=norm, name=name, label=label)

    def _quantile(self, m: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Y and log |dF/dm| of masses of shape (n,)."""
        level, log_slope = to_cube(self.transform.tables, tf.reshape(tf.convert_to_tensor(m, tf.float64), (-1, 1)))
        return tf.math.ndtri(tf.clip_by_value(level[:, 0], _EDGE, 1.0 - _EDGE)), log_slope

    @zfit.supports(norm=False)
    def _pdf(self, x: Any, norm: Any, params: Mapping[str, Any]) -> Any:
        del norm, params
        y, log_slope = self._quantile(x[0])
        distance = (y[:, None] - self.means) / self.widths
        logs = np.log(self.shares / self.widths) - 0.5 * distance**2
        return tf.exp(tf.reduce_logsumexp(logs, axis=1) + 0.5 * y**2 + log_slope)

    def distribution(self, m: Any) -> tf.Tensor:
        """Share of the signal below masses, shape (n,)."""
        low, high = self.transform.marginals[0].limits
        y, _ = self._quantile(tf.clip_by_value(tf.convert_to_tensor(m, tf.float64), low, high))
        distance = (y[:, None] - self.means) / self.widths
        return tf.reduce_sum(self.shares * 0.5 * tf.math.erfc(-distance / np.sqrt(2.0)), axis=1)


def _integrate(limits: Any, params: Mapping[str, Any], model: LearnedPeak) -> Any:
    del params
    low, high = model.distribution(limits.v1.lower), model.distribution(limits.v1.upper)
    return tf.reduce_sum(high - low)


LearnedPeak.register_analytic_integral(
    func=_integrate, limits=zfit.Space(axes=0, limits=(zfit.Space.ANY_LOWER, zfit.Space.ANY_UPPER))
)
