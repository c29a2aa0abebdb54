"""The page of a run, ``report.html``: results, figures and where they come from, in one file that needs no other.

`Content` is what a task has to say, `Origin` what its run folder knows, `page` puts both together.  Nothing on it is
loaded from elsewhere, which its Content-Security-Policy makes sure of; all text from files is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import yaml

from hisigma_zfit.report.meanings import figure_words
from hisigma_zfit.report.page_style import POLICY, SCRIPT, STYLE
from hisigma_zfit.report.page_tables import anchor, escaped, facts, fields, option_rows, parts_of
from hisigma_zfit.report.pictures import Picture, Pictures
from hisigma_zfit.results.numbers import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.figure import Figure

    from hisigma_zfit.results.base import Result

__all__ = ["Content", "Origin", "page"]

_ELSEWHERE = ("inputs", "versions", "options", "trained", "timings_s", "warnings")  # fields with sections of their own
# a figure takes a row of its own where it is so many times wider than high, or has so many square inches
_WIDE, _LARGE = 1.5, 200.0


@dataclass(frozen=True)
class Content:
    """What a task has to say.

    Attributes:
        kind: Of the page: ``"measure"``, ``"blind"``, ``"search"``, ``"validate"``, ``"toys"``, ``"cross-section"`` or
            ``"coverage"``.
        title: What was done.
        lead: The answer, in a line.
        result: All of it; its times, inputs, versions and warnings have sections of their own.
        lines: The table as the terminal shows it.
        parts: Title and markup of further sections, before those of `lines`.
        notes: What a reader must know to understand the numbers.
        warnings: What a reader should know before using them, beyond the result's own.
        state: Of a validation; colours the answer.
        poi: Name of the parameter of interest.
    """

    kind: str
    title: str
    lead: str
    result: Result
    lines: Sequence[str] = ()
    parts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    state: str = ""
    poi: str = ""


@dataclass(frozen=True)
class Origin:
    """Where the numbers come from, as the run folder tells.

    Attributes:
        task: As on the command line.
        inputs: Digest of each input file by its name.
        versions: Of the packages.
        configuration: Text of ``config.yaml``; empty where there is none.
        options: Options, where there is no configuration.
        meanings: What options mean, by name.
        unblinding: The record of opening a blind run, in words; empty where it is closed or was never blind.
    """

    task: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    configuration: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    unblinding: str = ""


def page(content: Content, figures: Mapping[str, Figure], origin: Origin, *, pictures: Pictures | None = None) -> str:
    """The page as HTML, which is well-formed XML as well.

    Args:
        content: What the task has to say.
        figures: All figures by name.
        origin: Where the numbers come from.
        pictures: How figures become markup; as `Pictures` by default.
    """
    pictures = Pictures() if pictures is None else pictures
    parts = [(title, markup) for title, markup in parts_of(content.lines, kind=content.kind, poi=content.poi)]
    times = [markup for title, markup in parts if title == "Time"]
    results = [*content.parts, *(part for part in parts if part[0] not in {"Time", "Inputs"})]
    results.sort(key=lambda part: not part[0].startswith(("Result", "Expected")))  # the answer first
    sections = [
        ("Results", _together(results) + _notes(content.notes)),
        ("Figures", _figures(content.kind, figures, pictures)),
        ("Options", _options(origin)),
        ("Where the numbers come from", _provenance(content, origin, times)),
        ("Every number", _every(content.result)),
    ]
    shown = [(title, markup) for title, markup in sections if markup]
    links = "".join(f'<li><a href="#{anchor(title)}">{escaped(title)}</a></li>' for title, _ in shown)
    body = "".join(_section(title, markup) for title, markup in shown)
    state = f'<span class="state">{escaped(content.state)}</span> ' if content.state else ""
    closed = f"<p><strong>Opened.</strong> {escaped(origin.unblinding)}</p>" if origin.unblinding else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{escaped(POLICY)}"/>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f'<meta name="color-scheme" content="light dark"/><meta name="referrer" content="no-referrer"/>'
        f"<title>{escaped(content.title)}</title><style>{STYLE}</style></head>\n<body>{pictures.letters()}<header>"
        f"<h1>{escaped(content.title)}</h1><p class={_quoted('soft')}>hisigma {escaped(origin.task)}, hisigma_zfit "
        f"{escaped(origin.versions.get('hisigma_zfit', 'of an unknown version'))}</p>\n"
        f'<p class="lead{f" state-{content.state}" if content.state else ""}">{state}{escaped(content.lead)}</p>'
        f"{closed}{_warnings([*getattr(content.result, 'warnings', ()), *content.warnings])}"
        f'<nav aria-label="Contents"><ul>{links}</ul></nav></header>\n<main>{body}</main>\n{_ZOOM}'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _quoted(text: str) -> str:
    return f'"{text}"'


_ZOOM = (
    '<dialog id="zoom" aria-label="Enlarged figure"><div class="bar"><span></span>'
    + "".join(
        f'<button type="button" value="{value}" title="{words} ({key})" aria-label="{words}">{sign}</button>'
        for value, sign, words, key in (
            ("previous", "‹", "Previous figure", "left arrow"),
            ("next", "›", "Next figure", "right arrow"),
            ("out", "−", "Smaller", "-"),
            ("in", "+", "Larger", "+"),
            ("fit", "fit", "Fit to the window", "0"),
            ("close", "×", "Close", "Esc"),
        )
    )
    + '</div><div class="view" tabindex="0" autofocus="autofocus"></div></dialog>\n'
)


def _section(title: str, markup: str) -> str:
    name = anchor(title)
    screen = ' class="screen"' if title == "Every number" else ""
    head = f'<h2 id="{name}-title">{escaped(title)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-title"{screen}>{head}{markup}</section>\n'


def _together(parts: Sequence[tuple[str, str]]) -> str:
    return "".join(f"<h3>{escaped(title[:1].upper() + title[1:])}</h3>{markup}" for title, markup in parts)


def _notes(notes: Sequence[str]) -> str:
    listed = "".join(f"<li>{escaped(note)}</li>" for note in notes)
    return f"<h3>Notes</h3><ul>{listed}</ul>" if listed else ""


def _warnings(words: Sequence[str]) -> str:
    listed = "".join(f"<li>{escaped(text)}</li>" for text in words)
    count = f"{len(words)} warning{'s' if len(words) > 1 else ''}"
    return f'<aside class="warnings"><h2>{count}</h2><ul>{listed}</ul></aside>' if listed else ""


def _figures(kind: str, figures: Mapping[str, Figure], pictures: Pictures) -> str:
    words = {name: figure_words(kind, name) for name in figures}
    drawn = pictures.draw(
        figures, {name: ". ".join(filter(None, (own.title, own.caption))) for name, own in words.items()}
    )
    alike: dict[str, list[str]] = {}
    for name, own in words.items():
        alike.setdefault(own.caption or name, []).append(name)
    blocks: list[str] = []
    for together, groups in groupby(alike.items(), key=lambda item: len(item[1]) > 1):
        if not together:
            names = [name for _, own in groups for name in own]
            blocks.append(
                _grid(_figure(words[name].title, words[name].caption, drawn[name], figures[name]) for name in names)
            )
            continue
        for caption, names in groups:
            head = f'<div class="head"><h3>{escaped(words[names[0]].group)}</h3><p>{escaped(caption)}</p></div>'
            blocks.append(head + _grid(_figure(words[name].title, "", drawn[name], figures[name]) for name in names))
    return "".join(blocks)


def _grid(figures: Iterable[str]) -> str:
    return f'<div class="figures">{"".join(figures)}</div>'


def _figure(title: str, caption: str, picture: Picture, figure: Figure) -> str:
    width, height = figure.get_size_inches()
    wide = ' class="wide"' if width > _WIDE * height or width * height > _LARGE else ""
    note = f"<p>{escaped(caption)}</p>" if caption else ""
    button = f'<button type="button" hidden="hidden" aria-label="Enlarge: {escaped(title)}">Enlarge</button>'
    return (
        f'<figure{wide}><div class="card">{picture.markup}</div><figcaption><strong>{escaped(title)}</strong>'
        f"{button}{note}</figcaption></figure>\n"
    )


def _options(origin: Origin) -> str:
    configuration = _configured(origin.configuration) or origin.options
    if not configuration:
        return ""
    rows = option_rows(configuration, origin.meanings)
    text = (
        '<details class="screen"><summary>config.yaml, which repeats the run</summary>'
        f"<pre>{escaped(origin.configuration)}</pre></details>"
        if origin.configuration
        else ""
    )
    return f"{facts('Options', rows, code=True, head='Option')}{text}"


def _configured(text: str) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _provenance(content: Content, origin: Origin, times: Sequence[str]) -> str:
    parts = []
    if origin.inputs:
        rows = [(name, digest, "") for name, digest in origin.inputs.items()]
        words = "<p>Each file by its name, with the digest of its content: equal digests are equal files.</p>"
        parts.append(("Inputs", words + facts("Inputs", rows, code=True, head="File")))
    trained = getattr(content.result, "trained", {})
    if trained:
        words = "<p>Digests of what was trained, which opening the data requires to be the same.</p>"
        rows = [(name, digest, "") for name, digest in trained.items()]
        parts.append(("Trained members", words + facts("Trained members", rows, code=True)))
    if origin.versions:
        rows = [(name, version, "") for name, version in origin.versions.items()]
        parts.append(("Versions", facts("Versions", rows, code=True, head="Package")))
    seconds = getattr(content.result, "timings_s", {})
    if times:
        parts.append(("Time", times[0]))
    elif seconds:
        rows = [(stage, f"{value:.1f} s", "") for stage, value in seconds.items()]
        parts.append(("Time", f"<p>Wall time by stage.</p>{facts('Time', rows, head='Stage')}"))
    seed = getattr(content.result, "seed", None)
    if seed is not None:
        parts.append(("Seed", f"<p>{number(seed)}: the seed of everything that is random.</p>"))
    return _together(parts)


def _every(result: Result) -> str:
    inside = _together(fields(result, hidden=_ELSEWHERE))
    return (
        "<p>All fields of <code>result.json</code> with their meanings.</p>"
        f"<details><summary>Show them</summary>{inside}</details>"
    )
