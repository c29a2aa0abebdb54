"""What `import hisigma_zfit` promises."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

import hisigma_zfit as hz


@pytest.mark.parametrize("name", hz.__all__)
def test_every_public_name_exists(name):
    assert getattr(hz, name) is not None


def test_version_is_that_of_the_package():
    assert hz.__version__ == importlib.metadata.version("hisigma_zfit")


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="nonsense"):
        hz.nonsense  # noqa: B018


def test_importing_the_package_and_its_light_rooms_is_light():
    code = (
        "import sys, hisigma_zfit, hisigma_zfit.cli, hisigma_zfit.data, hisigma_zfit.results\n"
        "import hisigma_zfit.measurement.options\n"
        "import hisigma_zfit.report.plotting, hisigma_zfit.report.tables, hisigma_zfit.runs.folder\n"
        "print([m for m in ('tensorflow', 'zfit') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
