"""What is learned from: 32 functions of the sixteen columns of an event with a lepton, a tau and jets.

Angles enter as differences and with signs that make mirrored events alike.  A function that is not defined, as the mass
of two jets where there is one, is a constant at the edge of its range.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.arrays import Array, Mask

    Columns = Mapping[str, Array]

__all__ = ["counting_columns", "learning_features"]

LN_PT_MISSING, LN_MASS_MISSING = 2.5, 2.5  # below the smallest of a jet above threshold, and of two
CENTRALITY_MISSING = -0.2  # it lies in (0, 1]
MOST_JETS = 6
COLLINEAR_MASS = (5.0, 1000.0)  # GeV
LARGEST_FRACTION = 3.0  # physical fractions lie in (0, 1), those of mismeasured events anywhere


@dataclass(frozen=True)
class _Momentum:
    """Massless momenta: pt in GeV, eta (0 for the missing momentum) and phi, each of shape (n,)."""

    pt: Array
    eta: Array
    phi: Array

    @property
    def x(self) -> Array:
        """Component in the transverse plane, GeV."""
        return self.pt * np.cos(self.phi)

    @property
    def y(self) -> Array:
        """The other one."""
        return self.pt * np.sin(self.phi)


def counting_columns(columns: Columns) -> Columns:
    """What events are counted in: m_T of lepton and missing momentum, n_jets, m_vis of lepton and tau.

    Args:
        columns: The sixteen of the challenge, energies in GeV, each of shape (n,).
    """
    lep, had, met = _lepton_tau_met(columns)
    return {"m_T": _transverse_mass(lep, met), "n_jets": columns["PRI_n_jets"], "m_vis": _mass(lep, had)}


def learning_features(columns: Columns) -> Columns:
    """The 32 learned features by name: GeV or logarithms of them, radians, pure numbers, each of shape (n,).

    Args:
        columns: The sixteen of the challenge after its thresholds, energies in GeV, each of shape (n,).
    """
    lep, had, met = _lepton_tau_met(columns)
    # not from the number of jets, in which a third one is still counted after the thresholds have taken the others
    one, two = columns["PRI_jet_leading_pt"] >= 0.0, columns["PRI_jet_subleading_pt"] >= 0.0
    first, second = _jet(columns, "PRI_jet_leading", one), _jet(columns, "PRI_jet_subleading", two)
    x, y = lep.x + had.x + met.x, lep.y + had.y + met.y  # of the Higgs boson, or what is taken for it
    total = np.hypot(x + one * first.x + two * second.x, y + one * first.y + two * second.y)
    turn = _delta_phi(lep, had)
    mirror = np.where(turn >= 0.0, 1.0, -1.0)
    side = np.where(lep.eta + had.eta >= 0.0, 1.0, -1.0)
    return {
        "ln_pt_lep": np.log(lep.pt),
        "ln_pt_had": np.log(had.pt),
        "ln_pt_j1": np.log(first.pt),
        "ln_pt_j2": np.log(second.pt),
        "ln_met": np.log(met.pt + 1.0),
        "n_jets": np.minimum(columns["PRI_n_jets"], MOST_JETS),
        "ln_all_pt": np.log(columns["PRI_jet_all_pt"] + 20.0),
        "eta_lep": side * lep.eta,
        "eta_had": side * had.eta,
        "eta_j1": side * first.eta,
        "eta_j2": side * second.eta,
        "m_T": _transverse_mass(lep, met),
        "ln_m_vis": np.log(_mass(lep, had)),
        "ln_pt_higgs": np.log(np.hypot(x, y) + 1.0),
        **_two_jets(lep, first, second, two),
        "dr_lep_had": np.hypot(lep.eta - had.eta, turn),
        "ln_pt_total": np.log(total + 1.0),
        "ln_sum_pt": np.log(lep.pt + had.pt + columns["PRI_jet_all_pt"]),
        "ln_pt_ratio": np.log(lep.pt / had.pt),
        "met_centrality": _met_centrality(lep, had, met),
        "dphi_lep_had": np.abs(turn),
        "dphi_met_lep": mirror * _delta_phi(met, lep),
        "dphi_met_had": mirror * _delta_phi(met, had),
        "m_T_had": _transverse_mass(had, met),
        "ln_m_T_total": np.log(_total_transverse_mass(lep, had, met) + 1.0),
        **_collinear(lep, had, met),
        "dphi_j1_higgs": np.where(one, np.abs(_wrapped(first.phi - np.arctan2(y, x))), 0.0),
    }


def _lepton_tau_met(columns: Columns) -> tuple[_Momentum, _Momentum, _Momentum]:
    lep, had = (_Momentum(*(columns[f"PRI_{part}_{what}"] for what in ("pt", "eta", "phi"))) for part in ("lep", "had"))
    met = columns["PRI_met"]
    return lep, had, _Momentum(met, np.zeros_like(met), columns["PRI_met_phi"])


def _jet(columns: Columns, name: str, there: Mask) -> _Momentum:
    """Where there is none, one at eta = phi = 0 with less than the threshold."""
    missing = {"pt": np.exp(LN_PT_MISSING), "eta": 0.0, "phi": 0.0}
    return _Momentum(*(np.where(there, columns[f"{name}_{what}"], value) for what, value in missing.items()))


def _wrapped(angle: Array) -> Array:
    return np.pi - np.mod(np.pi - angle, 2.0 * np.pi)  # to (-pi, pi]


def _delta_phi(a: _Momentum, b: _Momentum) -> Array:
    return _wrapped(a.phi - b.phi)


def _mass(a: _Momentum, b: _Momentum) -> Array:
    return np.sqrt(2.0 * a.pt * b.pt * (np.cosh(a.eta - b.eta) - np.cos(a.phi - b.phi)))


def _transverse_mass(a: _Momentum, b: _Momentum) -> Array:
    return np.sqrt(2.0 * a.pt * b.pt * (1.0 - np.cos(a.phi - b.phi)))


def _total_transverse_mass(*momenta: _Momentum) -> Array:
    """Of all of them together: the squares of those of their pairs add up."""
    return np.sqrt(np.sum([_transverse_mass(a, b) ** 2 for a, b in combinations(momenta, 2)], axis=0))


def _cross(a: _Momentum, b: _Momentum) -> Array:
    return a.pt * b.pt * np.sin(b.phi - a.phi)


def _two_jets(lep: _Momentum, first: _Momentum, second: _Momentum, two: Mask) -> Columns:
    apart = np.abs(first.eta - second.eta)
    width = np.where(apart > 0.0, apart, 0.01)
    centrality = np.exp(-4.0 * ((lep.eta - (first.eta + second.eta) / 2.0) / width) ** 2)
    return {
        "deta_jj": np.where(two, apart, 0.0),
        "ln_m_jj": np.log(np.where(two, _mass(first, second), np.exp(LN_MASS_MISSING))),
        "eta_product_jj": np.where(two, first.eta * second.eta, 0.0),
        "lep_centrality": np.where(two, centrality, CENTRALITY_MISSING),
    }


def _met_centrality(lep: _Momentum, had: _Momentum, met: _Momentum) -> Array:
    """sqrt(2) on the bisector of lepton and tau, 1 along one of them, less outside, -sqrt(2) opposite.

    With both back to back and the missing momentum along them it is not defined, and -sqrt(2).
    """
    side = np.sign(np.sin(had.phi - lep.phi))
    a, b = side * np.sin(met.phi - lep.phi), side * np.sin(had.phi - met.phi)
    norm = np.hypot(a, b)
    return np.where(norm > 0.0, (a + b) / np.where(norm > 0.0, norm, 1.0), -np.sqrt(2.0))


def _collinear(lep: _Momentum, had: _Momentum, met: _Momentum) -> Columns:
    """Mass and visible shares of both taus' momenta if the neutrinos fly along what is seen of them.

    The shares solve met = lep (1 / x_lep - 1) + had (1 / x_had - 1) in the transverse plane.  The mass is the smallest
    that is written where only one of them is negative.
    """
    both = _cross(lep, had)
    x_lep, x_had = (_share(both, both + more) for more in (_cross(met, had), _cross(lep, met)))
    product = x_lep * x_had
    smallest, largest = COLLINEAR_MASS
    squared = _mass(lep, had) ** 2 / np.where(np.abs(product) < 1e-9, 1e-9, product)
    return {
        "ln_m_collinear": np.log(np.sqrt(np.clip(squared, smallest**2, largest**2))),
        "x_lep": np.clip(x_lep, -LARGEST_FRACTION, LARGEST_FRACTION),
        "x_had": np.clip(x_had, -LARGEST_FRACTION, LARGEST_FRACTION),
    }


def _share(visible: Array, whole: Array) -> Array:
    return visible / np.where(whole == 0.0, np.finfo(float).eps, whole)
