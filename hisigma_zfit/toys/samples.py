"""Which sample stands for a likelihood: what Asimov sets and toys of any of them are made of."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING, Any

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, seed_for
from hisigma_zfit.likelihood.nll import ExtendedNLL
from hisigma_zfit.likelihood.protocol import LikelihoodSum
from hisigma_zfit.likelihood.ratio import RatioLikelihood
from hisigma_zfit.likelihood.ratio_loss import RatioLoss
from hisigma_zfit.toys.asimov import ImportanceSample
from hisigma_zfit.toys.joint import JointSample
from hisigma_zfit.toys.ratio import RatioSample

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.toys.source import Sample

__all__ = ["sample_of"]


@singledispatch
def sample_of(loss: Any, *, theta: Array | None = None, events: int = 50_000, seed: int = 0) -> Sample:
    """What the Asimov sets and toys of a likelihood are made of; other kinds of likelihoods register their own.

    Args:
        loss: The likelihood.
        theta: All parameters, shape (P,), near which hypotheses will be asked for; where fits start by default.
        events: Events of every component, where some are drawn.
        seed: Same seed, same events.

    Raises:
        InputError: This kind of likelihood has no pseudo-data.
    """
    del theta, events, seed
    raise InputError.from_parts(
        expected="an hz.ExtendedNLL, a TemplateLikelihood, a RatioLikelihood or a sum of such",
        got=type(loss).__name__,
        do="build the likelihood with one of them, or register its sample with sample_of.register",
    )


@sample_of.register(ExtendedNLL)
def _(loss: ExtendedNLL, *, theta: Array | None = None, events: int = 50_000, seed: int = 0) -> Sample:
    return ImportanceSample(loss, theta=theta, events=events, seed=seed)


@sample_of.register(RatioLikelihood)
def _(loss: RatioLikelihood, *, theta: Array | None = None, events: int = 0, seed: int = 0) -> Sample:
    del theta, events, seed
    return RatioSample.of(loss)


@sample_of.register(RatioLoss)
def _(loss: RatioLoss, *, theta: Array | None = None, events: int = 0, seed: int = 0) -> Sample:
    del theta, events, seed
    return RatioSample.of(loss.likelihood)


@sample_of.register(LikelihoodSum)
def _(loss: LikelihoodSum, *, theta: Array | None = None, events: int = 50_000, seed: int = 0) -> Sample:
    theta = loss.theta() if theta is None else theta
    samples = [
        sample_of(part, theta=theta[at], events=events, seed=seed_for(seed, Purpose.POOL, k))
        for k, (part, at) in enumerate(zip(loss.parts, loss.places, strict=True))
    ]
    return JointSample(loss, tuple(samples))
