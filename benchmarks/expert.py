"""What an expert would write for one fit: value, gradient and Hessian in one numba pass, and a Newton profile.

The model is that of `example.py` with the densities computed ahead: n_sig e^(a . nu) r_i + n_bkg f(m_i; p1, p2), with
r_i the ratio of the signal's density to the background's in the features, times the frozen peak, and Gaussian
constraints of the nuisances.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(48)
NODES, WEIGHTS = 0.5 + 0.5 * NODES, 0.5 * WEIGHTS


@numba.njit(fastmath=True, error_model="numpy")
def one_pass(t, r, s, b, p1, p2, log_norm, mu1, mu2):
    """Sum of log(b f + s r) and its derivatives; mu1 and mu2 are the means of t and t^2 under f."""
    v = g0 = g1 = g2 = g3 = 0.0
    h00 = h01 = h02 = h03 = h11 = h12 = h13 = h22 = h23 = h33 = 0.0
    w = q22 = q23 = q33 = 0.0
    for i in range(t.size):
        x = t[i]
        f = np.exp((p2 * x - p1) * x - log_norm)
        density = b * f + s * r[i]
        inverse = 1.0 / density
        v += np.log(density)
        a, c, u, y = r[i] * inverse, f * inverse, mu1 - x, x * x - mu2
        bc = b * c
        e1, e2 = bc * u, bc * y
        g0, g1, g2, g3 = g0 + a, g1 + c, g2 + e1, g3 + e2
        h00, h01, h02, h03 = h00 + a * a, h01 + a * c, h02 + a * e1, h03 + a * e2
        h11, h12, h13 = h11 + c * c, h12 + c * e1, h13 + c * e2
        h22, h23, h33 = h22 + e1 * e1, h23 + e1 * e2, h33 + e2 * e2
        w, q22, q23, q33 = w + bc, q22 + bc * u * u, q23 + bc * u * y, q33 + bc * y * y
    gradient = np.array([g0, g1, g2, g3])
    products = np.array([[h00, h01, h02, h03], [h01, h11, h12, h13], [h02, h12, h22, h23], [h03, h13, h23, h33]])
    return v, gradient, products, np.array([w, q22, q23, q33])


class Newton:
    """-log L with its derivatives, its minimum, and its profile in n_sig.

    Args:
        t: Masses from 0 to 1 over the range, shape (n,).
        r: Ratios, shape (n,).
        width: Of the range.
        logs: a, shape (J,).
    """

    def __init__(self, t: Array, r: Array, width: float, logs: Array) -> None:
        self.t, self.r = np.ascontiguousarray(t), np.ascontiguousarray(r)
        self.log_width, self.logs = np.log(width), logs
        self.names = ("n_sig", "n_bkg", "p1", "p2", *(f"nu{j}" for j in range(len(logs))))

    def __call__(self, theta: Array) -> tuple[float, Array, Array]:
        s, b, p1, p2 = theta[:4]
        nu = theta[4:]
        factor = np.exp(self.logs @ nu)
        k = WEIGHTS * np.exp(-p1 * NODES + p2 * NODES * NODES)
        norm = k.sum()
        m1, m2, m3, m4 = (float(k @ NODES**j) / norm for j in range(1, 5))
        v, g, h, (w, q22, q23, q33) = one_pass(
            self.t, self.r, s * factor, b, p1, p2, np.log(norm) + self.log_width, m1, m2
        )
        g = -g
        more = np.zeros((4, 4))
        more[2, 2] = q22 - w * (m2 - m1 * m1)
        more[2, 3] = more[3, 2] = q23 + w * (m3 - m1 * m2)
        more[3, 3] = q33 - w * (m4 - m2 * m2)
        more[1, 2] = more[2, 1] = -g[2] / b
        more[1, 3] = more[3, 1] = -g[3] / b
        h -= more
        g[:2] += 1.0
        chain = np.zeros((4, len(theta)))
        chain[:4, :4] = np.eye(4)
        chain[0, 0] = factor
        chain[0, 4:] = s * factor * self.logs
        gradient, hessian = g @ chain, chain.T @ h @ chain
        hessian[0, 4:] += g[0] * factor * self.logs
        hessian[4:, 0] += g[0] * factor * self.logs
        hessian[4:, 4:] += g[0] * s * factor * np.outer(self.logs, self.logs) + np.eye(len(nu))
        gradient[4:] += nu
        return s * factor + b - v + 0.5 * nu @ nu, gradient, hessian

    def minimise(self, theta: Array, free: Array, tolerance: float) -> tuple[Array, float, Array]:
        v, g, h = self(theta)
        for _ in range(50):
            step = -np.linalg.solve(h[np.ix_(free, free)], g[free])
            if -0.5 * g[free] @ step < tolerance:
                break
            size = 1.0
            while True:
                tried = theta.copy()
                tried[free] += size * step
                found = self(tried)
                if found[0] <= v + 1e-9 * abs(v):
                    break
                size *= 0.5
            theta, (v, g, h) = tried, found
        return theta, v, h

    def run(self, start: Array, points: Array) -> tuple[float, float, Array]:
        """Best value, error and 2 (NLL - minimum) at the points."""
        every, others = np.arange(len(start)), np.arange(1, len(start))
        best, lowest, h = self.minimise(start, every, 1e-9)
        t = np.empty(len(points))
        for side in (np.flatnonzero(points >= best[0]), np.flatnonzero(points < best[0])[::-1]):
            at, own = best, h
            for i in side:
                begin = at.copy()
                begin[1:] -= np.linalg.solve(own[1:, 1:], own[1:, 0]) * (points[i] - at[0])
                begin[0] = points[i]
                at, v, own = self.minimise(begin, others, 1e-5)
                t[i] = 2.0 * (v - lowest)
        return best[0], float(np.sqrt(np.linalg.inv(h)[0, 0])), t
