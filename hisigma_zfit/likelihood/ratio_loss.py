"""The likelihood of learned ratios as a zfit loss, for zfit's minimisers and hepstats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zfit

from hisigma_zfit.errors import InputError
from hisigma_zfit.likelihood.protocol import add
from hisigma_zfit.likelihood.ratio import RatioLikelihood

if TYPE_CHECKING:
    from hisigma_zfit.arrays import Array
    from hisigma_zfit.likelihood.auxiliary import AuxiliaryData
    from hisigma_zfit.likelihood.evaluate import Evaluation, Evaluator
    from hisigma_zfit.likelihood.protocol import Likelihood

__all__ = ["RatioLoss"]


class RatioLoss(zfit.loss.SimpleLoss):
    """A `RatioLikelihood` as a zfit loss, with its own gradient and Hessian; a `Likelihood` as well.

    It has no zfit model and data: what zfit and hepstats make of these goes through the samples of this package.

    Args:
        likelihood: The likelihood.  Parameters that are plain become zfit parameters of the same name, which start
            where its fits start; zfit parameters stay themselves.

    Attributes:
        likelihood: The same likelihood with zfit parameters.
        parameters: zfit parameters, T of them.

    Raises:
        InputError: It is no `RatioLikelihood`.
    """

    def __init__(self, likelihood: RatioLikelihood) -> None:
        if not isinstance(likelihood, RatioLikelihood):
            raise InputError.from_parts(
                expected="a RatioLikelihood",
                got=type(likelihood).__name__,
                do="build it of a structure and its columns",
            )
        own = {}
        for parameter, start in zip(likelihood.parameters, likelihood.theta().tolist(), strict=True):
            plain = not isinstance(parameter, zfit.param.Parameter)
            name = str(parameter.name)
            own[name] = zfit.Parameter(name, start, parameter.lower, parameter.upper) if plain else parameter
            if plain:
                own[name].floating = parameter.floating
        self.likelihood = likelihood.with_parameters(own)
        self.parameters = self.likelihood.parameters
        self._known: tuple[bytes, Evaluation] | None = None
        super().__init__(
            func=lambda _: self._at_current().value,
            params=list(self.parameters),
            errordef=0.5,
            gradient=lambda params: self._at_current().gradient[self._places(params)],
            hessian=lambda params: self._at_current().hessian[np.ix_(*[self._places(params)] * 2)],
        )

    def _at_current(self) -> Evaluation:
        """At the parameters' values; value and gradient, for which zfit asks apart, cost one evaluation."""
        theta = self.likelihood.theta()
        key = theta.tobytes()
        if self._known is None or self._known[0] != key:
            self._known = key, self.likelihood.evaluate(theta)
        return self._known[1]

    def _places(self, params: Any) -> list[int]:
        names = [p.name for p in self.parameters]
        return [names.index(p.name) for p in params]

    @property
    def auxiliary(self) -> AuxiliaryData:
        """Measurements behind the constraints; see `protocol.measured_in`."""
        return self.likelihood.auxiliary

    @property
    def yields(self) -> tuple[str, ...]:
        """See `protocol.yields_in`."""
        return self.likelihood.yields

    def theta(self) -> Array:
        """Current values of `parameters`, shape (T,)."""
        return self.likelihood.theta()

    def evaluator(self, *, around: Array | None = None) -> Evaluator:
        """See `Likelihood`."""
        return self.likelihood.evaluator(around=around)

    def data_constant(self) -> float:
        """See `Likelihood`."""
        return self.likelihood.data_constant()

    def create_new(self, *args: Any, **kwargs: Any) -> Any:
        """The same again, or a zfit SimpleLoss of another function; see zfit.loss."""
        if not (args or kwargs):
            return RatioLoss(self.likelihood)
        defaults = {"func": lambda _: self._at_current().value, "params": self.parameters, "errordef": 0.5}
        return zfit.loss.SimpleLoss(*args, **(dict(list(defaults.items())[len(args) :]) | kwargs))

    def __add__(self, other: Any) -> Likelihood:
        """A sum of likelihoods, as `RatioLikelihood` makes it."""
        return add(self.likelihood, getattr(other, "likelihood", other))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.likelihood!r})"

    def _repr_html_(self) -> str:
        return self.likelihood._repr_html_()
