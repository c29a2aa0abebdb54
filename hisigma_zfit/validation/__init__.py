"""The task `validate`: may the measurement of these files be believed?  Answered without the signal region's data.

Nobody knows the truth of data, but three things can be looked at before they are unblinded:

=================  ============================================  ===============================================
question           what is trained again and fitted              what it sees, and what not
=================  ============================================  ===============================================
windows            the sidebands' data around a pseudo-signal    everything that is wrong for these data, but
                   region, which is hidden from the training     only where it exceeds their statistical error
injection          pseudo-experiments from the fitted sideband   bias and spread by the training and the
                   model, with simulated signal added            response to signal, with the data's noise
                                                                 cancelled; not what the model itself cannot be
contamination      the same with the signal's events taken out   what signal in the sidebands does
                   of the training
stability          a window with another seed, length or kind    whether the answer hangs on the recipe
                   of training
=================  ============================================  ===============================================
"""

from __future__ import annotations

from typing import Any

__all__ = ["load_validation", "validate"]  # noqa: F822 - found by __getattr__


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hisigma_zfit.validation import pipeline  # not at once: the command line's parser needs the options only

    return getattr(pipeline, name)
