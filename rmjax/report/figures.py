"""Figures of a run: score histogram, reliability diagram, training curve."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rmjax.data.comparisons import Comparison
from rmjax.evaluation import metrics
from rmjax.report.style import (
    BLUE,
    GREEN,
    LEGEND_ABOVE_AXES,
    MUTED_COLOUR,
    ORANGE,
    TEXT_COLOUR,
    annotate_empty,
    new_figure,
    save,
    style_axes,
)

# Loss and accuracy of guessing the winner of a pair.
CHANCE_OF_PAIRS = {"loss": float(np.log(2.0)), "accuracy": metrics.CHANCE}


def reward_histogram(
    path: str | pathlib.Path, comparisons: Sequence[Comparison], scores: Sequence[np.ndarray], title: str
) -> None:
    """Writes a PNG with two histograms: scores of preferred and other responses, and gaps between winner and loser.

    The preferred responses are those ranked first. Tied pairs are left out, and comparisons in which all responses tie.

    Args:
        path: the file to write; its folder is created.
        comparisons: the judgements.
        scores: for each comparison its K scores, in the order of its responses.
        title: the title of the figure.
    """
    preferred: list[float] = []
    other: list[float] = []
    gaps: list[float] = []
    for comparison, score_K in zip(comparisons, scores, strict=True):
        top = min(comparison.ranks)
        if max(comparison.ranks) == top:
            continue
        for score, rank in zip(score_K, comparison.ranks, strict=True):
            (preferred if rank == top else other).append(float(score))
        gaps += [float(score_K[winner] - score_K[loser]) for winner, loser, tied in comparison.pairs if not tied]

    figure = new_figure(9.0, 3.9, title)
    left, right = figure.subplots(1, 2)
    if not gaps:
        for axes in (left, right):
            annotate_empty(axes, "no untied pair")
        return save(figure, path)

    edges = _edges(np.array(preferred + other))
    for values, colour, label in ((preferred, BLUE, "preferred"), (other, ORANGE, "other")):
        share = np.full(len(values), 100.0 / len(values))
        left.hist(values, edges, weights=share, color=colour, alpha=0.3)
        left.hist(values, edges, weights=share, color=colour, histtype="step", linewidth=1.6)
        left.axvline(np.mean(values), color=colour, linewidth=1.4, linestyle=(0, (4, 2)))
        left.plot([], [], color=colour, linewidth=6, label=f"{label} (mean {np.mean(values):.2f})")
    style_axes(left, xlabel="reward", ylabel="share of responses (%)")
    left.legend(**LEGEND_ABOVE_AXES)

    gap_P = np.array(gaps)
    _, _, bars = right.hist(gap_P, _edges(gap_P), weights=np.full(len(gap_P), 100.0 / len(gap_P)), edgecolor="white")
    for bar in bars:
        bar.set(facecolor=BLUE if bar.get_x() + bar.get_width() / 2 > 0 else ORANGE, linewidth=0.6)
    right.axvline(0, color=TEXT_COLOUR, linewidth=1.2)
    accuracy = 100.0 * metrics.accuracy(gap_P)
    right.plot([], [], color=BLUE, linewidth=6, label=f"right order ({accuracy:.1f} %)")
    right.plot([], [], color=ORANGE, linewidth=6, label=f"wrong order ({100 - accuracy:.1f} %)")
    style_axes(right, xlabel="reward gap, winner minus loser", ylabel="share of pairs (%)")
    right.legend(**LEGEND_ABOVE_AXES)
    return save(figure, path)


def reliability_diagram(path: str | pathlib.Path, measured: Mapping[str, Any], title: str) -> None:
    """Writes a PNG: accuracy against confidence, and the number of pairs at each confidence.

    Args:
        path: the file to write; its folder is created.
        measured: the calibration of one head, from `calibration.calibration`. The calibration at the fitted temperature
            is drawn too, if there is one.
        title: the title of the figure.
    """
    series = [(measured, BLUE, "no temperature")]
    if tempered := measured["tempered"]:
        series.append((tempered, ORANGE, f"at temperature {tempered['temperature']:.3g}"))
    figure = new_figure(6.8, 6.4, title)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot(
        [50, 100], [50, 100], color=MUTED_COLOUR, linewidth=1.2, linestyle=(0, (4, 3)), label="perfect", zorder=1
    )
    for index, (values, colour, name) in enumerate(series):
        filled = [bin for bin in values["bins"] if bin["pairs"]]
        points = [[100 * bin[key] for bin in filled] for key in ("confidence", "accuracy")]
        label = f"{name} (error {100 * values['calibration_error']:.1f} %)" if filled else name
        upper.plot(*points, color=colour, linewidth=1.4, label=label)
        area = [12 + 200 * bin["pairs"] / measured["pairs"] for bin in filled]  # a bin of few pairs gets a small dot
        upper.scatter(*points, area, color=colour, edgecolor="white", zorder=3, clip_on=False)
        for bin in filled:
            width = 100 * (bin["high"] - bin["low"]) / len(series)
            centre = 100 * bin["low"] + (index + 0.5) * width
            lower.bar(centre, bin["pairs"], 0.86 * width, color=colour, alpha=0.75)
            text_style = {"rotation": 90 if len(series) > 1 else 0, "ha": "center", "va": "bottom", "fontsize": 7}
            lower.annotate(f"{bin['pairs']}", (centre, bin["pairs"]), (0, 2), textcoords="offset points", **text_style)
    style_axes(upper, ylabel="pairs in the right order (%)")
    style_axes(lower, xlabel="confidence in the preferred response (%)", ylabel="pairs")
    lower.set_xlim(50, 100)
    lower.margins(y=0.45)
    upper.legend(**LEGEND_ABOVE_AXES)
    return save(figure, path)


def training_curve(
    path: str | pathlib.Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str = "training",
    loss_unit: str = "nats per pair",
    chance: Mapping[str, float] = CHANCE_OF_PAIRS,
) -> None:
    """Writes a PNG of loss, accuracy and learning rate over the steps.

    Noisy lines are faint, with a smoothed line on top; validation values are points. A panel without values is left
    out.

    Args:
        path: the file to write; its folder is created.
        rows: the lines of metrics.jsonl: `step`, and any of `loss`, `validation_loss`, `accuracy` and
            `validation_accuracy` (fractions), `learning_rate`. If two rows have the same step, the later one counts.
        title: the title of the figure.
        loss_unit: the unit of the loss; empty if it has none.
        chance: `loss` and `accuracy` (a fraction) of guessing, as far as they are known; they are drawn as lines.
    """
    panels = [
        (f"loss ({loss_unit})" if loss_unit else "loss", "loss", "validation_loss", 1.0),
        ("accuracy (%)", "accuracy", "validation_accuracy", 100.0),
        ("learning rate", "learning_rate", None, 1.0),
    ]
    series = {key: series_of(rows, key) for panel in panels for key in panel[1:3] if key}
    panels = [panel for panel in panels if any(len(series[key][0]) for key in panel[1:3] if key)]
    heights = [1.0 if panel[1] == "learning_rate" else 2.5 for panel in panels] or [2.5]
    figure = new_figure(7.5, 1.0 + sum(heights), title)
    stack = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    if not panels:
        annotate_empty(stack[0], "nothing recorded yet")
        return save(figure, path)

    handles = {}
    for axes, (label, key, validation_key, unit) in zip(stack, panels, strict=True):
        steps, values = series[key]
        marker = "o" if len(steps) == 1 else None  # a line through one point is invisible
        if validation_key is None:
            axes.plot(steps, values, color=GREEN, linewidth=1.8, marker=marker)
            axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2), useMathText=True)
            axes.set_ylim(bottom=0)
        elif len(steps):
            axes.plot(steps, unit * values, color=BLUE, linewidth=0.8, alpha=0.3)
            handles["training"] = axes.plot(steps, unit * smooth(values), color=BLUE, linewidth=2.0, marker=marker)[0]
        if validation_key and len(series[validation_key][0]):
            steps, values = series[validation_key]
            style = {"marker": "o", "markersize": 5, "markeredgecolor": "white", "linewidth": 1.4, "zorder": 3}
            handles["validation"] = axes.plot(steps, unit * values, color=ORANGE, clip_on=False, **style)[0]
        if key in chance:
            handles["chance"] = axes.axhline(
                unit * chance[key], color=MUTED_COLOUR, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1
            )
        style_axes(axes, ylabel=label)
    stack[0].legend(handles.values(), handles.keys(), **LEGEND_ABOVE_AXES)
    stack[-1].set_xlabel("step (optimizer updates)")
    stack[-1].xaxis.get_major_locator().set_params(integer=True)
    figure.align_ylabels()
    return save(figure, path)


def smooth(values: np.ndarray, *, share: float = 0.03) -> np.ndarray:
    """The values smoothed by a Gaussian kernel, without lag.

    The standard deviation of the kernel is `share` of the number of values. At the ends the weights are normalized to
    sum to 1.
    """
    width = share * len(values)
    reach = min(int(np.ceil(3 * width)), len(values) - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)

    def window(line: np.ndarray) -> np.ndarray:
        return np.convolve(line, kernel, mode="full")[reach : reach + len(line)]

    return window(values) / window(np.ones(len(values)))


def series_of(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the rows that have a finite number under `key`, sorted by step."""
    found = {row["step"]: float(row[key]) for row in rows if row.get(key) is not None and np.isfinite(row[key])}
    steps = sorted(found)
    return np.array(steps), np.array([found[step] for step in steps])


def _edges(values: np.ndarray) -> np.ndarray:
    """Edges of bins of equal width over `values`. They are multiples of the width, so that 0 is always an edge."""
    count = int(np.clip(2 * len(values) ** (1 / 3), 8, 40))  # Rice's rule
    width = float(np.ptp(values)) / count or 1.0
    return width * np.arange(np.floor(values.min() / width), np.floor(values.max() / width) + 2)
