"""Squared tree-level matrix elements of g g -> b bbar gamma gamma and q qbar -> b bbar gamma gamma, massless quarks.

The quark lines are built up one boson at a time (off-shell currents, F. A. Berends and W. T. Giele, Nucl. Phys. B306
(1988) 759).  Helicities are array axes; the overall parity flip is a factor two.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from kinematics import dot
from spinors import polarisations, row_times, slash, times_column, weyl

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Complex = npt.NDArray[np.complex128]
    Subset = frozenset[int]

_SIGMA = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def _replaced(vectors: list[Complex], replace: Mapping[int, Array] | None) -> list[Complex]:
    for i, vector in (replace or {}).items():
        vectors[i] = np.array([vector, vector], dtype=complex)
    return vectors


def gg_amplitudes(
    gluons: tuple[Array, Array],
    quarks: tuple[Array, Array],
    photons: tuple[Array, Array],
    replace: Mapping[int, Array] | None = None,
) -> tuple[Complex, Complex]:
    """Colour-ordered amplitudes of g g -> b bbar gamma gamma at unit couplings, for one helicity of the quark line.

    Args:
        gluons: Incoming momenta, each (4, n).
        quarks: Outgoing b and bbar.
        photons: Outgoing photons.
        replace: Vectors put in place of a boson's polarisations (0, 1: gluons; 2, 3: photons), for tests of gauge
            invariance.

    Returns:
        Amplitudes of the colour structures T^a T^b and T^b T^a (a: the first gluon), each of shape (2, 2, 2, 2, n):
        helicities of the gluons and of the photons.
    """
    b, bbar = quarks
    emitted = [-gluons[0], -gluons[1], *photons]  # momenta that leave the quark line
    eps = [polarisations(k) for k in gluons] + [polarisations(k).conj() for k in photons]
    eps = _replaced(eps, replace)
    vertex = {}
    for i, e in enumerate(eps):  # axes: one per boson, of which only the i-th is longer than one
        shape = [1, 1, 1, 1]
        shape[i] = 2
        vertex[i,] = slash(e, +1).reshape(*shape, 2, 2, -1)
    fused = _three_gluon_current(gluons, eps[0], eps[1])
    vertex[0, 1] = slash(fused, +1).reshape(2, 2, 1, 1, 2, 2, -1)

    rows: dict[Subset, dict[str, Complex]] = {frozenset(): {"": weyl(b, -1).conj().reshape(1, 1, 1, 1, 2, -1)}}
    for size in range(1, 5):
        for attached in map(frozenset, combinations(range(4), size)):
            total: dict[str, Complex] = {}
            for last, matrix in vertex.items():
                if not attached.issuperset(last):
                    continue
                for colour, row in rows[attached.difference(last)].items():
                    term = row_times(row, matrix)
                    # the commutator of the three-gluon vertex feeds both orders, with opposite signs
                    orders = {"01": term, "10": -term} if len(last) == 2 else {_extended(colour, last[0]): term}
                    for order, value in orders.items():
                        total[order] = total[order] + value if order in total else value
            if size < 4:
                momentum = b + sum(emitted[i] for i in attached)
                propagator = slash(momentum, -1) / dot(momentum, momentum)
                total = {order: row_times(row, propagator) for order, row in total.items()}
            rows[attached] = total
    antiquark = weyl(bbar, -1)
    complete = rows[frozenset(range(4))]
    first, second = (np.einsum("...an,an->...n", complete[order], antiquark) for order in ("01", "10"))
    return first, second


def _extended(colour: str, boson: int) -> str:
    return colour + str(boson) if boson < 2 else colour


def _three_gluon_current(gluons: tuple[Array, Array], eps1: Complex, eps2: Complex) -> Complex:
    """Off-shell gluon made of two incoming ones, with its propagator; shape (2, 2, 4, n)."""
    k1, k2 = gluons
    e1, e2 = eps1[:, None], eps2[None, :]
    contract = "ijmn,m,mn->ijn"
    metric = np.array([1, -1, -1, -1])
    e1e2 = np.einsum("iamn,m,ajmn->ijn", e1, metric, e2)
    k2e1, k1e2 = np.einsum(contract, e1, metric, k2), np.einsum(contract, e2, metric, k1)
    current = e1e2[:, :, None] * (k1 - k2) + 2 * k2e1[:, :, None] * e2 - 2 * k1e2[:, :, None] * e1
    return current / dot(k1 + k2, k1 + k2)


def gg_squared(
    gluons: tuple[Array, Array],
    quarks: tuple[Array, Array],
    photons: tuple[Array, Array],
    e2q2: float,
    gs2: Array | float,
    replace: Mapping[int, Array] | None = None,
) -> tuple[Array, Array]:
    """Squared matrix element of g g -> b bbar gamma gamma, averaged over initial colours and spins.

    Args:
        gluons: Incoming momenta, each (4, n).
        quarks: Outgoing b and bbar.
        photons: Outgoing photons; the factor 1/2 of identical particles is not included.
        e2q2: e^2 Q_b^2.
        gs2: g_s^2.
        replace: As in `gg_amplitudes`.

    Returns:
        |M|^2 in GeV^-4, and the share of the colour order T^a T^b in the leading-colour sum; each (n,).
    """
    first, second = gg_amplitudes(gluons, quarks, photons, replace)
    helicities = (0, 1, 2, 3)
    s1, s2 = np.sum(np.abs(first) ** 2, helicities), np.sum(np.abs(second) ** 2, helicities)
    mixed = 2 * np.sum((first * second.conj()).real, helicities)
    # tr(TaTbTbTa) = 16/3, tr(TaTbTaTb) = -2/3; the other quark helicity doubles it; averages 1/(8 8 2 2)
    return 2 * (16 / 3 * (s1 + s2) - 2 / 3 * mixed) * (gs2 * e2q2) ** 2 / 256, s1 / (s1 + s2)


def _line_currents(
    left: Array, right: Array, signs: tuple[int, int], chirality: int, photons: tuple[Array, Array], eps: list[Complex]
) -> dict[Subset, Complex]:
    """Vector currents of a quark line between the spinors of `left` and `right`, for each subset of photons on it.

    `signs` say how the two momenta flow along the line.  Shape of each current: (2 or 1, 2 or 1, 4, n), the photons'
    helicities first.
    """
    at_vertex, at_propagator = (1, -1) if chirality < 0 else (-1, 1)
    vertex = [slash(e, at_vertex).reshape(*((2, 1) if i == 0 else (1, 2)), 2, 2, -1) for i, e in enumerate(eps)]
    rows: dict[Subset, Complex] = {frozenset(): weyl(left, chirality).conj().reshape(1, 1, 2, -1)}
    columns: dict[Subset, Complex] = {frozenset(): weyl(right, chirality).reshape(1, 1, 2, -1)}
    subsets = [frozenset(c) for size in range(3) for c in combinations(range(2), size)]
    for subset in subsets[1:]:
        radiated = sum(photons[i] for i in subset)
        p, q = signs[0] * left + radiated, signs[1] * right - radiated
        row = sum(row_times(rows[subset - {i}], vertex[i]) for i in subset)
        column = sum(times_column(vertex[i], columns[subset - {i}]) for i in subset)
        rows[subset] = row_times(row, slash(p, at_propagator)) / dot(p, p)
        columns[subset] = times_column(slash(q, at_propagator), column) / dot(q, q)
    # lowering the index of the slash's vector gives the contravariant current its sign
    sigma = _SIGMA * np.array([1, -at_vertex, -at_vertex, -at_vertex])[:, None, None]
    return {
        subset: sum(
            np.einsum("...an,mab,...bn->...mn", rows[before], sigma, columns[subset - before])
            for before in subsets
            if before <= subset
        )
        for subset in subsets
    }


def qq_squared(
    incoming: tuple[Array, Array],
    quarks: tuple[Array, Array],
    photons: tuple[Array, Array],
    charges: tuple[float, float],
    e2: float,
    gs2: Array | float,
    replace: Mapping[int, Array] | None = None,
) -> Array:
    """Squared matrix element of q qbar -> g* -> b bbar gamma gamma, photons from either line, q not b.

    Args:
        incoming: Momenta of q and qbar, each (4, n).
        quarks: Outgoing b and bbar.
        photons: Outgoing photons; the factor 1/2 of identical particles is not included.
        charges: Electric charges of q and of b.
        e2: e^2.
        gs2: g_s^2.
        replace: Vectors put in place of the polarisations of photon 0 or 1.

    Returns:
        |M|^2 averaged over initial colours and spins, in GeV^-4, shape (n,).
    """
    q, qbar = incoming
    b, bbar = quarks
    eps = _replaced([polarisations(k).conj() for k in photons], replace)
    initial = _line_currents(qbar, q, (-1, 1), -1, photons, eps)
    both = frozenset({0, 1})
    total = np.zeros(b.shape[-1])
    for chirality in (-1, 1):
        final = _line_currents(b, bbar, (1, -1), chirality, photons, eps)
        amplitude = 0
        for subset, current in final.items():
            gluon = b + bbar + sum((photons[i] for i in subset), np.zeros_like(b))
            coupling = charges[1] ** len(subset) * charges[0] ** (2 - len(subset))
            contracted = dot(np.moveaxis(current, -2, 0), np.moveaxis(initial[both - subset], -2, 0))
            amplitude = amplitude + coupling * contracted / dot(gluon, gluon)
        total += np.sum(np.abs(amplitude) ** 2, axis=(0, 1))
    # colour sum 2; the other helicity of the initial line doubles it; averages 1/(3 3 2 2)
    return 4 * total * (e2 * gs2) ** 2 / 36
