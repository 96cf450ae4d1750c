"""Rows and axes of the metrics in a report."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from rmjax.evaluation.metrics import CHANCE, Metrics
from rmjax.evaluation.summary import NUMBERS
from rmjax.evaluation.text_table import percent

BREAKDOWNS = {
    "subsets": ("Subset", "the data have none"),
    "strengths": ("Strength of the preference", "the data have none"),
    "turns": ("User turns of the prompt", "not measured"),
    "length_differences": ("Extra characters of the winner", "not measured"),
}


@dataclasses.dataclass(frozen=True)
class AccuracyAxis:
    """A horizontal axis of accuracies, from `low` to 1."""

    low: float

    @property
    def ticks(self) -> list[float]:
        """The multiples of 10 % on the axis."""
        return [step / 10 for step in range(round(10 * self.low), 11)]

    def position(self, accuracy: float) -> str:
        """The distance of an accuracy from the left end, in percent of the width."""
        return f"{100 * (accuracy - self.low) / (1 - self.low):.2f}%"


def axis_of(parts: Iterable[Metrics], *more: float | None) -> AccuracyAxis:
    """The axis for accuracies with their intervals, and for `more` values without one.

    It begins at a multiple of 10 % below all of them and below chance.
    """
    values = [CHANCE, *more]
    for part in parts:
        values += [part["accuracy"], (part["accuracy_ci95"] or [None])[0]]
    lowest = min(value for value in values if value is not None)
    return AccuracyAxis(max(0.0, math.floor(10 * lowest - 0.25) / 10))


def scale_axis(head: Metrics) -> AccuracyAxis:
    """The axis for the accuracy of a head, of length alone and of the ceiling."""
    return axis_of([head], head["length_rule_accuracy"], head["ceiling"])


def breakdown_tables(head: Metrics) -> tuple[AccuracyAxis, list[tuple[str, str, Mapping[str, Metrics]]]]:
    """One axis for all breakdowns of a head, and of each its title, the reason if it is empty, and its parts."""
    tables = [(title, reason, head.get(kind) or {}) for kind, (title, reason) in BREAKDOWNS.items()]
    return axis_of(part for _, _, parts in tables for part in parts.values()), tables


def number_rows(heads: Mapping[str, Metrics]) -> list[tuple[str, ...]]:
    """Every number of the heads, a column for each head."""

    def accuracy(head: Metrics) -> str:
        return f"{percent(head['accuracy'])} (95 % interval {interval(head)}; {head['pairs']:,} pairs)"

    return [(label, *map(show, heads.values())) for label, show in (("accuracy", accuracy), *NUMBERS)]


def agreement_rows(agreement: Mapping[str, Mapping[str, Metrics]]) -> list[tuple[str, ...]]:
    """How often two heads order the responses alike, and how their scores correlate."""
    return [
        (
            f"{one}, {other}",
            f"{part['pairs']:,}",
            percent(part["order_alike"]),
            interval(part, "order_alike"),
            decimals(part["pearson"]),
            decimals(part["spearman"]),
        )
        for one, others in agreement.items()
        for other, part in others.items()
    ]


def gate_parts(gate: Metrics) -> dict[str, Metrics]:
    """The accuracies of a gate's single score, on all data and on the data of each label."""
    return {"all": gate, **gate["labels"]}


def calibration_rows(calibration: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The heading and the errors of a calibration, without and (if one was fitted) with a temperature."""
    columns = {"no temperature": calibration}
    if tempered := calibration["tempered"]:
        columns[f"at temperature {tempered['temperature']:.3g}"] = tempered
    return [
        ("", *columns),
        ("Calibration error", *(percent(column["calibration_error"]) for column in columns.values())),
        ("Brier score (chance: 0.250)", *(decimals(column["brier"]) for column in columns.values())),
        ("Loss (chance: 0.693)", *(decimals(column["loss"]) for column in columns.values())),
    ]


def bin_rows(calibration: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The reliability bins."""
    return [
        (
            f"{100 * bin['low']:.0f} to {100 * bin['high']:.0f} %",
            f"{bin['pairs']:,}",
            percent(bin["confidence"]),
            percent(bin["accuracy"]),
        )
        for bin in calibration["bins"]
    ]


def validation_rows(logged: Iterable[Metrics]) -> list[tuple[str, ...]]:
    """Step, loss and accuracy of every validation during training."""
    return [
        (f"{row['step']:,}", decimals(row["validation_loss"]), percent(row["validation_accuracy"]))
        for row in logged
        if "validation_loss" in row
    ]


def interval(part: Metrics, name: str = "accuracy") -> str:
    """The 95 % interval of a fraction, in percent."""
    bounds = part[f"{name}_ci95"]
    return "none" if bounds is None else " to ".join(f"{100 * bound:.1f}" for bound in bounds)


def decimals(value: float | None) -> str:
    """A number with three decimals; a dash if it is undefined."""
    return "-" if value is None else f"{value:.3f}"
