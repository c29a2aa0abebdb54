"""Two-component spinors, sigma-matrix slashes and polarisation vectors for massless amplitudes.

In the chiral representation a four-vector v becomes two 2 x 2 matrices, v0 + v.sigma and v0 - v.sigma.  A fermion line
of one chirality meets the first kind at every vertex and the second at every propagator, or the reverse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Complex = npt.NDArray[np.complex128]
    Array = npt.NDArray[np.float64]


def slash(v: npt.NDArray, sign: int) -> Complex:
    """v0 + sign v.sigma: vectors (..., 4, n) to matrices (..., 2, 2, n)."""
    e, x, y, z = np.moveaxis(np.asarray(v), -2, 0)
    return np.moveaxis(
        np.array([[e + sign * z, sign * (x - 1j * y)], [sign * (x + 1j * y), e - sign * z]]), (0, 1), (-3, -2)
    )


def row_times(row: Complex, matrix: Complex) -> Complex:
    """Row spinors (..., 2, n) times matrices (..., 2, 2, n)."""
    return np.einsum("...an,...abn->...bn", row, matrix)


def times_column(matrix: Complex, column: Complex) -> Complex:
    """Matrices (..., 2, 2, n) times column spinors (..., 2, n)."""
    return np.einsum("...abn,...bn->...an", matrix, column)


def weyl(p: Array, helicity: int) -> Complex:
    """Eigenspinor of sigma.p with eigenvalue helicity |p| and norm^2 2E, shape (2, n); p massless (4, n)."""
    energy, x, y, z = p
    backward = energy + z < 1e-12 * energy  # along -z the general form is 0 / 0
    plus = np.where(backward, 0.0, np.sqrt(np.maximum(energy + z, 0.0)))
    safe = np.where(backward, 1.0, plus)
    other = np.where(backward, np.sqrt(2 * energy), (x + 1j * helicity * y) / safe)
    return np.array([plus + 0j, other]) if helicity > 0 else np.array([-other, plus + 0j])


def polarisations(k: Array) -> Complex:
    """The two circular polarisation vectors of a massless vector boson k (4, n); shape (2, 4, n)."""
    energy, x, y, z = k
    kt = np.hypot(x, y)
    along_beam = kt < 1e-9
    cos_phi = np.where(along_beam, 1.0, x / np.where(along_beam, 1.0, kt))
    sin_phi = np.where(along_beam, 0.0, y / np.where(along_beam, 1.0, kt))
    zero = np.zeros_like(energy)
    in_plane = np.array([zero, z / energy * cos_phi, z / energy * sin_phi, -kt / energy])
    across = np.array([zero, -sin_phi, cos_phi, zero])
    return np.array([(-h * in_plane - 1j * across) / np.sqrt(2) for h in (1, -1)])
