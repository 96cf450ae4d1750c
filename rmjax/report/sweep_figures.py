"""Figures of a sweep: measures by setting, and a measure along an axis."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np

from rmjax.errors import InputError
from rmjax.report.overoptimisation_figures import curves_over_kl, scatter
from rmjax.report.style import (
    BLUE,
    GRID_COLOUR,
    LEGEND_ABOVE_AXES,
    LINE_COLOURS,
    MUTED_COLOUR,
    TEXT_COLOUR,
    new_figure,
    save,
    style_axes,
)
from rmjax.sweeps.results import SweepResults
from rmjax.sweeps.rows import UNITS, Measure, Row, at_setting, settings, show
from rmjax.sweeps.statistics import mean_interval


def draw(results: SweepResults, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes the figures of a sweep as NAME.png, in the order of its configuration; none if no run has finished."""
    measures = {measure.title: measure for measure in results.measures}
    paths = []
    for name, kind, *titles in results.sweep.figures if results.finished else ():
        paths.append(folder / f"{name}.png")
        if kind == "over KL":
            curves_over_kl(paths[-1], results)
        elif kind == "scatter":
            scatter(paths[-1], results, measures[titles[0]], measures[titles[1]])
        elif kind == "curves":
            title, axis, *replaced = titles
            options = {"replaces": replaced[0]} if replaced else {}
            curves(paths[-1], results.finished, measures[title], axis, results.sweep.title, **options)
        else:
            chosen = [measures[title] for title in titles]
            points(paths[-1], results.rows, chosen, results.sweep.title)
    return paths


def points(path: str | pathlib.Path, rows: Sequence[Row], measures: Sequence[Measure], title: str) -> None:
    """Writes a PNG with a row for each setting and a panel for each measure: the mean, its 95 % interval, all seeds."""
    all_settings = settings(rows)
    labels = [", ".join(map(show, at.values())) for at in all_settings]
    figure = new_figure(2.2 + 3.2 * len(measures), 1.5 + 0.42 * len(all_settings), title)
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, measure in zip(panels, measures, strict=True):
        factor = UNITS[measure.unit]
        for y, at in enumerate(all_settings):
            values = factor * np.array(list(at_setting(rows, at, measure.title).values()))
            if not len(values):
                axes.text(0.5, y, "no run", transform=axes.get_yaxis_transform(), color=MUTED_COLOUR, ha="center")
                continue
            mean = mean_interval(list(values))
            axes.plot(values, np.full(len(values), y), "o", color=MUTED_COLOUR, markersize=4, alpha=0.6)
            axes.plot([mean.low, mean.high], [y, y], color=BLUE, linewidth=2.0)
            axes.plot(mean.mean, y, "o", color=BLUE, markersize=7, markeredgecolor="white")
        style_axes(axes, xlabel=measure.heading)
        axes.grid(axis="x", color=GRID_COLOUR, linewidth=0.8)
        axes.grid(axis="y", visible=False)
    panels[0].set_yticks(range(len(all_settings)), labels)
    panels[0].set_ylabel(", ".join(all_settings[0]))
    panels[0].set_ylim(len(all_settings) - 0.5, -0.5)
    return save(figure, path)


def curves(
    path: str | pathlib.Path, rows: Sequence[Row], measure: Measure, axis: str, title: str, *, replaces: str = ""
) -> None:
    """Writes a PNG of a measure along a logarithmic axis, with a line for each combination of the other axes.

    Args:
        path: the file to write; its folder is created.
        rows: the runs.
        measure: the measure to draw.
        axis: an axis of the sweep, or the title of a measure; the value on it is then the mean over the seeds.
        title: the title of the figure.
        replaces: the axis of the sweep that `axis` replaces, as parameters replace the width.

    Raises:
        InputError: a value on the axis is not a positive number.
    """
    factor = UNITS[measure.unit]
    all_settings = settings(rows)
    varied = [name for name in all_settings[0] if len({at[name] for at in all_settings}) > 1]
    line_axes = [name for name in varied if name not in (axis, replaces)]
    lines: dict[str, list[tuple[float, float, float, float]]] = {}
    for at in all_settings:
        values = list(at_setting(rows, at, measure.title).values())
        if not values:
            continue
        x = at[axis] if axis in at else mean_interval(list(at_setting(rows, at, axis).values())).mean
        if not isinstance(x, int | float) or not x > 0:
            raise InputError(f"{axis} is {x!r} in a run of the sweep: a curve needs positive numbers")
        label = ", ".join(show(at[name]) for name in line_axes)
        mean = mean_interval([factor * value for value in values])
        lines.setdefault(label, []).append((float(x), mean.mean, mean.low, mean.high))
    figure = new_figure(6.5, 4.5, title)
    axes = figure.subplots()
    ticks = sorted({x for found in lines.values() for x, *_ in found})
    for number, (label, found) in enumerate(lines.items()):
        colour = LINE_COLOURS[number % len(LINE_COLOURS)]
        x, mean, low, high = np.array(sorted(found)).T
        shift = number - (len(lines) - 1) / 2  # lines are shifted a little, so that their bars do not overlap
        x = x * (ticks[-1] / ticks[0]) ** (0.008 * shift)
        axes.plot(x, mean, "o-", color=colour, linewidth=1.8, markersize=6, markeredgecolor="white", label=label)
        axes.vlines(x, low, high, color=colour, linewidth=1.6, alpha=0.6)
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.minorticks_off()
    style_axes(axes, xlabel=axis, ylabel=measure.heading)
    axes.tick_params(axis="x", labelrotation=30 if len(ticks) > 6 else 0)
    if any(lines):
        legend = {**LEGEND_ABOVE_AXES, "ncols": 4}
        axes.legend(title=", ".join(line_axes), alignment="left", title_fontsize=9, **legend)
    figure.supxlabel("bars: 95 % interval over seeds", x=0.99, ha="right", color=TEXT_COLOUR, fontsize=8)
    return save(figure, path)
