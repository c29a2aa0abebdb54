from __future__ import annotations

from stored_run import history, measured, parabolas, spectrum  # noqa: F401 - fixtures
