"""Sphinx: `sphinx-build -W -b html docs runs/site`, without network.

The reference comes from docstrings and from the parser of the command line, the gallery's figures from the page's code.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, ClassVar

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")
os.environ["COLUMNS"] = "100"  # of the command line's help
DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.util.docutils import SphinxDirective

import hisigma_zfit as hz
from hisigma_zfit.cli import parser

project = "hisigma_zfit"
author = "the hisigma_zfit developers"
copyright = author  # noqa: A001 - Sphinx's name
version = release = hz.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown", ".ipynb": "notebook"}
exclude_patterns = ["_build"]
nitpicky = False
default_role = "literal"  # docstrings write code in single backticks

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"hisigma_zfit {version}"
html_static_path: list[str] = []
html_show_sphinx = False
html_copy_source = False


EXECUTE = bool(os.environ.get("HISIGMA_DOCS_EXECUTE"))  # whether notebooks show what their cells do; tests run them too


def run_code(code: str, names: dict[str, Any], where: str, *, shows: bool) -> Any:
    """Run lines of Python, and return the value of the last one if they show something by it."""
    tree = ast.parse(code)
    last = tree.body.pop() if shows and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, where, "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), where, "eval"), names)


def saved(figure: Any, name: str) -> str:
    """Save a figure beside the pages, and return its address."""
    place = DOCS / "_drawn"
    place.mkdir(exist_ok=True)
    figure.savefig(place / f"{name}.png", dpi=60)
    return f"/_drawn/{name}.png"


class Drawn(SphinxDirective):
    """``.. drawn:: name`` runs its code and shows it with the figure that its last line makes; none without a name.

    All code of a page shares its names.
    """

    has_content = True
    optional_arguments = 1
    option_spec: ClassVar = {"alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Return a block of code, and an image of the figure."""
        code = "\n".join(self.content)
        block = nodes.literal_block(code, code)
        block["language"] = "python"
        names = self.env.temp_data.setdefault("drawn", {})
        figure = run_code(code, names, self.env.docname, shows=bool(self.arguments))
        if figure is None:
            return [block]
        return [block, nodes.image(uri=saved(figure, self.arguments[0]), alt=self.options["alt"], width="32em")]


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of zfit's results in a terminal


class Notebook(MystParser):
    """Notebooks as pages: text, code, and what the cells show."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Fill the document; see docutils."""
        names: dict[str, Any] = {}
        parts = []
        docname = document.settings.env.docname
        for cell in json.loads(inputstring)["cells"]:
            text = "".join(cell["source"])
            parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
            if not EXECUTE or cell["cell_type"] == "markdown":
                continue
            before = names.get("figure")
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                value = run_code(text, names, docname, shows=True)
            shown = _COLOURS.sub("", printed.getvalue() + ("" if value is None else str(value)))
            if shown:
                parts.append(f"```text\n{shown}\n```")
            if names.get("figure") is not before:
                name = f"{Path(docname).name}_{cell['id']}"
                parts.append(f"![What the cell draws]({saved(names['figure'], name)})")
        super().parse("\n\n".join(parts), document)


class CommandHelp(Directive):
    """``.. command-help:: measure`` shows what ``hisigma measure --help`` prints."""

    optional_arguments = 10

    def run(self) -> list[nodes.Node]:
        """Return a literal block."""
        chosen = parser()
        for name in self.arguments:
            actions = chosen._actions  # noqa: SLF001 - argparse shows its commands nowhere else
            (commands,) = (action.choices for action in actions if isinstance(action.choices, dict))
            chosen = commands[name]
            if chosen.fill is not None:  # options are made when their command is called
                chosen.fill(chosen)
                chosen.fill = None
        text = chosen.format_help()
        block = nodes.literal_block(text, text)
        block["language"] = "text"
        return [block]


def without_substitutions(*found: Any) -> None:
    """Escape the bar of p(x|m), which reStructuredText takes for a substitution, outside of code."""
    lines: list[str] = found[-1]  # to be changed in place; before it what they describe
    for k, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            pieces = line.split("`")
            lines[k] = "`".join(piece if j % 2 else piece.replace("|", r"\|") for j, piece in enumerate(pieces))


def setup(app: Any) -> dict[str, Any]:
    """Register what is above."""
    app.add_source_parser(Notebook)
    app.add_directive("drawn", Drawn)
    app.add_directive("command-help", CommandHelp)
    app.connect("autodoc-process-docstring", without_substitutions)
    return {"parallel_read_safe": False}
