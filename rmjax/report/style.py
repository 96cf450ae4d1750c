"""Common style of all figures: size, colours, axes.

matplotlib is imported inside the functions, so that evaluation works without it. A figure is an object that is written
straight to a file: no window, backend or global style changes. The colours are those of Okabe & Ito, which
colour-blind readers can tell apart.
"""

from __future__ import annotations

import io
import pathlib
from typing import TYPE_CHECKING, Any

from rmjax.durable import write_durably, writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
LINE_COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9")
TEXT_COLOUR, MUTED_COLOUR, GRID_COLOUR = "#262626", "#8C8C8C", "#E6E6E6"
DPI = 150
LEGEND_ABOVE_AXES: dict[str, Any] = {
    "loc": "lower left",
    "bbox_to_anchor": (-0.01, 1.0),
    "ncols": 3,
    "frameon": False,
    "fontsize": 9,
    "handlelength": 1.6,
}


def new_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure with a title; width and height are in inches."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")
    figure.suptitle(title, fontsize=12, weight="bold", color=TEXT_COLOUR, x=0.012, ha="left")
    return figure


def style_axes(axes: Axes, *, xlabel: str = "", ylabel: str = "") -> None:
    """Sets the labels, the colours and the grid, and removes the upper and the right border."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED_COLOUR)
    axes.tick_params(colors=TEXT_COLOUR, labelsize=9, color=MUTED_COLOUR)
    axes.grid(axis="y", color=GRID_COLOUR, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(xlabel, color=TEXT_COLOUR)
    axes.set_ylabel(ylabel, color=TEXT_COLOUR)


def annotate_empty(axes: Axes, text: str) -> None:
    """Writes into empty axes why they are empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED_COLOUR, fontsize=11)


def save(figure: Figure, path: str | pathlib.Path) -> None:
    """Writes the figure as a PNG; creates its folder."""
    path, content = pathlib.Path(path), io.BytesIO()
    figure.savefig(content, format="png")
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, content.getvalue())
