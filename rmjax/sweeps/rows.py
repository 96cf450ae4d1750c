"""Runs of a sweep as rows: settings, seed, status and measured values; reading of measures, and CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rmjax.errors import InputError
from rmjax.evaluation.outcomes import Outcomes, PromptSums
from rmjax.training.run_paths import RunPaths

UNITS = {"%": 100.0, "": 1.0, "count": 1.0}  # factor of the printed values of a measure


class Measure(NamedTuple):
    """A value to read from each run: `path` is FILE:KEY.KEY..., or KEY.KEY... of evaluation.json.

    `unit` is %, empty, or `count` for a whole number that describes a setting; counts are not compared.
    """

    title: str
    path: str
    unit: str

    @property
    def heading(self) -> str:
        """Header of its column."""
        return f"{self.title}, %" if self.unit == "%" else self.title


@dataclasses.dataclass(frozen=True)
class Row:
    """One run of a sweep.

    Attributes:
        at: its setting, axis -> value.
        seed: its seed.
        status: `finished`, `failed` or `missing`.
        values: measure title -> value, None if the run does not have it.
        error: the reason of a failure.
        folder: its run directory.
        sums: measure title -> its value as sums by prompt, for measures that are means over test pairs.
    """

    at: Mapping[str, Any]
    seed: int
    status: str
    values: Mapping[str, float | None]
    error: str
    folder: str
    sums: Mapping[str, PromptSums] = dataclasses.field(default_factory=dict, compare=False)


def read_measures(folder: Path, measures: Sequence[Measure]) -> dict[str, float | None]:
    """Returns the measures of a finished run; None if the run has no such value.

    Raises:
        InputError: a file is missing, or the value at a path is no number.
    """
    files: dict[Path, Any] = {}
    values: dict[str, float | None] = {}
    for measure in measures:
        name, colon, path = measure.path.rpartition(":")
        file = folder / (name if colon else "evaluation.json")
        if file not in files:
            if not file.is_file():
                raise InputError(f"{file} is missing, but the sweep measures {measure.path}")
            files[file] = json.loads(file.read_text(encoding="utf-8"))
        value = files[file]
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InputError(f"{measure.path} of {folder} is {type(value).__name__}, not a number")
        values[measure.title] = value
    return values


def read_sums(folder: Path, measures: Sequence[Measure]) -> dict[str, PromptSums]:
    """Returns the measures of a finished run that are means over test pairs; none for a run without stored outcomes."""
    paths = RunPaths(folder)
    if not (paths.outcomes.is_file() and paths.finished):
        return {}
    outcomes = Outcomes.from_bytes(paths.outcomes.read_bytes())
    evaluation = json.loads(paths.evaluation.read_text(encoding="utf-8"))
    found = {m.title: outcomes.sums(m.path, evaluation) for m in measures if m.unit != "count" and ":" not in m.path}
    return {title: sums for title, sums in found.items() if sums is not None}


def settings(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Returns the distinct settings of the rows, in their order."""
    found: list[dict[str, Any]] = []
    for row in rows:
        if dict(row.at) not in found:
            found.append(dict(row.at))
    return found


def at_setting(rows: Sequence[Row], at: Mapping[str, Any], title: str) -> dict[int, float]:
    """Returns seed -> value of a measure, over the finished runs of a setting that have it."""
    return {
        row.seed: value
        for row in rows
        if dict(row.at) == dict(at) and row.status == "finished" and (value := row.values[title]) is not None
    }


def sums_at(rows: Sequence[Row], at: Mapping[str, Any], title: str) -> dict[int, PromptSums]:
    """Returns seed -> sums by prompt of a measure, over the runs of a setting that have them."""
    return {row.seed: row.sums[title] for row in rows if dict(row.at) == dict(at) and title in row.sums}


def to_csv(rows: Sequence[Row], measures: Sequence[Measure]) -> str:
    """Returns a line for every run: setting, seed, status, measures in their own units, error and folder."""
    text = io.StringIO()
    names = list(rows[0].at)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, "seed", "status", *(measure.title for measure in measures), "error", "folder"])
    for row in rows:
        values = ["" if (v := row.values.get(m.title)) is None else repr(v) for m in measures]
        writer.writerow([*row.at.values(), row.seed, row.status, *values, row.error, row.folder])
    return text.getvalue()


def show(value: Any) -> str:
    """Returns the printed form of a value on an axis.

    Example:
        >>> show(4000), show("sft")
        ('4,000', 'sft')
    """
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
