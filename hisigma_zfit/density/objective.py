"""What the training of a density maximises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf

    from hisigma_zfit.density.base import FlowConfig

__all__ = ["LogDensity"]


@dataclass(frozen=True)
class LogDensity:
    """log p(x'|m) on the unit cube: maximum likelihood.

    Attributes:
        config: Recipe of the nets.
    """

    config: FlowConfig

    @property
    def xla(self) -> bool:
        """Whether XLA can compile `log_likelihood`."""
        return self.config.xla

    def log_likelihood(self, parameters: tf.Tensor, events: Any) -> tf.Tensor:
        """Of events that `FlowConfig.prepare` prepared, shape (E, n)."""
        return self.config.log_prob(parameters, events)
