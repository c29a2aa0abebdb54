"""Systematic variations with exactly known densities that several test modules share.

The densities are Gaussians whose means move with the nuisance: with p_f / p_0 = exp(d x - d^2 / 2) the integrals are
one-dimensional.
"""

from __future__ import annotations

import functools

import models
import numpy as np
import tensorflow as tf
import zfit
from scipy.stats import norm

from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.morphing import Morph
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.shapes import sample_mass
from hisigma_zfit.model.systematics import ShapeVariation

SHIFT = 0.3  # of a background feature by one standard deviation of its nuisance, in units of its width
FORMS = ["polyexp", "quadratic"]


@functools.cache  # every flow is compiled once
def background(nu=0.0, feature=0, shift=SHIFT):
    mean = np.zeros(4)
    mean[feature] += shift * nu
    return models.gaussian_flow(mean, 0.5, 1.0, region=models.REGION)


@functools.cache
def signal(nu=0.0, feature=0):
    mean = np.array([0.8, 0.7, -0.6, 0.5])
    mean[feature] += 0.2 * nu
    return models.gaussian_flow(mean, 0.1, 0.8)


def varied(density, parameter, feature=0, form="polyexp"):
    return ShapeVariation(parameter, density(1.0, feature), density(-1.0, feature), form=form)


def make(parameters, *, form="polyexp", sidebands="mass-only", n_sig=200.0, n_bkg=8000.0, samples=20_000, poi=None):
    """Signal and background that share all nuisances; the j-th moves feature j of both."""
    parts = []
    for density, mass in ((signal, models.peak()), (background, models.falling())):
        variations = [varied(density, p, feature, form) for feature, p in enumerate(parameters)]
        morph = Morph(density(), variations, mass=mass, samples=samples)
        parts.append(FlowProductPDF(mass, density(), morph=morph))
    return signal_plus_background(
        *parts,
        poi=poi or zfit.Parameter("n_sig", n_sig),
        yields=[zfit.Parameter("n_bkg", n_bkg, 0.0)],
        sidebands=sidebands,
    )


def sample(model, *, seed):
    """Independent events, of each component a Poisson number, at the nuisances' current values."""
    parts = []
    for k, pdf in enumerate(model.pdfs):
        rng = np.random.default_rng([seed, k])
        m = sample_mass(pdf.mass, rng.poisson(float(pdf.get_yield().value())), rng)
        columns = {"m": m} | dict(zip(pdf.flow.features, pdf.sample_features(m, seed=seed + k).T, strict=True))
        parts.append(np.stack([columns[name] for name in model.obs], axis=1))
    return zfit.Data.from_numpy(obs=model.space, array=np.concatenate(parts))


def assert_same_as_zfit(loss, model, data, wanted):
    """Value, gradient and Hessian against zfit's own loss; eagerly, because tracing it takes a minute."""
    with zfit.run.set_graph_mode(False):
        theirs = zfit.loss.ExtendedUnbinnedNLL(model, data, constraints=list(model.constraints))
        with tf.GradientTape(persistent=True) as outer:
            with tf.GradientTape() as inner:
                value = theirs.value(full=True)
            gradient = tf.stack(inner.gradient(value, wanted))
        hessian = np.array(outer.jacobian(gradient, wanted, experimental_use_pfor=False))
    scale = np.sqrt(np.abs(np.diag(hessian)))
    np.testing.assert_allclose(loss.value(full=True), value, rtol=1e-9)
    np.testing.assert_allclose(loss.gradient(wanted) / scale, gradient / scale, atol=1e-8)
    scales = np.outer(scale, scale)
    np.testing.assert_allclose(loss.hessian(wanted) / scales, hessian / scales, atol=1e-8)


def integral(morph, nu, mass):
    """Integral over the features of p(x'|m) W(x', m, nu) where only feature 0 is varied."""
    centre = 0.5 * (mass - 135.0) / 45.0
    a = np.linspace(centre - 10.0, centre + 10.0, 4001)
    x = np.full((a.size, 4), centre)
    x[:, 0] = a
    m = np.full(a.size, mass)
    density = norm.pdf(a, centre)
    columns = morph.columns(x, m, morph.flow.log_prob_array(x, m))
    return np.trapezoid(density * morph.weights(columns, np.asarray(nu, dtype=float)).value(slice(None)), a)
