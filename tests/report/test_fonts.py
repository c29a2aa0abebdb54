"""PDF files that share their fonts: the same page, with every letter of it in the fonts."""

from __future__ import annotations

import contextlib
import io
import re

import matplotlib as mpl
import pytest
from fontTools.ttLib import TTFont
from matplotlib.backends import _backend_pdf_ps

from hisigma_zfit.report.fonts import shared_fonts
from hisigma_zfit.report.style import frame, styled

WORDS = ("Mass 125 GeV", r"$\sigma_i$ and $p_0$", "Été −3")


def written(context):
    """Streams of a PDF file, uncompressed."""
    with styled(), mpl.rc_context({"pdf.compression": 0}), context:
        figure, axes = frame()
        axes.plot([0, 1], [0, 3000], label=WORDS[1])
        axes.set_xlabel(WORDS[0])
        axes.set_title(WORDS[2])
        axes.legend()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="pdf", metadata={"CreationDate": None})
    return re.findall(rb"stream\r?\n(.*?)\r?\nendstream", buffer.getvalue(), flags=re.DOTALL)


@pytest.mark.skipif(not hasattr(_backend_pdf_ps, "SubsetResults"), reason="fonts are shared from matplotlib 3.11 on")
def test_the_page_is_the_same_and_its_letters_are_there():
    shared, alone = (written(context) for context in (shared_fonts(), contextlib.nullcontext()))
    pages = [[s for s in streams if b" Tf" in s and s[:4] not in {b"OTTO", b"\0\1\0\0"}] for streams in (shared, alone)]
    assert pages[0] == pages[1]
    assert pages[0]

    def outlines(streams):
        fonts = [TTFont(io.BytesIO(s)) for s in streams if s[:4] in {b"OTTO", b"\0\1\0\0"}]
        return [set(font.getGlyphOrder()) for font in fonts]

    with_all, with_few = outlines(shared), outlines(alone)
    assert len(with_all) == len(with_few) > 1
    assert all(few <= more for few, more in zip(with_few, with_all, strict=True))


def test_matplotlib_is_left_as_it_was():
    before = _backend_pdf_ps.get_glyphs_subset
    with pytest.raises(ValueError, match="stop"), shared_fonts():
        raise ValueError("stop")
    assert _backend_pdf_ps.get_glyphs_subset is before
