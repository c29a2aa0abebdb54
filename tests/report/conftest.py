from __future__ import annotations

from crosssection_result import (  # noqa: F401 - fixtures
    closures,
    cross_section,
    poi_scan,
    postfit,
    ratio_histories,
    ratio_maps,
    soft_met_profile,
    toy_study,
)
from stored_run import foreseen, history, measured, parabolas, spectrum  # noqa: F401 - fixtures
