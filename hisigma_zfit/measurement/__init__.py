"""The task `measure`: from files to a measurement in a run folder."""

from __future__ import annotations

from typing import Any

__all__ = ["load_model", "load_models", "measure"]  # noqa: F822 - found by __getattr__


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hisigma_zfit.measurement import pipeline  # not at once: the command line's parser needs the options only

    return getattr(pipeline, name)
