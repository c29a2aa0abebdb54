"""One-loop form factors of g g -> H H with the exact top mass, and the script that tabulates them.

    python analyses/dihiggs/simulation/form_factors.py --out analyses/dihiggs/simulation/form_factors.npz

Formulae: T. Plehn, M. Spira and P. M. Zerwas, Nucl. Phys. B479 (1996) 46 (hep-ph/9603205), appendix A.1, after
E. W. N. Glover and J. J. van der Bij, Nucl. Phys. B309 (1988) 282.  Inside this module momenta are in units of the top
mass.  Scalar integrals without a closed form here are Feynman-parameter integrals on a deformed contour.
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

MASS_TOP = 173.0
MASS_HIGGS = 125.0

# Denser at the two-Higgs and the two-top threshold; 346 GeV itself is a square-root kink, kept between two points.
GRID_MASSES = (
    *(251, 254, 258, 264, 272, 280, 290, 300, 310, 320, 328, 335, 340),
    *(352, 357, 363, 370, 380, 390, 400, 415, 430, 450, 475, 500, 550, 600, 650, 700, 800, 900, 1000),
    *(1200, 1400, 1700, 2000, 2600),
)
GRID_COSINES = (0.0, 0.25, 0.45, 0.6, 0.75)


def triangle_one_leg(s: float) -> complex:
    """Scalar triangle C0(0, 0, s) with equal unit masses in the loop."""
    beta = np.sqrt(1 - 4 / (s + 1e-12j))
    # above threshold the logarithm sits on its cut: take the side of s + i0
    log = np.log(abs((1 + beta) / (1 - beta))) - 1j * np.pi if s > 4 else np.log((beta + 1) / (beta - 1))
    return complex(0.5 / s * log**2)


def triangle_two_legs(s1: float, s2: float) -> complex:
    """Scalar triangle C0(0, s1, s2)."""
    return (s1 * triangle_one_leg(s1) - s2 * triangle_one_leg(s2)) / (s1 - s2)


@cache
def _cube_rule(dimension: int, n: int) -> tuple[Array, Array]:
    x, w = np.polynomial.legendre.leggauss(n)
    nodes = np.array(np.meshgrid(*[0.5 * (x + 1)] * dimension, indexing="ij")).reshape(dimension, -1)
    weights = np.prod(np.array(np.meshgrid(*[0.5 * w] * dimension, indexing="ij")), axis=0).ravel()
    return nodes, weights


def scalar_loop(squares: Mapping[tuple[int, int], float], n: int, deformation: float) -> complex:
    """Scalar triangle (three propagators) or box (four) with unit masses.

    Args:
        squares: (r_i - r_j)^2 for pairs of propagators (i, j), r their momentum offsets; missing pairs are zero.
        n: Gauss-Legendre nodes per dimension.
        deformation: How far the contour leaves the real axis; the result does not depend on it.

    Returns:
        C0 or D0 in the convention of the source: the heavy-mass limits are -1/2 and 1/6.
    """
    size = max(j for _, j in squares) + 1
    quadratic = np.ones((size, size))
    for (i, j), s in squares.items():
        quadratic[i, j] = quadratic[j, i] = 1 - s / 2
    t, weights = _cube_rule(size - 1, n)
    total = 0j
    for k in range(size):  # the sector in which the k-th Feynman parameter is the largest
        others = [i for i in range(size) if i != k]
        a, b = quadratic[np.ix_(others, others)], quadratic[k, others][:, None]
        gradient = 2 * (a @ t + b)
        step = deformation * 2 / max(np.abs(gradient).max(), 1e-9)
        z = t - 1j * step * t * (1 - t) * gradient
        jacobian = -2j * step * (t * (1 - t))[:, None] * a[:, :, None]
        diagonal = np.arange(size - 1)
        jacobian[diagonal, diagonal] += 1 - 1j * step * (1 - 2 * t) * gradient
        determinant = np.linalg.det(np.moveaxis(jacobian, -1, 0))
        f = np.sum(z * (a @ z), axis=0) + 2 * np.sum(b * z, axis=0) + 1
        denominator = f * (1 + z.sum(axis=0)) if size == 3 else f * f
        total += np.sum(weights * determinant / denominator)
    return complex(-total if size == 3 else total)


def form_factors(
    mass: float, cosine: float, *, mass_top: float = MASS_TOP, n: int = 24, deformation: float = 0.4
) -> tuple[complex, complex, complex]:
    """F_triangle, F_box and G_box of g g -> H H.

    Args:
        mass: Mass of the Higgs pair in GeV.
        cosine: Cosine of the scattering angle.
        mass_top: Mass in the loop in GeV.
        n: Gauss-Legendre nodes per dimension of the box integrals.
        deformation: As in `scalar_loop`.

    Returns:
        The three form factors; for a heavy top they tend to 2/3, -2/3 and 0.
    """
    s, h = (mass / mass_top) ** 2, (MASS_HIGGS / mass_top) ** 2
    beta = np.sqrt(1 - 4 * h / s)
    t, u = h - s / 2 * (1 - beta * cosine), h - s / 2 * (1 + beta * cosine)
    t1, u1 = t - h, u - h
    c_ab, c_t, c_u = triangle_one_leg(s), triangle_two_legs(h, t), triangle_two_legs(h, u)
    c_cd = scalar_loop({(0, 1): h, (1, 2): h, (0, 2): s}, 3 * n, deformation)
    d_su = scalar_loop({(1, 2): 0, (2, 3): h, (0, 3): h, (0, 2): s, (1, 3): u}, n, deformation)
    d_st = scalar_loop({(1, 2): 0, (2, 3): h, (0, 3): h, (0, 2): s, (1, 3): t}, n, deformation)
    d_tu = scalar_loop({(1, 2): h, (2, 3): 0, (0, 3): h, (0, 2): t, (1, 3): u}, n, deformation)
    boxes, pt2s = d_su + d_st + d_tu, t * u - h * h

    f_triangle = 2 / s * (2 + (4 - s) * c_ab)
    f_box = (
        4 * s
        + 8 * s * c_ab
        - 2 * s * (s + 2 * h - 8) * boxes
        + (2 * h - 8) * (2 * t1 * c_t + 2 * u1 * c_u - pt2s * d_tu)
    ) / s**2
    g_box = (
        (t * t + h * h - 8 * t) * (s * c_ab + 2 * t1 * c_t - s * t * d_st)
        + (u * u + h * h - 8 * u) * (s * c_ab + 2 * u1 * c_u - s * u * d_su)
        - (t * t + u * u - 2 * h * h) * (t + u - 8) * c_cd
        - 2 * (t + u - 8) * pt2s * boxes
    ) / (s * pt2s)
    return f_triangle, f_box, g_box


def tabulate() -> dict[str, Array]:
    """The grid that `dihiggs` interpolates: form factors at GRID_MASSES x GRID_COSINES, complex (37, 5) each."""
    values = np.array(
        [
            [
                # near the top threshold and far above it the integrands are the most peaked
                form_factors(m, c, n=30 if 335 < m < 365 or m > 900 else 24, deformation=1.8 if m < 450 else 1.1)
                for c in GRID_COSINES
            ]
            for m in GRID_MASSES
        ]
    )
    triangle, box_f, box_g = np.moveaxis(values, -1, 0)
    masses, cosines = np.array(GRID_MASSES, float), np.array(GRID_COSINES)
    return {"mass": masses, "cosine": cosines, "f_triangle": triangle, "f_box": box_f, "g_box": box_g}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Tabulate the form factors of g g -> H H (about a minute).")
    parser.add_argument("--out", type=Path, required=True, help="the .npz file to write")
    np.savez(parser.parse_args().out, **tabulate())
