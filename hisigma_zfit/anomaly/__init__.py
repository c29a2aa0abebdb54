"""The task `search`: an unknown resonance in a window of the mass, by lumps over a learned background.

System of arXiv:2506.00119; `hisigma_zfit.inference.search` has the statistics, this package the files, the options and
the run folder.
"""

from __future__ import annotations

from typing import Any

__all__ = ["load_search", "search"]  # noqa: F822 - found by __getattr__


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hisigma_zfit.anomaly import pipeline, stored  # not at once: the command line's parser needs the options only

    return pipeline.search if name == "search" else stored.load_search
