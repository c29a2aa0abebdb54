"""Events drawn from a whole extended model, exact also where some of its yields are negative."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import zfit

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, stream
from hisigma_zfit.likelihood.columns import build_columns, components, terms_of
from hisigma_zfit.model import shapes
from hisigma_zfit.model.shapes import sample_mass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.likelihood.columns import Term
    from hisigma_zfit.model.compose import SignalPlusBackground

__all__ = ["sample_sum"]


_log = logging.getLogger(__name__)


def sample_sum(model: SignalPlusBackground, n: int, *, seed: int) -> Array:
    """Draw events of the model at its parameters' current values, nuisances included.

    A component with a negative yield cannot be drawn from.  The positive ones then make the proposal, and an event is
    kept with probability (sum of all) / (sum of the positive), which is at most one.

    Args:
        model: Extended sum of densities.
        n: Number of events; the components share them at random.
        seed: Same seed, same sample.

    Returns:
        Shape (n, d), columns in the order of ``model.obs``.

    Raises:
        InputError: The sum of the yields is not positive.
    """
    terms = terms_of(model)
    yields = np.array([np.squeeze(term.extended.value()).item() for term in terms])
    if not yields.sum() > 0:
        raise InputError.from_parts(
            expected="a positive sum of yields", got=f"{yields.sum():.4g}", do="set the parameters first"
        )
    proposal = np.maximum(yields, 0.0)
    kept: list[Array] = []
    missing = n
    for attempt in range(1000):
        rng = stream(seed, Purpose.PSEUDO_DATA, attempt)
        wanted = missing
        if proposal.sum() > yields.sum():  # some are rejected: one round should nearly do
            wanted = int(1.05 * missing * proposal.sum() / yields.sum()) + 10
        events = _draw(model, terms, rng.multinomial(wanted, proposal / proposal.sum()), rng)
        if proposal.sum() > yields.sum():
            share = _share(model, terms, yields, events)
            if (share < 0).any():
                _log.warning("the density is negative at %d of %d proposed events", int((share < 0).sum()), wanted)
            events = events[rng.random(len(events)) < share]
        kept.append(events[:missing])
        missing -= len(kept[-1])
        if missing == 0:
            return np.concatenate(kept)
    raise InputError.from_parts(
        expected="positive yields that outweigh the negative ones",
        got=", ".join(f"{y:.4g}" for y in yields),
        do="set the parameters to values where the sum is a density",
    )


def _draw(
    model: SignalPlusBackground, terms: Sequence[Term], counts: npt.NDArray[np.int64], rng: np.random.Generator
) -> Array:
    """So many events of each component, at the nuisances' values, in random order."""
    parts = []
    for pdf, term, count in zip(components(model), terms, counts, strict=True):
        m = sample_mass(term.mass, int(count), rng)
        columns = {term.mass.obs[0]: m}
        if term.features:
            x = pdf.sample_features(m, seed=int(rng.integers(2**31)))
            columns |= dict(zip(term.features, x.T, strict=True))
        parts.append(np.stack([columns[name] for name in model.obs], axis=1))
    return rng.permutation(np.concatenate(parts))


def _share(model: SignalPlusBackground, terms: Sequence[Term], yields: Array, events: Array) -> Array:
    """Density of the sum over that of its positive terms, shape (n,)."""
    columns = build_columns(terms, zfit.Data.from_numpy(obs=model.space, array=events))
    densities = columns.ratio
    for k, (term, morph) in enumerate(zip(terms, columns.morphs, strict=True)):
        if not term.frozen:
            densities[k] *= shapes.evaluate(term.mass, columns.masses)
        if term.morph is not None and morph is not None:
            nu = np.array([float(nuisance.value()) for nuisance in term.morph.nuisances])
            densities[k] *= term.morph.form.weights(morph, nu).value(slice(None))
    share: Array = (yields @ densities) / (np.maximum(yields, 0.0) @ densities)
    return share
