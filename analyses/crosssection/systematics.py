"""The six nuisances of the HiggsML uncertainty challenge (arXiv:2410.02867): what each does to the columns of an event.

A shift function takes columns, its value and a generator, and returns new columns; a value of 0 is the nominal.  The
order is `tes`, `jes`, `soft_met`, and at the end, at the nominal too, `thresholds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hisigma_zfit.arrays import Array, Mask

    Columns = Mapping[str, Array]

__all__ = [
    "PRIMARY",
    "Nuisances",
    "draw_nuisances",
    "jes",
    "normalisations",
    "shifted",
    "soft_met",
    "tes",
    "thresholds",
]

MISSING = -25.0  # what the challenge writes for a jet that is not there
TAU_THRESHOLD, LEPTON_THRESHOLD, JET_THRESHOLD = 26.0, 20.0, 26.0  # GeV
DECIMALS = 3  # to which the challenge rounds before it applies the thresholds
LEADING, SUBLEADING = "PRI_jet_leading", "PRI_jet_subleading"
PRIMARY = (
    *(f"PRI_{part}_{what}" for part in ("lep", "had") for what in ("pt", "eta", "phi")),
    *(f"{jet}_{what}" for jet in (LEADING, SUBLEADING) for what in ("pt", "eta", "phi")),
    *("PRI_n_jets", "PRI_jet_all_pt", "PRI_met", "PRI_met_phi"),
)
"""The sixteen columns that are measured; everything else is made of them."""


def tes(columns: Columns, value: float, _rng: np.random.Generator | None = None) -> Columns:
    """Change the scale of the tau's energy.

    Args:
        columns: `PRIMARY`, energies in GeV, each of shape (n,).
        value: Relative change: 0.01 scales by 1.01.

    Returns:
        All columns; the missing momentum has taken the opposite change.
    """
    if value == 0.0:
        return columns
    pt = columns["PRI_had_pt"]
    recoil = _with_recoil(columns, [(value * pt, columns["PRI_had_phi"])])
    return {**columns, "PRI_had_pt": (1.0 + value) * pt, **recoil}


def jes(columns: Columns, value: float, _rng: np.random.Generator | None = None) -> Columns:
    """Change the scale of the jets' energies.

    The missing momentum takes the opposite change of the two leading jets only, although the sum of transverse momenta
    is that of all jets: so it is in the challenge.

    Args:
        columns: `PRIMARY`, energies in GeV, each of shape (n,).
        value: Relative change.
    """
    if value == 0.0:
        return columns
    changed = {"PRI_jet_all_pt": (1.0 + value) * columns["PRI_jet_all_pt"]}
    changes = []
    for count, jet in ((1, LEADING), (2, SUBLEADING)):
        pt, there = columns[f"{jet}_pt"], columns["PRI_n_jets"] >= count
        changed[f"{jet}_pt"] = np.where(there, (1.0 + value) * pt, pt)
        changes.append((np.where(there, value * pt, 0.0), columns[f"{jet}_phi"]))
    return {**columns, **changed, **_with_recoil(columns, changes)}


def soft_met(columns: Columns, value: float, rng: np.random.Generator | None = None) -> Columns:
    """Smear both components of the missing momentum.

    Args:
        columns: With the missing momentum, each of shape (n,).
        value: Standard deviation in GeV; at the nominal, 0, nothing is drawn.
        rng: Gives 2 n normal numbers whatever the value, so that a generator of the same seed smears a row alike at
            every value.

    Raises:
        ValueError: The width is negative, or there is no generator.
    """
    if value == 0.0:
        return columns
    if value < 0.0 or rng is None:
        raise ValueError(f"a smearing needs a positive width and a generator, got {value} and {rng}")
    x, y = value * rng.standard_normal((2, len(columns["PRI_met"])))
    return {**columns, **_polar(_along(columns, np.cos) + x, _along(columns, np.sin) + y)}


def thresholds(columns: Columns, _value: float = 0.0, _rng: np.random.Generator | None = None) -> tuple[Columns, Mask]:
    """Round, forget jets below the threshold and say which events stay.

    The subleading jet is forgotten before the leading one; an event is dropped with its tau or its lepton.

    Args:
        columns: `PRIMARY`, each of shape (n,).

    Returns:
        The columns of all n events, and which of them stay, boolean of shape (n,).
    """
    new = {
        name: values.round(DECIMALS) if name in PRIMARY and name != "PRI_n_jets" else values
        for name, values in columns.items()
    }
    for jet in (SUBLEADING, LEADING):
        pt = new[f"{jet}_pt"]
        forgotten = (pt >= 0.0) & (pt <= JET_THRESHOLD)
        new["PRI_jet_all_pt"] = new["PRI_jet_all_pt"] - np.where(forgotten, pt, 0.0)
        new["PRI_n_jets"] = new["PRI_n_jets"] - forgotten
        for what in ("pt", "eta", "phi"):
            new[f"{jet}_{what}"] = np.where(forgotten, MISSING, new[f"{jet}_{what}"])
    return new, (new["PRI_had_pt"] >= TAU_THRESHOLD) & (new["PRI_lep_pt"] >= LEPTON_THRESHOLD)


@dataclass(frozen=True)
class Nuisances:
    """Values of the six nuisances; all zero is the nominal.

    Attributes:
        tes: Relative change of the tau's energy scale.
        jes: Relative change of the jets' energy scale.
        soft_met: Smearing of the missing momentum in GeV.
        ttbar: Relative change of the yield of top pairs.
        diboson: Relative change of the yield of dibosons.
        bkg: Relative change of the yield of all backgrounds.
    """

    tes: float = 0.0
    jes: float = 0.0
    soft_met: float = 0.0
    ttbar: float = 0.0
    diboson: float = 0.0
    bkg: float = 0.0


def shifted(columns: Columns, nuisances: Nuisances, rng: np.random.Generator | None = None) -> tuple[Columns, Mask]:
    """All shifts in their order, then the thresholds.

    Args:
        columns: `PRIMARY`, each of shape (n,).
        nuisances: Of which the first three move events.
        rng: Needed where the missing momentum is smeared.

    Returns:
        As `thresholds`.
    """
    columns = jes(tes(columns, nuisances.tes), nuisances.jes)
    return thresholds(soft_met(columns, nuisances.soft_met, rng))


def normalisations(nuisances: Nuisances, mu: float = 1.0) -> dict[str, float]:
    """Factors on the yields of the four processes."""
    bkg = 1.0 + nuisances.bkg
    return {
        "htautau": mu,
        "ztautau": bkg,
        "ttbar": bkg * (1.0 + nuisances.ttbar),
        "diboson": bkg * (1.0 + nuisances.diboson),
    }


def draw_nuisances(rng: np.random.Generator) -> Nuisances:
    """Draw all six from the challenge's priors, with its limits."""
    return Nuisances(
        tes=float(np.clip(0.01 * rng.standard_normal(), -0.1, 0.1)),
        jes=float(np.clip(0.01 * rng.standard_normal(), -0.1, 0.1)),
        soft_met=float(np.clip(rng.lognormal(0.0, 1.0), 0.0, 5.0)),
        ttbar=float(np.clip(0.02 * rng.standard_normal(), -0.2, 0.2)),
        diboson=float(np.clip(0.25 * rng.standard_normal(), -1.0, 1.0)),
        bkg=float(np.clip(0.001 * rng.standard_normal(), -0.01, 0.01)),
    )


def _along(columns: Columns, direction: np.ufunc) -> Array:
    return columns["PRI_met"] * direction(columns["PRI_met_phi"])


def _with_recoil(columns: Columns, changes: Iterable[tuple[Array, Array]]) -> dict[str, Array]:
    """Missing momentum after others have changed by these amounts in these directions."""
    x, y = _along(columns, np.cos), _along(columns, np.sin)
    for change, phi in changes:
        x, y = x - change * np.cos(phi), y - change * np.sin(phi)
    return _polar(x, y)


def _polar(x: Array, y: Array) -> dict[str, Array]:
    return {"PRI_met": np.hypot(x, y), "PRI_met_phi": np.arctan2(y, x)}
