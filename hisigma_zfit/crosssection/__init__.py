"""The task `cross-section`: a signal strength from unbinned events, with systematic variations that are learned.

System of arXiv:2505.05544; `hisigma_zfit.ratio` learns, `hisigma_zfit.likelihood.ratio` has the likelihood, this
package the files, the options, the regions and the run folder.
"""

from __future__ import annotations

from typing import Any

__all__ = ["cross_section", "load_cross_section"]  # noqa: F822 - found by __getattr__


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hisigma_zfit.crosssection import pipeline, stored  # not at once: the command line's parser needs no results

    return pipeline.cross_section if name == "cross_section" else stored.load_cross_section
