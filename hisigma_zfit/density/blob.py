"""A Gaussian mixture in gaussianised coordinates as a density of the features given the mass: a learned signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hisigma_zfit.density.base import Arrays, ConditionalFlow
from hisigma_zfit.density.coordinates import CoordinateFlow
from hisigma_zfit.learn.preprocess import FeatureTransform, to_cube
from hisigma_zfit.learn.streams import Purpose, stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.density.gaussianised import Gaussianised

__all__ = ["BlobFlow", "blob_flow"]

_EDGE = 1e-15  # levels nearer to 0 and 1 have no normal quantile that a density can be computed from


class BlobFlow(ConditionalFlow):
    """p(x | m) of a Gaussian mixture in (y_0, y), with y_0 of the mass and y of the features.

    Args:
        transform: Marginal transform of the features.
        mass: That of the mass in its window, one column.
        shares: Of the components, shape (K,), summing to one.
        means: Shape (K, d + 1), the mass first.
        covariances: Shape (K, d + 1, d + 1).
    """

    kind = "blob"

    def __init__(
        self, transform: FeatureTransform, mass: FeatureTransform, shares: Array, means: Array, covariances: Array
    ) -> None:
        self.transform, self.mass = transform, mass
        self.shares, self.means, self.covariances = shares / shares.sum(), means, covariances
        self.features, self.given = transform.features, mass.features[0]
        # of the features given y_0: mean a + b y_0, covariance C
        self._slopes = covariances[:, 1:, 0] / covariances[:, :1, 0]
        self._offsets = means[:, 1:] - self._slopes * means[:, :1]
        rest = covariances[:, 1:, 1:] - self._slopes[:, :, None] * covariances[:, None, 0, 1:]
        self._roots = np.linalg.cholesky(rest)

    def log_prob(self, x: tf.Tensor, m: tf.Tensor) -> tf.Tensor:
        """See `ConditionalFlow.log_prob`."""
        x, m = tf.convert_to_tensor(x, tf.float64), tf.convert_to_tensor(m, tf.float64)
        u, log_jacobian = to_cube(self.transform.tables, x)
        level, _ = to_cube(self.mass.tables, tf.clip_by_value(m, *self.mass.marginals[0].limits)[:, None])
        y, y_0 = _quantile(u), _quantile(level)  # (n, d) and (n, 1)
        share = self._log_share(y_0)
        parts = []
        for k, root in enumerate(self._roots):
            residual = y - self._offsets[k] - self._slopes[k] * y_0
            scaled = tf.linalg.triangular_solve(tf.constant(root), tf.transpose(residual))
            log_det = float(np.log(np.diag(root)).sum())
            parts.append(share[:, k] - 0.5 * tf.reduce_sum(scaled**2, axis=0) - log_det)
        # both densities have the same power of 2 pi
        return tf.reduce_logsumexp(tf.stack(parts), axis=0) + 0.5 * tf.reduce_sum(y**2, axis=1) + log_jacobian

    def _log_share(self, y_0: tf.Tensor) -> tf.Tensor:
        """Of each component at a mass, shape (n, K)."""
        width = np.sqrt(self.covariances[:, 0, 0])
        logs = np.log(self.shares / width) - 0.5 * ((y_0 - self.means[:, 0]) / width) ** 2
        return logs - tf.reduce_logsumexp(logs, axis=1, keepdims=True)

    def sample(self, m: npt.ArrayLike, *, seed: int) -> Array:
        """See `ConditionalFlow.sample`."""
        masses = np.clip(np.asarray(m, dtype=np.float64), *self.mass.marginals[0].limits)
        rng = stream(seed, Purpose.FLOW)
        y_0 = np.asarray(_quantile(tf.constant(self.mass.forward(masses[:, None])[0])))
        cumulative = np.cumsum(np.exp(np.asarray(self._log_share(y_0))), axis=1)
        component = (rng.random((len(masses), 1)) > cumulative[:, :-1]).sum(axis=1)
        normal = rng.standard_normal((len(masses), len(self.features)))
        y = self._offsets[component] + self._slopes[component] * y_0
        y += np.einsum("nij,nj->ni", self._roots[component], normal)
        return self.transform.inverse(0.5 * (1.0 + np.asarray(tf.math.erf(y / np.sqrt(2.0)))))

    @property
    def domain(self) -> Array:
        """See `ConditionalFlow.domain`."""
        return np.asarray(self.transform.tables.limits)

    def inside(self, x: npt.ArrayLike, m: npt.ArrayLike | None = None) -> Mask:
        """See `ConditionalFlow.inside`."""
        del m
        return self.transform.inside(x)

    def _pack(self) -> tuple[dict[str, Any], Arrays]:
        arrays: Arrays = {"shares": self.shares, "means": self.means, "covariances": self.covariances}
        return {"transform": self.transform.to_json(), "mass": self.mass.to_json()}, arrays

    @classmethod
    def from_pack(cls, structure: Mapping[str, Any], arrays: Arrays) -> BlobFlow:
        """See `ConditionalFlow.from_pack`."""
        transform, mass = (FeatureTransform.from_json(structure[name]) for name in ("transform", "mass"))
        return cls(transform, mass, arrays["shares"], arrays["means"], arrays["covariances"])


def blob_flow(place: Gaussianised, shares: Array, means: Array, covariances: Array) -> ConditionalFlow:
    """The density of the features of a mixture in the coordinates of `place`."""
    flow = BlobFlow(place.transform, place.mass, shares, means, covariances)
    return flow if place.coordinates is None else CoordinateFlow(flow, place.coordinates)


def _quantile(levels: tf.Tensor) -> tf.Tensor:
    return tf.math.ndtri(tf.clip_by_value(levels, _EDGE, 1.0 - _EDGE))
