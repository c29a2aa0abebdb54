"""Style sheet and script of a run's page: no library, no font and nothing else from outside.

The script has neither ``<`` nor ``&``, so that the page is well-formed XML as well as HTML.
"""

from __future__ import annotations

import base64
import hashlib

from hisigma_zfit.report.validation_figures import STATE_COLOURS

__all__ = ["POLICY", "SCRIPT", "STYLE"]

_STATES = "\n".join(f".state-{name} {{ --state: {colour} }}" for name, colour in STATE_COLOURS.items())

STYLE = (
    """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --back: #ffffff; --panel: #f6f8fa;
  --link: #0a58ca; --note: #9a6700; --state: #59636e }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9ea7b3; --line: #3a424c;
  --back: #12161c; --panel: #1b2129; --link: #7cb7ff; --note: #e3b341; --state: #9ea7b3 } }
* { box-sizing: border-box }
html { scroll-padding-top: 1rem }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; color: var(--ink);
  background: var(--back); max-width: 76rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; overflow-wrap: break-word }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0.5rem 0 0.25rem }
h2 { font-size: 1.3rem; margin: 2.5rem 0 0.5rem; border-bottom: 1px solid var(--line); padding-bottom: 0.25rem }
h3 { font-size: 1.02rem; margin: 1.6rem 0 0.25rem }
p { margin: 0.4rem 0; max-width: 60rem }
a { color: var(--link) }
a:focus-visible, button:focus-visible, summary:focus-visible, [tabindex]:focus-visible {
  outline: 3px solid var(--link); outline-offset: 2px }
.soft, caption, figcaption p { color: var(--soft) }
.lead { font-size: 1.2rem; border-left: 0.35rem solid var(--state); background: var(--panel); padding: 0.75rem 1rem;
  margin: 1rem 0 }
.warnings { border-left: 0.35rem solid var(--note); background: var(--panel); padding: 0.5rem 1rem; margin: 1rem 0 }
.warnings h2 { border: 0; margin: 0.2rem 0; font-size: 1.02rem; color: var(--note) }
.warnings ul { margin: 0.2rem 0; padding-left: 1.2rem }
.state { background: var(--state); color: #fff; border-radius: 0.3rem; padding: 0.1rem 0.5rem; font-weight: 600;
  white-space: nowrap }
"""
    + _STATES
    + """
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 0.25rem 1.1rem; padding: 0; margin: 0.75rem 0 }
.scroll { overflow-x: auto; margin: 0.4rem 0 }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums }
th, td { text-align: left; vertical-align: top; padding: 0.28rem 0.9rem 0.28rem 0;
  border-bottom: 1px solid var(--line) }
thead th { border-bottom: 2px solid var(--line); vertical-align: bottom }
tbody th { font-weight: 600 }
.number { text-align: right; white-space: nowrap }
.value { white-space: pre-wrap; min-width: 9rem }
td.meaning { color: var(--soft); min-width: 14rem; max-width: 40rem; padding-right: 0 }
tr.rule > * { border-bottom: 2px solid var(--line) }
.code, pre { font-family: ui-monospace, "Liberation Mono", Menlo, Consolas, monospace; font-size: 0.82rem }
td.code { white-space: pre-wrap; overflow-wrap: anywhere; max-width: 34rem }
pre { background: var(--panel); padding: 0.75rem 1rem; overflow-x: auto; border-radius: 0.4rem }
dl.columns { display: grid; grid-template-columns: max-content 1fr; gap: 0.05rem 0.9rem; font-size: 0.85rem;
  color: var(--soft); margin: 0.3rem 0 0.8rem; max-width: 60rem }
dl.columns dt { font-weight: 600 } dl.columns dd { margin: 0 }
.figures { margin: 0.75rem 0 1.75rem; display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr)) }
figure { margin: 0; min-width: 0 }
figure.wide { grid-column: 1 / -1 }
.card { background: #fff; border: 1px solid var(--line); border-radius: 0.4rem; padding: 0.4rem; cursor: zoom-in }
.card svg, .card img { display: block; width: 100%; height: auto; max-height: 46rem }
svg * { stroke-linejoin: round; stroke-linecap: butt }
svg.letters { position: absolute }
figcaption { font-size: 0.87rem; margin-top: 0.4rem }
figcaption p { margin: 0.1rem 0 }
figcaption strong { margin-right: 0.5rem }
button { font: inherit; font-size: 0.82rem; color: var(--ink); background: var(--panel); border: 1px solid var(--line);
  border-radius: 0.3rem; padding: 0.1rem 0.55rem; cursor: pointer }
summary { cursor: pointer; font-weight: 600; margin: 0.8rem 0 }
html:has(dialog[open]) { overflow: hidden }
dialog { border: 0; padding: 0; width: 100%; height: 100%; max-width: none; max-height: none; background: #fff;
  color: #1f2328; color-scheme: light }
dialog::backdrop { background: rgba(0, 0, 0, 0.7) }
dialog .bar { display: flex; flex-wrap: wrap; gap: 0.4rem; align-items: center; padding: 0.4rem 0.6rem; height: 3rem;
  overflow: hidden; background: #f6f8fa; border-bottom: 1px solid #d1d9e0 }
dialog .bar button { color: #1f2328; background: #fff; border-color: #d1d9e0; min-width: 2rem; font-size: 1rem }
dialog .bar span { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  font-size: 0.9rem }
dialog .view:focus-visible { outline: none }
dialog .view { overflow: auto; height: calc(100% - 3rem); cursor: zoom-out }
dialog .view > * { display: block; margin: auto; max-width: none; max-height: none; height: auto }
@media (max-width: 40rem) {
  body { padding: 0.75rem 0.75rem 3rem; font-size: 15px } h1 { font-size: 1.4rem } .lead { font-size: 1.05rem }
  .meanings thead { display: none }
  .meanings tr { display: block; border-bottom: 1px solid var(--line); padding: 0.3rem 0 }
  .meanings th, .meanings td { display: block; border: 0; padding: 0; max-width: none }
  dl.columns { grid-template-columns: 1fr } dl.columns dd { margin: 0 0 0.2rem }
  dialog .bar span { display: none }
}
@media print {
  @page { size: A4; margin: 14mm 13mm }
  body { font-size: 9.5pt; max-width: none; padding: 0; background: #fff }
  nav, button, dialog, .screen { display: none !important }
  h1 { font-size: 16pt } h2 { font-size: 12.5pt; break-after: avoid } h3 { font-size: 10.5pt; break-after: avoid }
  h3 + p { break-inside: avoid; break-after: avoid }
  dl.columns { font-size: 7.5pt; break-inside: avoid } .code { font-size: 7pt }
  .lead { font-size: 11pt }
  .scroll { overflow: visible } table { font-size: 7.8pt } th, td { padding-right: 0.5rem }
  .number { white-space: normal } td.meaning, .value { min-width: 0 }
  /* a head with room for a figure below it, or on the next page: browsers part it from a row of figures otherwise */
  .head, section > h2 { break-inside: avoid }
  .head::after, #figures > h2::after { content: ""; display: block; height: 112mm; margin-bottom: -112mm }
  thead { display: table-header-group } tr, figure, .lead, .warnings { break-inside: avoid }
  .figures { display: block } .figures::after { content: ""; display: block; clear: both }
  figure { display: inline-block; vertical-align: top; width: 48.5%; margin: 0 0.5% 5mm 0 }
  figure.wide { width: 100% }
  .card { border: 0; padding: 0; cursor: auto } .card svg, .card img { max-height: 17cm }
  figcaption { font-size: 7.5pt } pre { white-space: pre-wrap; overflow: visible; font-size: 7pt }
  a { color: inherit; text-decoration: none }
}
"""
)

SCRIPT = """
"use strict";
(function () {
  var box = document.getElementById("zoom");
  if (!box || !box.showModal) { return; }
  var view = box.querySelector(".view"), title = box.querySelector("span");
  var cards = Array.from(document.querySelectorAll(".card")), at = 0, scale = 1;
  function size() {
    var shown = view.firstElementChild;
    if (!shown) { return; }
    var own = shown.viewBox ? shown.viewBox.baseVal : { width: shown.naturalWidth, height: shown.naturalHeight };
    var fit = Math.min(view.clientWidth / own.width, view.clientHeight / own.height);
    shown.style.width = Math.floor(own.width * fit * scale) - 2 + "px";
  }
  function zoom(factor) {
    var x = (view.scrollLeft + view.clientWidth / 2) / view.scrollWidth;
    var y = (view.scrollTop + view.clientHeight / 2) / view.scrollHeight;
    scale = factor ? Math.min(Math.max(scale * factor, 1), 12) : 1;
    size();
    view.scrollLeft = x * view.scrollWidth - view.clientWidth / 2;
    view.scrollTop = y * view.scrollHeight - view.clientHeight / 2;
  }
  function back() {
    var shown = view.firstElementChild;
    if (!shown) { return; }
    shown.style.width = "";
    cards[at].appendChild(shown);
    cards[at].style.minHeight = "";
  }
  function show(number) {
    back();
    at = (number + cards.length) % cards.length;
    scale = 1;
    cards[at].style.minHeight = cards[at].offsetHeight + "px";
    view.appendChild(cards[at].firstElementChild);
    title.textContent = cards[at].parentNode.querySelector("strong").textContent;
    if (!box.open) { box.showModal(); }
    size();
  }
  var does = {
    "in": function () { zoom(1.5); }, "out": function () { zoom(1 / 1.5); }, "fit": function () { zoom(0); },
    "previous": function () { show(at - 1); }, "next": function () { show(at + 1); },
    "close": function () { box.close(); }
  };
  var keys = { "+": "in", "=": "in", "-": "out", "0": "fit", "p": "previous", "n": "next" };
  cards.forEach(function (card, number) {
    card.addEventListener("click", function () { show(number); });
    var button = card.parentNode.querySelector("button");
    button.hidden = false;
    button.addEventListener("click", function () { show(number); });
  });
  box.querySelectorAll("button").forEach(function (button) {
    button.addEventListener("click", does[button.value]);
  });
  box.addEventListener("keydown", function (event) {
    var moved = scale === 1 ? { "ArrowLeft": "previous", "ArrowRight": "next" } : {};
    var name = keys[event.key] || moved[event.key];
    if (name) { does[name](); event.preventDefault(); }
  });
  view.addEventListener("click", function () { box.close(); });
  box.addEventListener("close", back);
  window.addEventListener("resize", size);
}());
"""

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    f"script-src 'sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}'"
)
"""What a browser may load and run: nothing but this page, its pictures and this script."""
