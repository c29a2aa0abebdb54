"""The page of a run: well-formed, needing nothing, with every table, figure and meaning, and no foreign markup."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
import validations
from matplotlib.figure import Figure

from hisigma_zfit.report import pages
from hisigma_zfit.report.figures import measurement_figures
from hisigma_zfit.report.meanings import figure_words, row_words, table_words
from hisigma_zfit.report.page import Content, Origin, page
from hisigma_zfit.report.page_style import SCRIPT, STYLE
from hisigma_zfit.report.page_tables import field_meanings, lines_of
from hisigma_zfit.report.pictures import Pictures
from hisigma_zfit.report.text import Cells, Headline
from hisigma_zfit.report.validation_page import validation_content
from hisigma_zfit.results import (
    ClosureReport,
    Coverage,
    Estimate,
    EValue,
    EventCounts,
    FiducialYield,
    LearnedYield,
    Measurement,
    Quantiles,
    Search,
    SearchBackground,
    SearchResult,
    SignalProperty,
    ToyParameter,
    ToySummary,
)

HOSTILE = """<script>alert("1")</script>&'"""
ORIGIN = Origin(
    task="measure",
    inputs={"data.root": "sha256:" + "ab" * 32},
    versions={"hisigma_zfit": "0.1.0", "zfit": "0.28.0"},
    configuration="mass: m_gg\nrange: [90, 180]\nbackgrounds:\n  VH: {files: vh.root, expected: 380}\n",
    meanings={"mass": "column of the resonance mass", "range": "range of the mass"},
)


def parsed(text: str) -> ElementTree.Element:
    """The page as XML, which is stricter than HTML."""
    start, rest = text.split("\n", 1)
    assert start == "<!DOCTYPE html>"
    return ElementTree.fromstring(rest)


def words(element: ElementTree.Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def crowded() -> Figure:
    """Letters, many clipped points and an image."""
    figure = Figure(figsize=(3, 2))
    axes = figure.add_subplot()
    axes.plot(np.linspace(0.0, 1.0, 800), np.linspace(0.0, 1.0, 800) ** 2, "o")
    axes.imshow(np.eye(2), extent=(0, 1, 0, 1))
    axes.set_xlabel("mass & more <b>")
    return figure


def toy_summary() -> ToySummary:
    parameter = ToyParameter(100.0, 1.0, 0.5, 20.0, 21.0, 0.05, 0.02, 0.99, 0.02)
    bands = {"-2": 2.0, "-1": 3.0, "0": 4.0, "1": 5.0, "2": 6.0}
    return ToySummary(
        poi="n_sig", injected=100.0, n=50, failed=2, seed=1, parameters={"n_sig": parameter},
        coverage={"68": Coverage(0.6827, 33, 0.66, 0.59, 0.73)}, significance=Quantiles(4.0, 0.1, bands), limit=None,
        pulls=np.zeros(50), z=np.full(50, 4.0), limits=np.array([]),
    )  # fmt: skip


def searched(found: SearchResult | None) -> Search:
    return Search(
        signal_region=(118.0, 132.0), mass="m", features=("pt",), blind=found is None,
        background=SearchBackground(1000.0, 30.0, None if found is None else 1100, 3, ClosureReport((), {"pt": 0.001})),
        found=found, null=None, p_value=None, response=None, sideband_windows=None, family=None, scan=None,
        comparison={}, n_events=EventCounts(5000, 5000, {}, 0, 3900), timings_s={"search": 12.0}, seed=1,
    )  # fmt: skip


def found_signal() -> SearchResult:
    return SearchResult(
        region=(118.0, 132.0), features=("pt",), given="m", n_events=1100, t=41.5, signal_yield=90.0, lumps=(),
        useful=("pt",), optima=(), e_value=EValue(9.0, 8.5, 2e-4),
        fiducial=FiducialYield(75.0, 19.0, 11.0, 0.5, 1.4, ()),
        learned=LearnedYield(88.0, (77.0, 104.0), (70.0, 115.0), 6.0),
        properties={"m": SignalProperty(125.2, 0.3, 124.0, 126.5)}, seed=1,
    )  # fmt: skip


@pytest.fixture
def contents(measured, foreseen, cross_section, toy_study) -> dict[str, Content]:
    return {
        "measure": pages.measurement_content(measured),
        "blind": pages.blind_content(foreseen),
        "cross-section": pages.cross_section_content(cross_section),
        "coverage": pages.coverage_content(toy_study),
        "toys": pages.toy_content(toy_summary()),
        "search": pages.search_content(searched(found_signal())),
        "validate": validation_content(validations.validation()),
    }


def test_every_page_is_well_formed_and_loads_nothing(contents):
    for content in contents.values():
        text = page(content, {}, ORIGIN)
        root = parsed(text)
        policy = root.find(".//meta[@http-equiv='Content-Security-Policy']").get("content")
        assert "default-src 'none'" in policy
        script = base64.b64encode(hashlib.sha256(root.find(".//script").text.encode()).digest()).decode()
        assert f"'sha256-{script}'" in policy
        assert not {e.tag for e in root.iter()} & {"link", "iframe", "object", "embed", "form", "base"}
        for element in root.iter():
            for name in ("src", "href"):
                assert element.get(name, "#").startswith(("#", "data:image/png;base64,"))
        assert "url(" not in STYLE
        assert "@import" not in STYLE
        assert "http" not in STYLE + SCRIPT
        targets = {e.get("id") for e in root.iter() if e.get("id")}
        assert {link.get("href")[1:] for link in root.iter("a")} <= targets
        # screen readers need the heads of rows and columns, and headings without gaps
        assert all(cell.get("scope") in {"row", "col", "rowgroup"} for cell in root.iter("th"))
        levels = [int(e.tag[1]) for e in root.iter() if re.fullmatch(r"h\d", e.tag)]
        assert levels[0] == 1
        assert all(b - a <= 1 for a, b in pairwise(levels))


def test_a_page_holds_every_cell_of_its_table(contents):
    for content in contents.values():
        shown = html.unescape(re.sub(r"<[^>]+>", " ", page(content, {}, ORIGIN)))
        for line in content.lines:
            if isinstance(line, Headline) and line not in {"Inputs"} and isinstance(line.body, Cells):
                for row in line.body.rows:
                    assert all(cell.strip().replace("+-", "±") in shown for cell in row), row


def test_every_table_and_figure_is_explained(contents):
    for kind, content in contents.items():
        for line in content.lines:
            if isinstance(line, Headline) and line != "Inputs":
                assert table_words(kind, line)[0], f"no words for the table {line!r} of {kind} in report.meanings"
    names = {
        "measure": "projection_m enriched_m scan training impacts correlations",
        "blind": "sidebands_m expected_scan training",
        "search": "profile_share learned_m enriched_m null response family scan improvement training",
        "cross-section": "postfit_U_score counting_bins likelihood_mu impacts_mu correlations calibration_U "
        "closure_p_U_1 map_S_p_x_y bias held_back replicas_mu widths profile_tes training_posterior "
        "training_exponents toys_pulls_unbinned toys_coverage toys_width toys_methods",
        "validate": "spectrum shifts injection closure",
        "toys": "toys_pulls toys_coverage toys_expected",
        "coverage": "toys_pulls_unbinned toys_coverage toys_width toys_methods",
    }
    for kind, known in names.items():
        for name in known.split():
            assert figure_words(kind, name).caption, (kind, name)
    assert figure_words("measure", "projection_m_gg").title == "m_gg: data and fitted model"
    assert figure_words("measure", "something_new") == ("something new", "", "")


def test_the_numbers_of_a_measurement_are_explained(contents, measured):
    content = contents["measure"]
    (result,) = (line for line in content.lines if line == "Result")
    _, meanings = table_words("measure", "Result")
    assert all(row_words(meanings, name, "n_sig") for name, _ in result.body.rows)
    text = words(parsed(page(content, {}, ORIGIN)))
    for kind in (Measurement, EventCounts):
        meanings = field_meanings(kind)
        told_elsewhere = {"inputs", "versions", "options", "timings_s"}
        for field in dataclasses.fields(kind):
            assert field.name in told_elsewhere or meanings[field.name] in text, field.name
    assert field_meanings(EventCounts)["dropped"] == "Data events that were left out, by reason."
    assert field_meanings(Estimate) == {}


def test_every_figure_is_there_with_its_caption(measured, spectrum, parabolas):
    figures = measurement_figures(measured, [spectrum], (), parabolas)
    text = page(pages.measurement_content(measured), figures, ORIGIN)
    root = parsed(text)
    assert [words(e.find("figcaption/strong")) for e in root.iter("figure")] == [
        "pt_bb: data and fitted model",
        "Likelihood of the parameter of interest",
    ]
    for figure in root.iter("figure"):
        (drawing,) = figure.iter("svg")
        assert drawing.get("role") == "img"
        assert drawing.get("aria-label").startswith(words(figure.find("figcaption/strong")))
        assert figure.find("figcaption/button").get("aria-label").startswith("Enlarge")
    # what drawings refer to is there once
    names = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(names) == len(set(names))
    references = {e.get("href")[1:] for e in root.iter("use")} | set(re.findall(r"url\(#([^)]+)\)", text))
    assert references <= set(names)
    assert any(name.startswith("letter-") for name in references)
    assert len(text) < 500_000


def test_names_of_others_do_not_run_in_the_page(measured):
    evil = dataclasses.replace(
        measured,
        poi=HOSTILE,
        parameters={HOSTILE: Estimate(1.0, 2.0)},
        n_events=EventCounts(1, 1, {HOSTILE: 0}, 1, 1),
        training={},
    )
    origin = Origin(
        task=HOSTILE, inputs={HOSTILE: HOSTILE}, versions={"hisigma_zfit": HOSTILE}, unblinding=HOSTILE,
        configuration=f"? '{HOSTILE.replace(chr(39), chr(39) * 2)}'\n: ['</pre>{HOSTILE.replace(chr(39), '')}']\n",
    )  # fmt: skip
    figures = {f"projection_{HOSTILE}": Figure(figsize=(2, 2))}
    axes = figures[f"projection_{HOSTILE}"].add_subplot()
    axes.set_title(HOSTILE, gid=HOSTILE)
    axes.plot([0, 1], [0, 1], label=HOSTILE, gid='"><script>', url="http://example.org/")
    text = page(pages.measurement_content(evil), figures, origin)
    root = parsed(text)
    assert len(list(root.iter("script"))) == 1
    assert "<script>alert" not in text
    assert "example.org" not in text
    assert not [e for e in root.iter() for name in e.attrib if name.lower().startswith("on")]
    # and are shown as they are
    assert f"Measurement of {HOSTILE}" in words(root.find(".//h1"))


def test_large_drawings_become_pictures():
    figure = crowded()
    (drawn,) = Pictures().draw({"one": figure}, {"one": "a & b"}).values()
    assert drawn.vector
    assert ElementTree.fromstring(drawn.markup).get("aria-label") == "a & b"
    size = len(drawn.markup)
    (made,) = Pictures(large=size - 1).draw({"one": figure}, {"one": "a & b"}).values()
    assert not made.vector
    assert len(made.markup) < size
    element = ElementTree.fromstring(made.markup)
    assert element.get("alt") == "a & b"
    assert base64.b64decode(element.get("src").partition(",")[2]).startswith(b"\x89PNG")
    # only one of two fits
    both = {"one": figure, "other": figure}
    made = Pictures(page=int(1.9 * size)).draw(both, dict.fromkeys(both, "a & b"))
    assert sorted(picture.vector for picture in made.values()) == [False, True]


def test_a_blind_page_knows_nothing_of_the_region(foreseen, measured):
    text = page(pages.blind_content(foreseen), {}, ORIGIN)
    shown = words(parsed(text))
    assert "No data between 115 and 135 were used." in shown
    # what an open measurement says of the region is found there, and not here
    other = words(parsed(page(pages.measurement_content(measured), {}, ORIGIN)))
    for number in ("40 200", "41 200", "245", "6.10", "37.2", "interval_95", "training_bias", "mass only"):
        found = rf"(?<![\d.]){re.escape(number)}(?![\d.])"
        assert re.search(found, other), number
        assert not re.search(found, shown), number
    opened = page(pages.blind_content(foreseen), {}, dataclasses.replace(ORIGIN, unblinding="was opened 2026-01-31"))
    assert "was opened 2026-01-31" in words(parsed(opened))


def test_a_search_is_told_in_sections(contents):
    content = contents["search"]
    titles = [str(line) for line in content.lines if isinstance(line, Headline)]
    assert titles == ["Result", "Properties of the learned signal"]
    assert content.lead.startswith("Test statistic 41.5, its p-value needs toys; learned signal 88.0 [77.0, 104.0]")
    assert "125.2 ± 0.3 (68 %: 124 to 126.5)" in words(parsed(page(content, {}, ORIGIN)))
    blind = page(pages.search_content(searched(None)), {}, ORIGIN)
    assert "The window is closed" in blind
    assert not re.search(r"1100|41\.5", words(parsed(blind)))


def test_dark_paper_and_narrow_screens_are_looked_after():
    dark = re.search(r"@media screen and \(prefers-color-scheme: dark\) \{ :root \{(.*?)\} \}", STYLE, re.DOTALL)[1]
    light = re.search(r":root \{ color-scheme: light dark;(.*?)\}", STYLE, re.DOTALL)[1]
    colours = [dict(re.findall(r"--(\w+): (#\w{6})", part)) for part in (light, dark)]
    assert colours[0].keys() == colours[1].keys()
    for own in colours:
        for name in ("ink", "soft", "link", "note"):
            assert contrast(own[name], own["back"]) > 4.5  # WCAG 2.2, 1.4.3
            assert contrast(own[name], own["panel"]) > 4.5
    assert re.search(r"\.card \{ background: #fff", STYLE)
    paper = STYLE.partition("@media print {")[2]
    assert "size: A4" in paper
    assert "break-inside: avoid" in paper
    assert re.search(r"button, dialog, .screen \{ display: none", paper)
    assert "@media (max-width: 40rem)" in STYLE


def contrast(first: str, second: str) -> float:
    """Of two colours; WCAG 2.2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_warnings_options_and_origin_are_shown(contents, measured, cross_section):
    text = words(parsed(page(contents["measure"], {}, ORIGIN)))
    assert "1 warning background density in the sidebands: misses pt_bb" in text
    for expected in ("data.root sha256:abab", "zfit 0.28.0", "train 88.3 s", "range of the mass", "expected: 380"):
        assert expected in text
    warned = page(contents["cross-section"], {}, ORIGIN)
    for warning in cross_section.warnings:
        assert html.escape(warning.replace("+-", "±")) in warned


def test_text_with_titles_and_names_becomes_sections():
    lines = lines_of("A title\n  name   1 +- 2\n  other  3  (and 4)\n\nAnother\n  x  y")
    heads = [line for line in lines if isinstance(line, Headline)]
    assert [str(head) for head in heads] == ["A title", "Another"]
    assert heads[0].body.rows == [("name", "1 +- 2"), ("other", "3  (and 4)")]
