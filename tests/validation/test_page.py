"""The page of a validation holds its figures, its words and its numbers; the result survives the disk."""

from __future__ import annotations

import base64
import dataclasses
import html.parser
import re

import numpy as np
import pytest
import validations

from hisigma_zfit.report import validation_page
from hisigma_zfit.report.validation_figures import validation_figures
from hisigma_zfit.results import Validation


@pytest.fixture(scope="module")
def result():
    return validations.validation()


@pytest.fixture(scope="module")
def figures(result):
    return validation_figures(result)


class Balanced(html.parser.HTMLParser):
    """Every element is closed where it must be."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_holds_everything_and_needs_nothing(result, figures):
    page = validation_page.as_html(result, figures)
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == len(figures) == 4
    for picture in pictures:
        assert base64.b64decode(picture).startswith(b"\x89PNG")
    assert html.escape(result.verdict) in page
    for check in result.checks:
        assert html.escape(check.words.replace("+-", "±")) in page
    for job in result.jobs:
        assert job.name in page


def test_the_names_of_others_do_not_run_in_the_page(result, figures):
    page = validation_page.as_html(dataclasses.replace(result, poi="<script>alert(1)</script>"), figures)
    assert "<script>" not in page


def test_the_pdf_is_one_page(result):
    content = validation_page.as_pdf(result)
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", content)) == 1
    assert content == validation_page.as_pdf(result)


def test_the_text_fits_its_width(result):
    lines = validation_page.as_text(result).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "VALIDATION: PASSED"
    assert sum(line.strip().startswith(("window-", "injection-", "stability-")) for line in lines) == 9


def test_figures_show_every_job(figures):
    (axes,) = figures["shifts"].axes
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels[:3] == ["Window 96.25 to 108.8", "Window 140 to 155", "Window 160 to 175"]
    assert labels.count("Injected 0") == 2
    assert {"Mean of these", "Signal in sidebands", "Other seed", "Training: quick"} <= set(labels)
    assert axes.get_xlim()[1] > 1.0
    (axes,) = figures["spectrum"].axes
    assert axes.get_xlim() == (90.0, 180.0)


def test_little_that_is_known_is_drawn_too():
    """No closure, no contamination, a fit that failed."""
    fits = [dataclasses.replace(f, misfit={}, p_value=None) for f in validations.jobs()[:7]]
    fits[1] = dataclasses.replace(fits[1], value=np.nan, failure="it did not converge")
    poor = validations.validation(fits)
    figures = validation_figures(poor)
    assert "it did not converge" in validation_page.as_html(poor, figures)
    assert validation_page.as_pdf(poor)


def test_the_result_survives_the_disk(result):
    again = Validation.from_json(result.to_json())
    assert again.to_json() == result.to_json()
    assert again.job("window-001") == result.job("window-001")
    assert str(again).startswith(result.verdict)
