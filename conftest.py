"""Settings that hold for every test and for the examples in docstrings."""

from __future__ import annotations

import os
from typing import Any

import pytest

# before anything imports TensorFlow: no banner, no search for an accelerator
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(autouse=True)
def names_of_examples(request: pytest.FixtureRequest) -> None:
    """The imports that examples in docstrings take for granted, as their readers do."""
    if isinstance(request.node, pytest.DoctestItem):
        import numpy
        import zfit

        import hisigma_zfit

        names: dict[str, Any] = request.getfixturevalue("doctest_namespace")
        names.update(hz=hisigma_zfit, np=numpy, zfit=zfit)
