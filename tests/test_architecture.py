"""The rooms of the house: what import-linter's contracts in pyproject.toml do not see."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hisigma_zfit"
FILES = sorted(PACKAGE.rglob("*.py"))

# what a worker process of a toy study unpickles and runs
WORKER = [
    "fitting.crossings",
    "fitting.curves",
    "fitting.limits",
    "fitting.newton",
    "fitting.profiler",
    "fitting.starts",
    "learn.splines",
    "learn.streams",
    "likelihood.auxiliary",
    "likelihood.cached",
    "likelihood.compiled",
    "likelihood.evaluate",
    "likelihood.expansion",
    "likelihood.protocol",
    "likelihood.ratio",
    "likelihood.ratio_evaluate",
    "likelihood.recipes",
    "likelihood.sidebands",
    "model.interpolation",
    "model.normalisation",
    "model.ratio_variations",
    "model.variation_weights",
    "ratio.powers",
    "toys.joint",
    "toys.pool",
    "toys.ratio",
    "toys.source",
    "toys.toy_fits",
    "baselines.binned",
]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> list[ast.Call]:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [c for c in calls if ast.unparse(c.func) in {"importlib.import_module", "import_module", "__import__"}]


def test_every_room_stands_on_a_floor():
    """A new room that no contract names could import what it likes."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = " ".join(line for contract in contracts for line in contract.get("layers", ()))
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES} - {"__init__", "plotting"}
    assert {room for room in rooms if f"hisigma_zfit.{room}" not in named.replace("|", " ").split()} == set()


def test_no_module_is_imported_by_a_string():
    """Such an import no linter sees; only the package's own table of public names may do it."""
    assert [str(path) for path in FILES if path != PACKAGE / "__init__.py" and imports_of(path)] == []


def test_modules_stay_small():
    long = {str(path): n for path in FILES if (n := len(path.read_text().splitlines())) > 400}
    assert not long


@pytest.mark.slow
def test_no_order_of_imports_is_needed():
    """The last first; that imports have no circle, so that each module could be the first, the linter sees."""
    code = """
import sys
for name in sys.argv[1:]:
    __import__(name)
print("done")
"""
    names = sorted(map(name_of, FILES), reverse=True)
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split() == ["done"], done.stderr


def test_what_a_toy_worker_unpickles_loads_without_tensorflow():
    imports = "\n".join(f"import hisigma_zfit.{name}" for name in WORKER)
    code = f"import sys\n{imports}\nprint([m for m in ('tensorflow', 'zfit') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
