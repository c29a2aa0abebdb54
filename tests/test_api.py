"""What `import hisigma_zfit` promises."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hisigma_zfit as hz

ROOT = Path(__file__).parents[1]


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
        "import sys, hisigma_zfit, hisigma_zfit.cli, hisigma_zfit.data, hisigma_zfit.results, hisigma_zfit.options\n"
        "import hisigma_zfit.report.plotting, hisigma_zfit.report.tables, hisigma_zfit.report.run\n"
        "print([m for m in ('tensorflow', 'zfit') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


ROOMS = ["errors", "results", "data", "density", "model", "inference"]


def room_of(module: str) -> str:
    """Private modules at the top are parts of the input room; results may be spread over several modules."""
    return "data" if module.startswith("_") else "results" if module.startswith("results") else module


def test_rooms_import_only_from_rooms_above():
    """The package's floors: imports point one way, and reports never import inference."""
    order = {room: k for k, room in enumerate(ROOMS)}
    wrong = []
    for path in (ROOT / "hisigma_zfit").rglob("*.py"):
        room = room_of(path.relative_to(ROOT / "hisigma_zfit").parts[0].removesuffix(".py"))
        if path.name == "__init__.py":
            continue
        for imported in re.findall(r"^\s*from hisigma_zfit\.(\w+)", path.read_text(), flags=re.MULTILINE):
            above = room_of(imported)
            if room in order and (above not in order or order[above] > order[room]):
                wrong.append(f"{path.name}: {imported}")
            if room == "report" and imported == "inference":
                wrong.append(f"{path.name}: {imported}")
    assert not wrong


def test_modules_stay_small():
    long = {p.name: n for p in (ROOT / "hisigma_zfit").rglob("*.py") if (n := len(p.read_text().splitlines())) > 400}
    assert not long
