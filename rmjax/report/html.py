"""HTML pages that stand alone: elements, tables, figures, strips, and one style sheet for screen, phone and paper.

Every text that is not `Html` already is escaped, so that texts of the data cannot become part of the page. Nothing is
loaded from elsewhere: figures are embedded, and there are no scripts.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from rmjax.report.style import DPI

CSS_DPI = 96
VOID = ("img", "link", "meta")  # elements that have no end
DARK = """--ink: #e6e6e3; --soft: #a3a7ab; --line: #33373b; --paper: #121416; --card: #1a1a1a; --tint: #1d2126;
--blue: #56b4e9; --orange: #f0884a; --green: #35c497; --warn: #3a2a17;"""
STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #646b73; --line: #dfe2e5; --paper: #fff; --card: #fff;
--tint: #f5f7f9; --blue: #0072b2; --orange: #d55e00; --green: #009e73; --warn: #fdf1e3; }
@media screen and (prefers-color-scheme: dark) { :root { DARK } figure img { filter: invert(.9) hue-rotate(180deg); } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 3rem 1.5rem 5rem; max-width: 62rem; color: var(--ink); background: var(--paper);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; }
h1 { margin: 0; font-size: 2rem; line-height: 1.2; letter-spacing: -.015em; overflow-wrap: anywhere; }
h2 { margin: 3.5rem 0 1rem; padding-top: 1.1rem; border-top: 1px solid var(--line); font-size: 1.3rem; }
h3 { margin: 2rem 0 .6rem; font-size: 1rem; }
p { margin: .6rem 0; max-width: 46rem; }
a { color: var(--blue); text-underline-offset: .15em; }
.kind { margin: 0 0 .3rem; color: var(--soft); font-size: .85rem; }
.lead, .note, .absent, figcaption { color: var(--soft); }
.note, .absent, figcaption { font-size: .88rem; }
.absent { font-style: italic; }
.verdict { margin: 1.5rem 0; max-width: none; padding: .9rem 1.2rem; border-left: 4px solid var(--blue);
  background: var(--tint); font-size: 1.08rem; }
.verdict + .verdict { margin-top: -1.1rem; }
.warning { max-width: none; padding: .7rem 1.2rem; border-left: 4px solid var(--orange); background: var(--warn); }
nav { margin: 1.5rem 0 0; font-size: .88rem; line-height: 1.9; }
nav a { margin-right: 1.1rem; white-space: nowrap; text-decoration: none; }
nav a:hover { text-decoration: underline; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.6rem, 1fr)); gap: 1.2rem 1.6rem;
  margin: 1.4rem 0 1rem; }
.tile b { display: block; font-size: 1.75rem; line-height: 1.25; font-weight: 600; letter-spacing: -.01em;
  font-variant-numeric: tabular-nums; }
.tile span { display: block; color: var(--soft); font-size: .84rem; line-height: 1.4; }
.tile .name { color: var(--ink); }
.key { display: inline-block; width: .62em; height: .62em; margin-right: .45em; border-radius: 50%; }
.scroll { overflow-x: auto; margin: .8rem 0 1.2rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
table.wide { width: 100%; }
th, td { padding: .34rem .9rem .34rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-weight: 500; font-size: .82rem; vertical-align: bottom; }
tbody th { font-weight: 400; } td.w { min-width: 8rem; overflow-wrap: anywhere; }
.r { text-align: right; } .r, .l { white-space: nowrap; } tbody th.l { white-space: pre; }
table.strips { width: 100%; min-width: 36rem; table-layout: fixed; }
.strips th:nth-child(1) { width: 30%; white-space: normal; overflow-wrap: anywhere; }
.strips .r { width: 9%; padding-right: 0; } .strips .r:nth-child(4) { width: 15%; } .strips .w { padding-left: 1.6rem; }
svg { display: block; overflow: visible; }
svg text { fill: var(--soft); font-size: 11px; font-variant-numeric: tabular-nums; }
.axis { stroke: var(--line); } .chance { stroke: var(--soft); stroke-dasharray: 2 3; }
.range { stroke: var(--blue); stroke-width: 3; stroke-linecap: round; opacity: .45; }
.dot { fill: var(--blue); } .length { stroke: var(--orange); stroke-width: 3; }
.ceiling { stroke: var(--green); stroke-width: 3; }
.key.dot { background: var(--blue); } .key.length { background: var(--orange); }
.key.ceiling { background: var(--green); }
figure { margin: 1.2rem 0 1.6rem; }
figure div { width: fit-content; max-width: 100%; overflow-x: auto; padding: .4rem; border: 1px solid var(--line);
  border-radius: 6px; background: var(--card); }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { margin-top: .5rem; max-width: 46rem; }
pre, code { font: .85rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { margin: .8rem 0; padding: .9rem 1.1rem; border-radius: 6px; background: var(--tint); white-space: pre-wrap;
  overflow-wrap: anywhere; }
details { margin: .8rem 0; } summary { cursor: pointer; color: var(--blue); }
article { margin: 1.6rem 0; padding-top: 1rem; border-top: 1px solid var(--line); }
article h3 { margin: 0; } article .note { margin: .1rem 0 .8rem; max-width: none; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; }
.turn { margin: .5rem 0; padding-left: .9rem; border-left: 2px solid var(--line); max-width: 50rem; }
.who { display: block; color: var(--soft); font-size: .8rem; white-space: normal; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: .8rem; margin-top: .8rem; }
.two div { padding: .7rem .9rem; border-radius: 6px; background: var(--tint); border-top: 3px solid var(--green); }
.two div + div { border-top-color: var(--orange); }
@media (max-width: 40rem) { body { padding: 1.6rem 1rem 3rem; font-size: 15px; } h1 { font-size: 1.6rem; }
  h2 { margin-top: 2.6rem; } .tiles { grid-template-columns: 1fr 1fr; } .tile b { font-size: 1.4rem; }
  figure img { max-width: none; } table.strips { min-width: 0; }
  tbody th.l { white-space: pre-wrap; }
  .strips tr { display: grid; grid-template-columns: 1fr 2.6rem 3.8rem 6.4rem; column-gap: .5rem;
    border-bottom: 1px solid var(--line); }
  .strips th:nth-child(n), .strips td:nth-child(n) { width: auto; border: 0; }
  .strips .w { grid-column: 1 / -1; padding: 0 0 .5rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; }
  figure, article, tr, .tiles { break-inside: avoid; } h2, h3 { break-after: avoid; }
  details::details-content { content-visibility: visible; } figure img { max-width: 100%; }
  .scroll, figure div { overflow: visible; }
  .verdict, .warning, .two div, pre { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
""".replace("DARK", DARK)


class Html(str):
    """Text that is HTML already and is not escaped again."""


def tag(name: str, /, *children: str, **attributes: str) -> Html:
    """An element. Children that are not `Html` are text; `class_` stands for class, `stroke_width` for stroke-width."""
    named = "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"' for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{name}{named}>")
    return Html(f"<{name}{named}>{joined(children)}</{name}>")


def joined(parts: Iterable[str], between: str = "") -> Html:
    """Elements and texts one after the other."""
    return Html(between.join(part if isinstance(part, Html) else html.escape(part) for part in parts))


def page(title: str, *body: str) -> str:
    """A whole document."""
    head = joined(
        [
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", title),
            tag("style", Html(STYLE)),
        ],
        "\n",
    )
    document = tag("html", tag("head", head), "\n", tag("body", joined(body, "\n")), lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


def section(title: str, *content: str) -> Html:
    """A section under a heading that `contents` can point to."""
    return tag("section", tag("h2", title), joined(content, "\n"), id=anchor(title))


def contents(titles: Sequence[str]) -> Html:
    """Links to sections."""
    return tag("nav", joined([tag("a", title, href=f"#{anchor(title)}") for title in titles], " "))


def anchor(title: str) -> str:
    """The id of a section."""
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())


def table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str, kind: str = "narrow") -> Html:
    """A table that scrolls where it is too wide.

    Args:
        head: what stands above the columns.
        rows: the cells, of which the first is the heading of its row.
        align: a letter for each column: l or r for one line, w for text that wraps.
        kind: narrow, wide (as the page), or strips (wide, with drawings in the fifth and last column).
    """

    def line(cells: Sequence[str], names: Sequence[str], scope: str) -> Html:
        made = zip(names, cells, align, strict=True)
        return tag(
            "tr", *(tag(name, cell, class_=c, **({"scope": scope} if name == "th" else {})) for name, cell, c in made)
        )

    top = tag("thead", line(head, ["th"] * len(align), "col"))
    body = tag("tbody", joined([line(row, ["th", *["td"] * (len(align) - 1)], "row") for row in rows], "\n"))
    return tag("div", tag("table", top, body, class_=kind), class_="scroll")


def figure(path: Path, caption: str) -> Html:
    """An embedded PNG of `canvas`, as large as it was drawn, on a card that scrolls on narrow screens."""
    data = path.read_bytes()
    width = int.from_bytes(data[16:20], "big") * CSS_DPI // DPI  # of the header: equal letters in all figures
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    image = tag("img", src=source, alt=f"{path.stem}: {caption}", width=str(width))
    return tag("figure", tag("div", image), tag("figcaption", caption))


def paragraph(text: str, kind: str = "plain") -> Html:
    """A paragraph: plain, note, lead, verdict or warning."""
    return tag("p", text, class_=kind)


def absent(text: str) -> Html:
    """Says what is not there."""
    return tag("p", text, class_="absent")


def details(title: str, *content: str) -> Html:
    """Content that opens on a click, and on paper."""
    return tag("details", tag("summary", title), *content)
