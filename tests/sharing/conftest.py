"""Fixtures of the tests of exported analyses."""

from stored_run import history, measured, parabolas, spectrum  # noqa: F401 - fixtures
