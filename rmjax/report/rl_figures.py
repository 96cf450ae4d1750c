"""Figures of a policy's training: curves over steps, scores over KL divergence, and the terms of the reward."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rmjax.report.figures import series_of, smooth
from rmjax.report.style import LEGEND_ABOVE_AXES, LINE_COLOURS, annotate_empty, new_figure, save, style_axes

Rows = Sequence[Mapping[str, Any]]
# Panels of the training curves: label, and the metrics of iterations and of evaluations.
PANELS = (
    ("score", "objective/scores", "validation/score"),
    ("gold: helpful", "gold/helpful", "validation/gold_helpful"),
    ("gold: safety", "gold/safety", "validation/gold_safety"),
    ("KL (nats per response)", "objective/kl", "validation/kl"),
    ("entropy (nats per token)", "policy/entropy_avg", ""),
    ("tokens per response", "val/response_length", "validation/length"),
    ("repetition", "", "validation/repetition"),
)


def training_curves(path: str | pathlib.Path, rows: Rows, title: str) -> None:
    """Writes a PNG with reward, gold reward, KL, entropy and length over the iterations; points are evaluations.

    Args:
        path: the file to write; its folder is created.
        rows: the lines of metrics.jsonl.
        title: the title of the figure.
    """
    panels = [panel for panel in PANELS if any(len(series_of(rows, key)[0]) for key in panel[1:] if key)]
    figure = new_figure(7.5, 1.0 + 1.7 * max(len(panels), 1), title)
    stack = figure.subplots(max(len(panels), 1), 1, sharex=True, squeeze=False)[:, 0]
    if not panels:
        annotate_empty(stack[0], "nothing recorded yet")
        return save(figure, path)
    handles = {}
    for axes, (label, key, validation_key) in zip(stack, panels, strict=True):
        steps, values = series_of(rows, key)
        if len(steps):
            axes.plot(steps, values, color=LINE_COLOURS[0], linewidth=0.8, alpha=0.3)
            handles["iterations"] = axes.plot(steps, smooth(values), color=LINE_COLOURS[0], linewidth=2.0)[0]
        steps, values = series_of(rows, validation_key) if validation_key else (np.array([]), np.array([]))
        if len(steps):
            handles["held-out prompts"] = axes.plot(steps, values, color=LINE_COLOURS[1], marker="o", markersize=4)[0]
        style_axes(axes, ylabel=label)
    stack[0].legend(handles.values(), handles.keys(), **LEGEND_ABOVE_AXES)
    stack[-1].set_xlabel("step (iterations)")
    figure.align_ylabels()
    return save(figure, path)


def scores_over_kl(path: str | pathlib.Path, rows: Rows, title: str) -> None:
    """Writes a PNG with the held-out score and gold reward over the KL divergence from the start.

    A gold reward that falls while the score rises is over-optimization (Gao et al. 2210.10760).
    """
    points = sorted((row for row in rows if "validation/kl" in row), key=lambda row: row["validation/kl"])
    figure = new_figure(7.5, 3.8, title)
    axes = figure.subplots()
    if not points:
        annotate_empty(axes, "no evaluation recorded yet")
        return save(figure, path)
    kl = np.array([max(row["validation/kl"], 0.0) for row in points])
    names = [name for name in ("score", "gold_helpful", "gold_safety") if f"validation/{name}" in points[0]]
    for colour, name in zip(LINE_COLOURS, names, strict=False):
        values = [row[f"validation/{name}"] for row in points]
        axes.plot(np.sqrt(kl), values, color=colour, marker="o", markersize=4, label=name.replace("_", " "))
    axes.legend(**LEGEND_ABOVE_AXES)
    style_axes(axes, xlabel="square root of the KL divergence (nats per response)", ylabel="held-out prompts")
    return save(figure, path)


def reward_terms(path: str | pathlib.Path, rows: Rows, title: str) -> None:
    """Writes a PNG with the weighted terms of the reward, and their shares of the variance of the advantages."""
    first: Mapping[str, Any] = next((row for row in rows if "objective/scores" in row), {})
    names = [key.split("/")[1] for key in first if key.endswith("/weighted")]
    shares = [key.removeprefix("advantage/") for key in first if key.startswith("advantage/")]
    figure = new_figure(7.5, 5.2, title)
    above, below = figure.subplots(2, 1, sharex=True)
    for axes, keys, label in (
        (above, {name: f"reward/{name}/weighted" for name in names}, "reward, weighted"),
        (below, {name: f"advantage/{name}" for name in shares}, "share of the advantages"),
    ):
        for i, (name, key) in enumerate(keys.items()):
            steps, values = series_of(rows, key)
            axes.plot(steps, smooth(values), color=LINE_COLOURS[i % len(LINE_COLOURS)], label=name.replace("_", " "))
        if not keys:
            annotate_empty(axes, "nothing recorded yet")
            continue
        axes.legend(**LEGEND_ABOVE_AXES)
        style_axes(axes, ylabel=label)
    below.set_xlabel("step (iterations)")
    return save(figure, path)
