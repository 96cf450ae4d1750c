"""Figures of over-optimisation: proxy and gold reward over KL divergence by setting, and a scatter of two measures."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rmjax.report.style import (
    LEGEND_ABOVE_AXES,
    LINE_COLOURS,
    MUTED_COLOUR,
    annotate_empty,
    new_figure,
    save,
    style_axes,
)
from rmjax.sweeps.overoptimisation import FILE
from rmjax.sweeps.results import SweepResults
from rmjax.sweeps.rows import UNITS, Measure, at_setting, settings, show
from rmjax.sweeps.statistics import mean_interval
from rmjax.training.run_files import read_json

PROXY, GOLD = LINE_COLOURS[0], LINE_COLOURS[1]
COLUMNS = 3
WIDE = 20.0


def curves_over_kl(path: str | pathlib.Path, results: SweepResults) -> None:
    """Writes a PNG with a panel for each setting: proxy and gold reward over the square root of the KL divergence.

    A thin line is a seed, a thick one the mean of the seeds where all have been. A dotted line is the mean peak of the
    gold reward of the seeds that are over-optimised.
    """
    all_settings = settings(results.rows)
    rows = math.ceil(len(all_settings) / COLUMNS)
    figure = new_figure(3.4 * COLUMNS, 0.9 + 2.3 * rows, results.sweep.title)
    panels = figure.subplots(rows, COLUMNS, sharey=True, squeeze=False).ravel()
    for axes in panels[len(all_settings) :]:
        axes.set_axis_off()
    handles = {}
    for axes, at in zip(panels, all_settings, strict=False):
        folders = [results.path / row.folder for row in results.finished if dict(row.at) == at]
        found = [each for folder in folders if (each := read_json(folder / FILE)) is not None]
        axes.set_title(", ".join(map(show, at.values())), fontsize=9, loc="left")
        if not found:
            annotate_empty(axes, "no finished run")
            continue
        for name, colour in (("proxy", PROXY), ("gold", GOLD)):
            for each in found:
                axes.plot(each["d"], each[name], color=colour, linewidth=0.8, alpha=0.4)
            handles[name] = axes.plot(*mean_curve(found, name), color=colour, linewidth=2.2)[0]
        peaks = [each["peak"]["d"] for each in found if each["overoptimised"]]
        if peaks:
            axes.axvline(float(np.mean(peaks)), color=MUTED_COLOUR, linestyle=":", linewidth=1.4)
        style_axes(axes)
    if handles:
        labels = [f"{name} reward" for name in handles]
        figure.legend(handles.values(), labels, loc="upper right", ncols=2, frameon=False, fontsize=9)
    figure.supxlabel("square root of the KL divergence (nats per response)", fontsize=9)
    figure.supylabel("gain (standard deviations of the start)", fontsize=9)
    return save(figure, path)


def mean_curve(found: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns d and the mean over runs of a curve, between the d that all runs have reached, by interpolation.

    A run may come back to a smaller d; the points of a run are ordered by d.
    """
    largest = min(max(each["d"]) for each in found)
    d = np.linspace(0.0, largest, 64)
    lines = []
    for each in found:
        order = np.argsort(each["d"], kind="stable")
        lines.append(np.interp(d, np.array(each["d"])[order], np.array(each[name])[order]))
    return d, np.mean(lines, axis=0)


def scatter(path: str | pathlib.Path, results: SweepResults, x: Measure, y: Measure) -> None:
    """Writes a PNG with a point for every setting: the means over seeds of two measures, ± their standard errors.

    The colour is the value on the first axis of the sweep, the label that on the others. y is logarithmic if all runs
    have positive values and the means differ by more than `WIDE` times.
    """
    figure = new_figure(7.0, 4.8, results.sweep.title)
    axes = figure.subplots()
    first = list(dict.fromkeys(next(iter(at.values())) for at in settings(results.rows)))
    colours = {value: LINE_COLOURS[i % len(LINE_COLOURS)] for i, value in enumerate(first)}
    handles, heights, lowest = {}, [], []
    for at in settings(results.rows):
        values = [list(at_setting(results.rows, at, measure.title).values()) for measure in (x, y)]
        if not all(values):
            continue
        means = [mean_interval(each) for each in values]
        units = UNITS[x.unit], UNITS[y.unit]
        place = units[0] * means[0].mean, units[1] * means[1].mean
        errors = [unit * each.error if each.n > 1 else 0.0 for unit, each in zip(units, means, strict=True)]
        group, *others = at.values()
        axes.errorbar(*place, xerr=errors[0], yerr=errors[1], color=colours[group], linewidth=1.2)
        handles[show(group)] = axes.plot(*place, "o", color=colours[group], markersize=6)[0]
        heights.append(place[1])
        lowest.append(min(values[1]))
        axes.annotate(", ".join(map(show, others)), place, (5, 4), textcoords="offset points", fontsize=7)
    if not handles:
        annotate_empty(axes, "no finished run has both")
        return save(figure, path)
    if min(lowest) > 0 and max(heights) > WIDE * min(heights):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.15)
    if len(first) > 1:
        axes.legend(handles.values(), handles.keys(), **LEGEND_ABOVE_AXES)
    style_axes(axes, xlabel=x.heading, ylabel=y.heading)
    return save(figure, path)
