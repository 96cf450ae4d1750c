"""What every figure has in common: paper, ink, colours.

matplotlib is imported inside the functions, so that evaluation works without it; figures are objects that go straight
to a file, so that no window, backend or global style is touched. Colours are Okabe & Ito's, distinct to every eye.
"""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9")
INK, FAINT = "#262626", "#8C8C8C"
DPI = 150
ABOVE = {
    "loc": "lower left",
    "bbox_to_anchor": (-0.01, 1.0),
    "ncols": 3,
    "frameon": False,
    "fontsize": 9,
    "handlelength": 1.6,
}


def new_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure of so many inches, its heading on the left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    figure.suptitle(title, fontsize=12, weight="bold", color=INK, x=0.012, ha="left")
    return figure


def dress(axes: Axes, *, xlabel: str = "", ylabel: str = "") -> None:
    """Labels, and no more lines than a reader needs."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9, color=FAINT)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(xlabel, color=INK)
    axes.set_ylabel(ylabel, color=INK)


def say_empty(axes: Axes, text: str) -> None:
    """Says in words why there is nothing to see."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=FAINT, fontsize=11)


def save(figure: Figure, path: str | pathlib.Path) -> None:
    """Writes the PNG; its folder is made."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")
