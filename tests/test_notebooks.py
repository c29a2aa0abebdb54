"""The notebooks of the documentation run from their first cell to their last, and store no output."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import zfit

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


def code(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run(cell: str, names: dict[str, object], where: str) -> object:
    """Run a cell as a notebook does: the value of a last line that is an expression is what it shows."""
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, where, "exec"), names)
    return eval(compile(ast.Expression(last.value), where, "eval"), names) if last else None


@pytest.fixture(scope="module")
def shown():
    """What the cells of every notebook show, and the names that they leave."""
    left = {}
    for notebook in NOTEBOOKS:
        names: dict[str, object] = {"__name__": "__main__"}
        left[notebook.stem] = ([run(cell, names, notebook.name) for cell in code(notebook)], names)
    yield left
    plt.close("all")


def test_both_are_there():
    assert [notebook.stem for notebook in NOTEBOOKS] == ["start", "systematics"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_is_stored(notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells)


def test_start_finds_the_signal(shown):
    values, names = shown["start"]
    interval = names["hz"].interval(names["result"], "n_sig", cl=0.954)
    assert interval.lower < 60 < interval.upper  # events that are in the example
    assert names["z"] == pytest.approx(names["hz"].discovery(names["result"], "n_sig").z, rel=1e-4)
    assert all(value._repr_html_() for value in values if hasattr(value, "_repr_html_"))


def test_systematics_widen_the_interval(shown):
    _, names = shown["systematics"]
    hz = names["hz"]
    wide, narrow = hz.interval(names["result"], "n_sig"), names["fixed"]
    alone = hz.interval(hz.fit(hz.ExtendedNLL(narrow, names["data"])), "n_sig_fixed")
    assert wide.upper - wide.lower > alone.upper - alone.lower
    assert {impact.name for impact in names["budget"].impacts} >= {"pt_scale", "luminosity"}
    assert isinstance(names["poi"], zfit.Parameter)
