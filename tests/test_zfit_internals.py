"""Names of zfit that are not its public interface: one test each, which says what a new version of zfit changed."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import zfit
from zfit.z import random

from hisigma_zfit import zfit_internals

PACKAGE = Path(zfit_internals.__file__).parent

# the class that has the method, its name, and the arguments that the package passes or takes
METHODS = [
    (zfit.loss.ExtendedUnbinnedNLL, "_input_check_params", ["params", "only_independent"]),
    (zfit.loss.ExtendedUnbinnedNLL, "_check_set_input_params", ["params", "guarantee_checked"]),
    (zfit.result.FitResult, "_covariance", ["method", "weightcorr"]),
]
# attributes of FitResult that decide where errors come from, and their types
ATTRIBUTES = [("_default_hesse", str), ("_default_error", str), ("_error_methods", dict)]
PRIVATE = [name for _, name, _ in METHODS] + [name for name, _ in ATTRIBUTES] + ["_loss_func", "get_prng"]


def changed(owner: type, name: str, what: str) -> str:
    return f"zfit {zfit.__version__}: {owner.__name__}.{name} {what}; see hisigma_zfit/zfit_internals.py"


@pytest.mark.parametrize(("owner", "name", "arguments"), METHODS, ids=str)
def test_zfit_has_the_method(owner, name, arguments):
    assert callable(getattr(owner, name, None)), changed(owner, name, "is gone")
    there = list(inspect.signature(getattr(owner, name)).parameters)
    assert there[1 : 1 + len(arguments)] == arguments, changed(owner, name, f"takes {there[1:]}, not {arguments}")


@pytest.mark.parametrize(("name", "kind"), ATTRIBUTES)
def test_zfit_results_have_the_attribute(name, kind):
    owner = zfit.result.FitResult
    assert isinstance(getattr(owner, name, None), kind), changed(owner, name, f"is no {kind.__name__} any more")


def test_zfit_calls_a_method_of_errors_with_result_params_and_cl():
    for name, method in zfit.result.FitResult._error_methods.items():
        there = set(inspect.signature(method).parameters)
        assert there >= {"result", "params", "cl"}, changed(
            zfit.result.FitResult, f"_error_methods[{name!r}]", "differs"
        )


def test_zfit_has_one_generator_that_its_seed_decides():
    assert callable(getattr(random, "get_prng", None)), "zfit.z.random.get_prng is gone; see random_seed"
    zfit.settings.set_seed(5)
    first = [int(zfit_internals.random_seed()) for _ in range(3)]
    zfit.settings.set_seed(5)
    assert [int(zfit_internals.random_seed()) for _ in range(3)] == first
    assert len(set(first)) == 3
    assert min(first) >= 0


@pytest.mark.parametrize("name", PRIVATE)
def test_the_name_stands_in_one_file(name):
    assert [path.name for path in PACKAGE.rglob("*.py") if name in path.read_text()] == ["zfit_internals.py"]


class Parabola(zfit_internals.OpenLoss):
    """Twice the square of its parameters' sum plus the constraints, whatever the data are."""

    def traced_value(self, constraints, *, with_constant):
        total = 2.0 * tf.reduce_sum([p.value() for p in self.get_params()]) ** 2 + (1000.0 if with_constant else 0.0)
        return total + sum(c.value() for c in constraints)


@pytest.fixture(scope="module")
def parabola():
    obs = zfit.Space("x", -1, 1)
    n = zfit.Parameter("n", 3.0, -10, 10)
    pdf = zfit.pdf.Uniform(-1, 1, obs=obs, extended=n)
    held = zfit.constraint.GaussianConstraint(n, observation=3.0, sigma=1.0)
    return Parabola(pdf, zfit.Data.from_numpy(obs=obs, array=np.zeros(4)), constraints=[held]), n


class Ramp(zfit.pdf.BasePDF):
    """The density x / 2 between 0 and 2, by the methods that zfit documents for subclasses, all of them."""

    def __init__(self):
        super().__init__(obs=zfit.Space("x", 0, 2), name="ramp")
        self.called = set()

    @zfit.supports(norm=True, multiple_limits=True)
    def _pdf(self, x, norm):
        self.called.add("_pdf")
        return x["x"] / 2

    @zfit.supports(norm=True, multiple_limits=True)
    def _integrate(self, limits, norm, options=None):
        self.called.add("_integrate")
        return [(limits.v1.upper**2 - limits.v1.lower**2) / 4]

    @zfit.supports(multiple_limits=True)
    def _sample(self, n, limits):
        self.called.add("_sample")
        return tf.fill([n, 1], tf.constant(1.25, tf.float64))


CALLS = {
    "_pdf": (lambda pdf: pdf.pdf([0.5, 1.0]), [0.25, 0.5]),
    "_integrate": (lambda pdf: pdf.integrate((0, 1)), [0.25]),
    "_sample": (lambda pdf: pdf.sample(2).value()[:, 0], [1.25, 1.25]),
}


@pytest.mark.parametrize("hook", CALLS)
def test_zfit_asks_the_pdf(hook):
    pdf, (call, expected) = Ramp(), CALLS[hook]
    np.testing.assert_allclose(call(pdf), expected)
    assert hook in pdf.called, f"zfit {zfit.__version__} does not call {hook} of a PDF; see hisigma_zfit/model/pdfs.py"


class Resting(zfit.minimize.BaseMinimizer):
    """Stays where it starts."""

    @zfit.minimize.minimize_supports(init=False)
    def _minimize(self, loss, params, init):
        return zfit.result.FitResult(
            loss=loss,
            params={p: float(p.value()) for p in params},
            minimizer=self,
            valid=True,
            converged=True,
            edm=0.0,
            fminopt=float(loss.value()),
            criterion=None,
        )


def test_zfit_asks_the_minimiser(parabola):
    loss, n = parabola
    result = Resting().minimize(loss)
    assert result.minimizer.__class__ is Resting, f"zfit {zfit.__version__} does not call _minimize"
    assert result.params[n]["value"] == 3.0


def test_zfit_asks_the_loss_for_its_traced_value(parabola):
    loss, n = parabola
    constraint = 0.5 * np.log(2 * np.pi)
    assert float(loss.value(full=True)) == pytest.approx(18.0 + 1000.0 + constraint)
    assert float(loss.value(full=False)) == pytest.approx(18.0 + constraint)
    assert float(loss.gradient([n], numgrad=False)[0]) == pytest.approx(12.0)


def test_values_are_set_only_inside_of_the_block(parabola):
    loss, n = parabola
    for values in ({n: 5.0}, {"n": 5.0}, [5.0]):
        with loss.values_set(values):
            assert float(n.value()) == 5.0
        assert float(n.value()) == 3.0
    with loss.values_set(None):
        assert float(n.value()) == 3.0


def test_parameters_of_other_losses_are_refused(parabola):
    loss, n = parabola
    assert loss.independent_params(None) == (n,)
    assert loss.independent_params(n) == (n,)
    with pytest.raises(ValueError, match="not in the model"):
        loss.independent_params([zfit.Parameter("elsewhere", 0.0)])


def test_errors_of_a_result_come_from_where_its_class_says(parabola):
    loss, n = parabola

    def fixed(result, params, cl):
        return {p: {"lower": -0.25, "upper": 0.5, "cl": cl} for p in params}, None

    class Result(zfit_internals.OpenResult, hesse="hesse_np", error="fixed", methods={"fixed": fixed}):
        """Errors that nothing computes."""

    assert "fixed" not in zfit.result.FitResult._error_methods
    minimizer = Resting()
    at = {n: 2.5}
    result = Result(loss, at, minimizer, valid=True, converged=True, edm=0.0, fminopt=0.0, criterion=None)
    assert result.errors()[0][n] == {"lower": -0.25, "upper": 0.5, "cl": 0.683}
    # the second derivative is 4 of the parabola and 1 of the constraint
    assert result.hesse(name="hesse")[n]["error"] == pytest.approx(np.sqrt(1 / 5), rel=1e-4)
