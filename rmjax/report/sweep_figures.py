"""Pictures of a sweep: settings side by side, or a measure along an axis."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np

from rmjax.errors import InputError
from rmjax.report.style import ABOVE, BLUE, COLOURS, FAINT, INK, dress, new_figure, save
from rmjax.sweeps.results import SweepResults
from rmjax.sweeps.rows import UNITS, Measure, Row, at_setting, settings, show
from rmjax.sweeps.statistics import mean_interval


def draw(results: SweepResults, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes the figures that the sweep's page asks for, NAME.png each, in its order; none without a finished run."""
    measures = {measure.title: measure for measure in results.measures}
    paths = []
    for name, kind, *what in results.page["figures"] if results.finished else ():
        paths.append(folder / f"{name}.png")
        if kind == "curves":
            title, axis, *replaced = what
            stands_for = {"replaces": replaced[0]} if replaced else {}
            curves(paths[-1], results.finished, measures[title], axis, results.page["title"], **stands_for)
        else:
            chosen = [measures[title] for title in what]
            points(paths[-1], results.rows, chosen, results.page["title"])
    return paths


def points(path: str | pathlib.Path, rows: Sequence[Row], measures: Sequence[Measure], title: str) -> None:
    """Writes a PNG: settings down, a panel for every measure; the mean, its 95 % interval, and every seed."""
    everything = settings(rows)
    labels = [", ".join(map(show, at.values())) for at in everything]
    figure = new_figure(2.2 + 3.2 * len(measures), 1.5 + 0.42 * len(everything), title)
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, measure in zip(panels, measures, strict=True):
        factor = UNITS[measure.unit]
        for place, at in enumerate(everything):
            values = factor * np.array(list(at_setting(rows, at, measure.title).values()))
            if not len(values):
                axes.text(0.5, place, "no run", transform=axes.get_yaxis_transform(), color=FAINT, ha="center")
                continue
            mean = mean_interval(list(values))
            axes.plot(values, np.full(len(values), place), "o", color=FAINT, markersize=4, alpha=0.6)
            axes.plot([mean.low, mean.high], [place, place], color=BLUE, linewidth=2.0)
            axes.plot(mean.mean, place, "o", color=BLUE, markersize=7, markeredgecolor="white")
        dress(axes, xlabel=measure.heading)
        axes.grid(axis="x", color="#E6E6E6", linewidth=0.8)
        axes.grid(axis="y", visible=False)
    panels[0].set_yticks(range(len(everything)), labels)
    panels[0].set_ylabel(", ".join(everything[0]))
    panels[0].set_ylim(len(everything) - 0.5, -0.5)
    return save(figure, path)


def curves(
    path: str | pathlib.Path, rows: Sequence[Row], measure: Measure, axis: str, title: str, *, replaces: str = ""
) -> None:
    """Writes a PNG: the measure along a numeric axis, drawn logarithmically, a line for every rest of the setting.

    Args:
        path: the file to write; its folder is made.
        rows: the runs.
        measure: what is drawn.
        axis: an axis of the sweep, or the title of a measure, whose mean over the seeds is then the place.
        title: the heading.
        replaces: the axis that this measure stands for, as parameters for width.

    Raises:
        InputError: a value on the axis is no positive number.
    """
    factor = UNITS[measure.unit]
    everything = settings(rows)
    varied = [name for name in everything[0] if len({at[name] for at in everything}) > 1]
    told_apart = [name for name in varied if name not in (axis, replaces)]
    lines: dict[str, list[tuple[float, float, float, float]]] = {}
    for at in everything:
        values = list(at_setting(rows, at, measure.title).values())
        if not values:
            continue
        x = at[axis] if axis in at else mean_interval(list(at_setting(rows, at, axis).values())).mean
        if not isinstance(x, int | float) or not x > 0:
            raise InputError(f"{axis} is {x!r} in a run of the sweep: a curve needs positive numbers")
        label = ", ".join(show(at[name]) for name in told_apart)
        mean = mean_interval([factor * value for value in values])
        lines.setdefault(label, []).append((float(x), mean.mean, mean.low, mean.high))
    figure = new_figure(6.5, 4.5, title)
    axes = figure.subplots()
    places = sorted({place for found in lines.values() for place, *_ in found})
    for number, (label, found) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        x, mean, low, high = np.array(sorted(found)).T
        aside = number - (len(lines) - 1) / 2  # lines stand a little beside each other, so that no bar hides another
        x = x * (places[-1] / places[0]) ** (0.008 * aside)
        axes.plot(x, mean, "o-", color=colour, linewidth=1.8, markersize=6, markeredgecolor="white", label=label)
        axes.vlines(x, low, high, color=colour, linewidth=1.6, alpha=0.6)
    axes.set_xscale("log")
    axes.set_xticks(places, [f"{place:,.0f}" for place in places])
    axes.minorticks_off()
    dress(axes, xlabel=axis, ylabel=measure.heading)
    axes.tick_params(axis="x", labelrotation=30 if len(places) > 6 else 0)
    if any(lines):
        axes.legend(title=", ".join(told_apart), alignment="left", title_fontsize=9, **{**ABOVE, "ncols": 4})
    figure.supxlabel("bars: 95 % interval over seeds", x=0.99, ha="right", color=INK, fontsize=8)
    return save(figure, path)
