"""HTML rendering of the templates of the report.

A page is one self-contained file: the style sheet and the figures are part of it, and it has no scripts. All values are
escaped, so that texts of the data cannot become markup.
"""

from __future__ import annotations

import base64
import functools
import re
from pathlib import Path
from typing import Any

import jinja2

from rmjax.evaluation.metrics import CHANCE
from rmjax.evaluation.text_table import percent
from rmjax.report.metric_tables import decimals, interval
from rmjax.report.style import DPI

CSS_DPI = 96

# Control characters other than tab and line breaks, and halves of surrogate pairs, which UTF-8 cannot express.
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def render(template: str, **values: Any) -> str:
    """The page that a template of `rmjax/report/templates` makes of `values`, without control characters."""
    return CONTROL.sub("\ufffd", environment().get_template(template).render(values))


@functools.cache
def environment() -> jinja2.Environment:
    """The templates with their filters. A name that has no value is an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("rmjax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["CHANCE"] = CHANCE
    made.filters |= {
        "anchor": anchor,
        "count": "{:,}".format,
        "data_uri": data_uri,
        "decimals": decimals,
        "interval": interval,
        "percent": percent,
        "whole_percent": lambda value: f"{100 * value:.0f} %",
        "width": displayed_width,
    }
    return made


def anchor(title: str) -> str:
    """The id of the section with this title."""
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())


def data_uri(path: Path) -> str:
    """A PNG file as the source of an image."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def displayed_width(path: Path) -> int:
    """The width of a PNG in CSS pixels that gives all figures letters of one size."""
    with path.open("rb") as file:
        header = file.read(24)
    return int.from_bytes(header[16:20], "big") * CSS_DPI // DPI
