from __future__ import annotations

from stored_run import foreseen, history, measured, parabolas, spectrum  # noqa: F401 - fixtures
