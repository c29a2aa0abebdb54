"""The documentation's site lists what there is: every public name, every command, every page."""

from __future__ import annotations

import re
from pathlib import Path

import hisigma_zfit as hz
from hisigma_zfit.anomaly.stored import load_search
from hisigma_zfit.cli import parser
from hisigma_zfit.crosssection.stored import load_cross_section

DOCS = Path(__file__).parents[1] / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_reference_has_every_public_name_once():
    objects = re.findall(r"auto(?:class|function):: hisigma_zfit\.(\w+)$", page("reference.md"), flags=re.MULTILINE)
    modules = re.findall(r"^### hz\.(\w+)", page("reference.md"), flags=re.MULTILINE)
    assert sorted([*objects, *modules, "__version__"]) == sorted(hz.__all__)


def test_every_command_shows_its_help():
    (commands,) = re.findall(r"{([\w,-]+)}", parser().format_usage())
    assert re.findall(r"^## hisigma (\S+)", page("commands.md"), flags=re.MULTILINE) == commands.split(",")
    assert re.findall(r"command-help:: (\S+)", page("commands.md")) == commands.split(",")


def test_every_page_is_in_a_table_of_contents():
    listed = [
        line
        for block in re.findall(r"```{toctree}\n(.*?)```", page("index.md"), flags=re.DOTALL)
        for line in block.split()
    ]
    pages = [path.relative_to(DOCS).with_suffix("") for path in [*DOCS.glob("*.md"), *DOCS.glob("notebooks/*.ipynb")]]
    assert all(listed.count(str(name)) == 1 for name in pages if str(name) != "index")


def test_no_page_has_the_name_of_one_that_sphinx_makes():
    """The last one written stays: the page of the search was lost to Sphinx's own of that name."""
    assert not {"search", "genindex", "py-modindex"} & {path.stem for path in DOCS.glob("*.md")}


def test_links_between_pages_lead_somewhere():
    for path in DOCS.glob("*.md"):
        for link in re.findall(r"\]\((?!http)([^)#\s]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), (path.name, link)


def test_finished_runs_of_the_gallery_are_read_and_small():
    dijets, htautau = (DOCS / "finished" / name for name in ("dijets", "htautau"))
    for folder in (dijets, htautau):
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 150_000
    found = load_search(dijets)
    assert found.profile is not None
    assert found.enriched is not None
    assert found.search.response is not None
    assert [feature.name for feature in found.learned] == ["m_heavy"]
    fitted = load_cross_section(htautau)
    assert fitted.result.poi["mu"].error > 0.0
    assert [scan.poi for scan in fitted.scans] == ["mu"]
    assert [shown.observable for shown in fitted.postfit] == ["score.htautau"]
    assert {closure.process for closure in fitted.closures} == {"ztautau"}
