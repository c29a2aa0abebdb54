"""The likelihood that tests of toys draw from."""

from __future__ import annotations

import models
import zfit

from hisigma_zfit.likelihood.nll import ExtendedNLL

INJECTED = 60.0
EVENTS = 5000


def likelihood(*, constraint=None, **options):
    model = models.model(n_sig=INJECTED, n_bkg=1500.0, **options)
    terms = []
    if constraint is not None:
        slope = next(p for p in model.get_params() if p.name == "p1")
        terms = [zfit.constraint.GaussianConstraint(slope, observation=constraint, sigma=0.2)]
    return ExtendedNLL(model, models.toy(model, seed=1), constraints=terms)
