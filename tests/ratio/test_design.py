"""Design points and the monomials that they determine."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hisigma_zfit.errors import InputError
from hisigma_zfit.ratio.design import Axis, make_design

SIGNED = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)
TES, JES = (Axis(name, SIGNED, float) for name in ("tes", "jes"))
MET = Axis("met", (1.0, 2.0, 3.0, 4.0, 5.0), lambda s: (s / 2.0) ** 2)


def test_the_thirty_points_of_the_specification():
    design = make_design([TES, JES, MET], [["tes", "jes"], ["tes", "met"], ["jes", "met"]])
    corners = [(a, b, 0.0) for a, b in itertools.product((-1.5, 1.5), repeat=2)]
    corners += [(a, 0.0, 2.5) for a in (-1.5, 1.5)] + [(0.0, a, 2.5) for a in (-1.5, 1.5)]
    corners += [(a, b, 3.5) for a, b in itertools.product((-2.0, 2.0), repeat=2)]
    alone = (
        [(s, 0.0, 0.0) for s in SIGNED] + [(0.0, s, 0.0) for s in SIGNED] + [(0.0, 0.0, float(s)) for s in range(1, 6)]
    )
    assert set(design.points) == {*alone, *corners}
    assert len(design.points) == 29  # and the nominal
    assert design.monomials.size == 9
    assert design.values.shape == (29, 9)
    assert design.singular_values.min() > 0.2
    assert design.points == make_design([TES, JES, MET]).points  # all pairs by default


def test_ten_nuisances_with_and_without_products():
    ten = [Axis(f"n{k}", SIGNED, float) for k in range(10)]
    with_products = make_design(ten)
    assert with_products.monomials.size == 65
    assert np.linalg.matrix_rank(with_products.values) == 65
    without = make_design(ten, ())
    assert without.monomials.size == 20
    assert len(without.absent) == 45


def test_quick_has_eight_points_and_no_products():
    design = make_design([TES, JES, MET], quick=True)
    assert design.labels == ("tes -2", "tes +2", "jes -2", "jes +2", "met +1", "met +3", "met +5")
    assert design.monomials.names == ("tes", "jes", "met", "tes^2", "jes^2", "met^2")


def test_squares_and_products_need_points():
    one = Axis("one", (1.0,), float, together=False, anywhere=False)
    weights = Axis("w", (-1.0, 1.0), float, anywhere=False)
    design = make_design([TES, one, weights])
    assert design.monomials.names == ("tes", "one", "w", "tes^2", "w^2")
    joined = make_design([TES, weights], [{"tes": 1.0, "w": 1.0}])
    assert joined.monomials.pairs == ((0, 1),)
    assert joined.points[-1] == (1.0, 1.0)
    assert make_design([]).values.shape == (0, 0)


def test_what_points_do_not_determine_is_named():
    flat = Axis("flat", (1.0, 2.0), lambda s: 1.0 + 1e-12 * s)
    with pytest.raises(InputError, match=r"got 2 points that do not determine flat\^2"):
        make_design([flat])
    with pytest.raises(InputError, match="do not determine b"):
        make_design([Axis("a", (1.0,), float), Axis("b", (1.0,), lambda s: 0.0)], [{"a": 1.0, "b": 1.0}])
    with pytest.raises(InputError, match="got 'nobody'"):
        make_design([TES, JES], [["tes", "nobody"]])
