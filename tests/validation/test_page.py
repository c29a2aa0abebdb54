"""The page of a validation holds its figures, its words and its numbers; the result survives the disk."""

from __future__ import annotations

import dataclasses
import html
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import validations

from hisigma_zfit.report import validation_page
from hisigma_zfit.report.page import Origin, page
from hisigma_zfit.report.validation_figures import validation_figures
from hisigma_zfit.results import Validation


@pytest.fixture(scope="module")
def result():
    return validations.validation()


@pytest.fixture(scope="module")
def figures(result):
    return validation_figures(result)


def as_html(result, figures):
    return page(validation_page.validation_content(result), figures, Origin("validate"))


def test_the_page_holds_everything(result, figures):
    text = as_html(result, figures)
    root = ElementTree.fromstring(text.split("\n", 1)[1])
    assert len(list(root.iter("figure"))) == len(figures) == 4
    assert html.escape(result.verdict) in text
    for check in result.checks:
        assert html.escape(check.words.replace("+-", "±")) in text
        assert f'<span class="state state-{check.state}">{check.state}</span>' in text
    for job in result.jobs:
        assert job.name in text


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
    assert len(validation_figures(poor)) == 4
    assert "it did not converge" in as_html(poor, {})
    assert validation_page.as_pdf(poor)


def test_the_result_survives_the_disk(result):
    again = Validation.from_json(result.to_json())
    assert again.to_json() == result.to_json()
    assert again.job("window-001") == result.job("window-001")
    assert str(again).startswith(result.verdict)
