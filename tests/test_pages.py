"""docs/architecture.md and CONTRIBUTING.md name what is there: rooms, modules, contracts, commands."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hisigma_zfit"
PAGES = {"architecture": ROOT / "docs" / "architecture.md", "contributing": ROOT / "CONTRIBUTING.md"}
ROOMS = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
MODULES = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}


def page(name: str) -> str:
    return PAGES[name].read_text(encoding="utf-8")


def test_the_tree_is_that_of_the_package():
    (tree,) = re.findall(r"```\nhisigma_zfit/\n(.*?)```", page("architecture"), flags=re.DOTALL)
    named = [line.split()[0] for line in tree.splitlines() if line.startswith("  ") and line[2] != " "]
    assert sorted(named) == sorted([*(f"{room}/" for room in ROOMS), *(f"{module}.py" for module in MODULES)])


def test_the_order_of_the_floors_is_that_of_the_contract():
    text = page("architecture").replace("\n  ", " ")
    (line,) = re.findall(r"^- (cli > .*?)\. A room", text, flags=re.MULTILINE)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [set(re.findall(r"hisigma_zfit\.(\w+)", layer)) for layer in contracts[0]["layers"]]
    position = {room: k for k, layer in enumerate(layers) for room in layer}
    position["tasks"] = position["validation"]
    floors = [re.findall(r"\w+", floor) for floor in line.split(">")]
    places = [[position[room] for room in floor] for floor in floors]
    assert [place for floor in places for place in floor] == sorted(place for floor in places for place in floor)


@pytest.mark.parametrize("name", PAGES)
def test_modules_and_names_exist(name):
    found = re.findall(r"`([a-z_]+(?:\.\w+)+)(?:\(.*?\))?`", page(name))
    dotted = [path.split(".") for path in found if path.split(".")[0] in ROOMS]
    assert len(dotted) > 3
    for room, *rest in dotted:
        thing = importlib.import_module(f"hisigma_zfit.{room}")
        for part in rest:
            thing = getattr(thing, part, None) or importlib.import_module(f"{thing.__name__}.{part}")


@pytest.mark.parametrize("name", PAGES)
def test_files_exist(name):
    for path in re.findall(
        r"`((?:tests|docs|analyses|benchmarks|hisigma_zfit)/[\w./]*|[\w]+\.toml|\.ci/run)`", page(name)
    ):
        assert (ROOT / path).exists() or (PACKAGE / path).exists(), path
    for link in re.findall(r"\]\((?!http)([^)#]+)", page(name)):
        assert (PAGES[name].parent / link).is_file(), link


def test_sessions_of_nox_exist():
    for session in re.findall(r"nox -s (\w+)", page("contributing")):
        assert re.search(rf"^def {session}\(", (ROOT / "noxfile.py").read_text(), flags=re.MULTILINE), session
