"""What a training maximises: handed to the optimiser, which knows neither densities nor ratios.

An objective is a frozen, hashable recipe: the compiled training step is kept by it.  It looks at a whole stack of
members at once, because that is what makes them cheap.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["Objective"]


class Objective(Hashable, Protocol):
    """Log-likelihood of every event under every member of a stack.

    A density has log p(x'|m); a density ratio the log-probability of the event's class; a mixture with a known part
    takes the known density as one more column of the events.
    """

    @property
    def xla(self) -> bool:
        """Whether XLA can compile `log_likelihood`."""

    def log_likelihood(self, parameters: tf.Tensor, events: Any) -> tf.Tensor:
        """Before event weights, shape (E, n).

        Args:
            parameters: Of the members, shape (E, P).
            events: Arrays of n events, as the objective's own preparation made them.
        """
