"""Generic fast evaluation: any zfit mass shape and any composed yield, compiled by XLA."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import zfit
import zfit.z.numpy as znp

from hisigma_zfit.errors import InputError
from hisigma_zfit.likelihood.evaluate import Evaluation, typical_weight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array
    from hisigma_zfit.likelihood.cached import Columns
    from hisigma_zfit.model.terms import Term

__all__ = ["MOVING", "ConstraintEvaluator", "GraphEvaluator", "log_density", "morph_inputs"]


def log_density(terms: Sequence[Term], m: Any, ratio: Any, morphs: Any = None) -> tuple[Any, Any]:
    """Sum of yields and log sum_k y_k ratio_k W_k f_k(m), as TensorFlow operations on zfit parameters.

    Args:
        terms: Components of the model.
        m: Masses, shape (n,), or None where no term has a mass.
        ratio: See `Columns`, shape (K, n).
        morphs: Columns and basis of `MorphColumns` for every component with variations, else None.

    Returns:
        A scalar, and shape (n,).
    """
    if morphs is None:
        if any(term.morph is not None for term in terms):
            raise InputError.from_parts(
                expected="the columns of the variations", got="none", do="pass morph_inputs(columns) as morphs"
            )
        morphs = [None] * len(terms)
    expected, density = znp.asarray(0.0), znp.zeros_like(ratio[0])
    for k, term in enumerate(terms):
        size = znp.asarray(term.extended.value())
        expected += size
        contribution = size * ratio[k]
        if term.morph is not None:
            contribution *= term.morph.weight_in_graph(*morphs[k])
        if not term.frozen:
            contribution *= term.mass.pdf(zfit.Data.from_tensor(obs=term.mass.obs, tensor=m[:, None]))
        density += contribution
    return expected, znp.log(density)


def morph_inputs(columns: Columns) -> list[Any]:
    """What `log_density` takes for the variations of a data set."""
    return [None if morph is None else (list(morph.columns), morph.basis) for morph in columns.morphs]


# Held while the parameters of a likelihood have other values for a while, and while they are read: threads share them.
MOVING = threading.RLock()


class _ThroughParameters:
    """Differentiates a function of zfit parameters with respect to a plain vector.

    The parameters are assigned inside the compiled function, so one trace serves every point, and put back at its end.
    """

    def __init__(self, function: Any, parameters: tuple[Any, ...], *, jit: bool) -> None:
        def assign(theta: Any) -> list[Any]:
            before = [tf.identity(parameter.value()) for parameter in parameters]
            for k, parameter in enumerate(parameters):
                parameter.assign(theta[k])
            return before

        def value(theta: Any, *arguments: Any) -> Any:
            before = assign(theta)
            result = function(*arguments)
            assign(before)
            return result

        def mixed(theta: Any, first: Any, *arguments: Any) -> Any:
            before = assign(theta)
            with tf.GradientTape() as outer:
                outer.watch(first)
                with tf.GradientTape() as inner:
                    result = function(first, *arguments)
                slopes = inner.gradient(result, parameters)
                found = [k for k, slope in enumerate(slopes) if slope is not None]
                gradient = tf.stack([slopes[k] for k in found])
            rows = outer.jacobian(gradient, first, unconnected_gradients="zero")
            assign(before)
            return tf.matmul(tf.constant(np.eye(len(parameters))[:, found]), rows)

        def derivatives(theta: Any, *arguments: Any) -> Any:
            before = assign(theta)
            with tf.GradientTape() as outer:
                with tf.GradientTape() as inner:
                    result = function(*arguments)
                slopes = inner.gradient(result, parameters)
                # many parameters are often those of frozen shapes, which are not in the graph
                found = [k for k, slope in enumerate(slopes) if slope is not None]
                gradient = tf.stack([slopes[k] for k in found])
            # jacobian goes once through the graph for all rows: a loop over them would trace and compile P such graphs
            columns = outer.jacobian(gradient, [parameters[k] for k in found], unconnected_gradients="zero")
            assign(before)
            place = tf.constant(np.eye(len(parameters))[:, found])
            hessian = tf.matmul(place, tf.matmul(tf.stack(columns, axis=1), place, transpose_b=True))
            return result, tf.linalg.matvec(place, gradient), hessian

        self._value = tf.function(value, jit_compile=jit, autograph=False)
        self._derivatives = tf.function(derivatives, jit_compile=jit, autograph=False)
        self._mixed = tf.function(mixed, autograph=False)  # asked for once in a fit: compiling it takes longer

    def value(self, theta: Array, *arguments: Any) -> float:
        """The function's value at `theta`; inf instead of NaN."""
        with MOVING:
            result = float(self._value(tf.constant(theta, tf.float64), *arguments))
        return result if np.isfinite(result) else np.inf

    def evaluate(self, theta: Array, *arguments: Any) -> Evaluation:
        """Value, gradient and Hessian at `theta`."""
        with MOVING:
            result, gradient, hessian = self._derivatives(tf.constant(theta, tf.float64), *arguments)
        value = float(result)
        return Evaluation(value if np.isfinite(value) else np.inf, gradient.numpy(), hessian.numpy())

    def mixed(self, theta: Array, *arguments: Any) -> Array:
        """Second derivatives with respect to `theta` and the first argument of shape (n,), shape (P, n)."""
        with MOVING:
            found: Array = self._mixed(tf.constant(theta, tf.float64), *arguments).numpy()
        return found


class GraphEvaluator:
    """Generic path for one data set.

    Columns are padded to a capacity with some room, so that toys of other sizes do not compile again.

    Args:
        terms: Components of the model.
        columns: The data set.
        parameters: All parameters, P of them.
        jit: Compile with XLA.
    """

    def __init__(
        self, terms: Sequence[Term], columns: Columns, parameters: tuple[Any, ...], *, jit: bool = True
    ) -> None:
        self._capacity = 0
        self._columns: tuple[Any, Any, Any, Any]

        def negative_log_likelihood(weights: Any, m: Any, ratio: Any, morphs: Any) -> Any:
            expected, logs = log_density(terms, m, ratio, morphs)
            # where: a padded event has weight zero, and zero times minus infinity is not zero
            return expected - znp.sum(tf.where(weights == 0.0, tf.zeros_like(logs), weights * logs))

        self._function = _ThroughParameters(negative_log_likelihood, parameters, jit=jit)
        self.load(columns)

    def load(self, columns: Columns) -> None:
        """Replace the data set."""
        n = columns.size
        if n == 0:  # a toy without events: those of before, with no weight
            weights, *others = self._columns
            self._columns = (tf.zeros_like(weights), *others)
            return
        if n > self._capacity:
            self._capacity = int(n + 6 * np.sqrt(n))
        pad = self._capacity - n
        weights = np.ones(n) if columns.weights is None else columns.weights

        def padded(array: Array) -> Any:
            # padded events repeat a real one: it is inside the range of every shape
            return tf.constant(np.pad(array, (*[(0, 0)] * (array.ndim - 1), (0, pad)), mode="edge"))

        self._columns = (
            tf.constant(np.pad(weights, (0, pad))),
            None if columns.mass is None else padded(columns.mass),
            padded(columns.ratio),
            [None if morph is None else tf.nest.map_structure(padded, morph) for morph in morph_inputs(columns)],
        )

    def value(self, theta: Array) -> float:
        """-log L at `theta`, shape (P,); inf where the density is not positive."""
        return self._function.value(theta, *self._columns)

    def evaluate(self, theta: Array) -> Evaluation:
        """-log L, gradient and Hessian at `theta`, shape (P,)."""
        return self._function.evaluate(theta, *self._columns)

    def scatter(self, theta: Array) -> Array:
        """See `WeightedEvaluator`."""
        weights = self._columns[0].numpy()
        typical = typical_weight(weights)
        scores = self._function.mixed(theta, *self._columns)  # -log L is linear in the weights
        return typical * self.evaluate(theta).hessian + (scores * (weights * (weights - typical))) @ scores.T


class ConstraintEvaluator:
    """Sum of zfit constraints with its derivatives.

    Args:
        constraints: zfit constraints.
        parameters: All parameters, P of them.
    """

    def __init__(self, constraints: Sequence[Any], parameters: tuple[Any, ...]) -> None:
        self._function = _ThroughParameters(
            lambda: znp.sum([constraint.value() for constraint in constraints]), parameters, jit=False
        )

    def value(self, theta: Array) -> float:
        """Sum of the constraints' -log L at `theta`, shape (P,)."""
        return self._function.value(theta)

    def evaluate(self, theta: Array) -> Evaluation:
        """The same with gradient and Hessian."""
        return self._function.evaluate(theta)
