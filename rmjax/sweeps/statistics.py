"""Many runs -> one table: the mean over seeds with its error, and differences between settings seed by seed."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy

from rmjax.errors import InputError

LEVEL = 0.95
MARK = "*"  # of a difference that remains significant after Holm's correction
UNITS = {"%": 100.0, "": 1.0, "count": 1.0}  # what a measure is multiplied with before it is shown


class Measure(NamedTuple):
    """What to read from a run: `path` is FILE:KEY.KEY..., or KEY.KEY... of evaluation.json.

    `unit` is %, empty, or `count` for a whole number that describes a setting, of which no difference is taken.
    """

    title: str
    path: str
    unit: str

    @property
    def heading(self) -> str:
        """What stands above its numbers."""
        return f"{self.title}, %" if self.unit == "%" else self.title


@dataclasses.dataclass(frozen=True)
class Row:
    """One run of a sweep.

    Attributes:
        at: its place in the sweep, axis -> value.
        seed: its seed.
        status: `finished`, `failed` or `missing`.
        values: measure title -> value, None where the run does not have it.
        error: why it failed.
        folder: its run directory.
    """

    at: Mapping[str, Any]
    seed: int
    status: str
    values: Mapping[str, float | None]
    error: str
    folder: str


class Spread(NamedTuple):
    """Mean over seeds, its standard error, and the 95 % interval of Student's t; NaN with fewer than two seeds."""

    mean: float
    error: float
    low: float
    high: float
    count: int


def mean_interval(values: Sequence[float]) -> Spread:
    """The mean of independent values, with the uncertainty that their scatter shows.

    mean ± t(0.975; n - 1) · s / √n, s with n - 1 degrees of freedom. It covers what differs from seed to seed (initial
    weights, order of the data); the test set is the same for all and its own sampling error is not in it.

    Source: Student (1908), The Probable Error of a Mean.
    """
    count = len(values)
    mean = float(np.mean(values)) if count else math.nan
    if count < 2:
        return Spread(mean, math.nan, math.nan, math.nan, count)
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    reach = float(scipy.stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error
    return Spread(mean, error, mean - reach, mean + reach, count)


def p_value(values: Spread) -> float:
    """Two-sided p of Student's t test that the mean is zero; NaN with fewer than two values.

    2 · P(t(n - 1) > |mean| / error): below 0.05 where the 95 % interval of `spread` excludes zero.
    """
    if math.isnan(values.error):
        return math.nan
    if values.error == 0:
        return float(values.mean == 0)
    return 2 * float(scipy.stats.t.sf(abs(values.mean) / values.error, values.count - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values corrected for how many there are, in their order; NaN is no test and stays NaN.

    With p_(1) <= ... <= p_(m): max over j <= i of min(1, (m - j + 1) · p_(j)). Rejecting what is at most α then rejects
    a true hypothesis with a chance of at most α, however many are true and however the tests depend on each other.

    Source: Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure.
    """
    order = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    corrected, largest = list(map(float, p_values)), 0.0
    for rank, (p, place) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        corrected[place] = largest
    return corrected


def read_measures(folder: Path, measures: Sequence[Measure]) -> dict[str, float | None]:
    """The measures of a finished run; None where the run has no such value.

    Raises:
        InputError: a file is missing, or a path leads to something that is no number.
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


def settings(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The settings of a sweep, each once, in their order."""
    found: list[dict[str, Any]] = []
    for row in rows:
        if dict(row.at) not in found:
            found.append(dict(row.at))
    return found


def at_setting(rows: Sequence[Row], at: Mapping[str, Any], title: str) -> dict[int, float]:
    """seed -> value of a measure, of the finished runs of a setting that have it."""
    return {
        row.seed: row.values[title]
        for row in rows
        if dict(row.at) == dict(at) and row.status == "finished" and row.values[title] is not None
    }


def difference(rows: Sequence[Row], at: Mapping[str, Any], reference: Mapping[str, Any], title: str) -> Spread:
    """Setting less reference, seed by seed: runs of one seed share initial weights and data, and so part of their luck.

    Seeds that only one of the two has play no part.
    """
    mine, theirs = at_setting(rows, at, title), at_setting(rows, reference, title)
    return mean_interval([mine[seed] - theirs[seed] for seed in mine if seed in theirs])


def compared(
    all_settings: Sequence[Mapping[str, Any]], axis: str, against: Sequence[Sequence[Any]]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The settings to compare, (setting, reference) each: they differ on `axis` alone.

    Args:
        all_settings: from `settings`.
        axis: along which they are compared.
        against: (value, reference) on that axis each, for every place on the other axes that has both; where it is
            empty, every setting is compared with the first that it shares the other axes with.
    """

    def elsewhere(at: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in at.items() if name != axis}

    found = []
    for at in all_settings:
        places = [other for other in all_settings if elsewhere(other) == elsewhere(at)]
        if against:
            wanted = [reference for value, reference in against if value == at[axis]]
            found += [(at, other) for reference in wanted for other in places if other[axis] == reference]
        elif places[0] != at:
            found.append((at, places[0]))
    return found


def caption(seeds: int, tests: int) -> str:
    """Returns the caption of the tables; `tests` is the number of differences with an interval."""
    text = (
        f"{seeds} seeds. Mean ± standard error over seeds; differences, seed by seed, with their 95 % interval "
        "(Student's t). An interval covers seeds only: all runs share one test set, and the sampling of its prompts is "
        "not in it."
    )
    if tests:
        text += (
            f" {MARK} marks a difference that remains significant at 5 % after Holm's correction for the number of "
            f"differences in this table, {tests}. If no setting differed from any other, about "
            f"{(1 - LEVEL) * tests:.1f} of their intervals would exclude zero by chance."
        )
    return text


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Lines of a table, the first its heading, in Markdown."""
    head, *rest = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rest])


def table(rows: Sequence[Row], measures: Sequence[Measure]) -> list[list[str]]:
    """Heading and lines: settings down, measures across as mean ± standard error over seeds.

    A mean of fewer values than there are finished runs says of how many.
    """
    everything = settings(rows)
    names = list(everything[0])
    lines = [[*names, *(measure.heading for measure in measures), "runs"]]
    for at in everything:
        mine = [row for row in rows if dict(row.at) == at]
        done = sum(row.status == "finished" for row in mine)
        failed = sum(row.status == "failed" for row in mine)
        runs = f"{done} of {len(mine)}" + (f", {failed} failed" if failed else "")
        cells = [_mean(mean_interval(list(at_setting(rows, at, m.title).values())), m.unit, done) for m in measures]
        lines.append([*(show(at[name]) for name in names), *cells, runs])
    return lines


def difference_table(
    rows: Sequence[Row], measures: Sequence[Measure], axis: str, against: Sequence[Sequence[Any]]
) -> list[list[str]]:
    """Heading and lines: what is compared (see `compared`) down, measures across as differences with intervals.

    `MARK` follows those that remain significant at 5 % after `holm` over all differences of the table.
    """
    names, measured = list(settings(rows)[0]), _measured(measures)
    lines = [[*names, "against", *(measure.heading for measure in measured)]]
    found = differences(rows, measures, axis, against)
    corrected = iter(holm([p_value(each) for _, _, spreads in found for each in spreads]))
    for at, reference, spreads in found:
        cells = [
            _interval(each, m.unit) + MARK * (next(corrected) <= 1 - LEVEL)
            for each, m in zip(spreads, measured, strict=True)
        ]
        lines.append([*(show(at[name]) for name in names), show(reference[axis]), *cells])
    return lines


def differences(
    rows: Sequence[Row], measures: Sequence[Measure], axis: str, against: Sequence[Sequence[Any]]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any], list[Spread]]]:
    """Returns the rows of `difference_table`: (setting, reference, the difference in every measure but counts)."""
    return [
        (at, reference, [difference(rows, at, reference, m.title) for m in _measured(measures)])
        for at, reference in compared(settings(rows), axis, against)
    ]


def to_csv(rows: Sequence[Row], measures: Sequence[Measure]) -> str:
    """A line for every run: its place, seed, status, measures in their own units, and why it failed."""
    text = io.StringIO()
    names = list(rows[0].at)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, "seed", "status", *(measure.title for measure in measures), "error", "folder"])
    for row in rows:
        values = ["" if (v := row.values.get(m.title)) is None else repr(v) for m in measures]
        writer.writerow([*row.at.values(), row.seed, row.status, *values, row.error, row.folder])
    return text.getvalue()


def show(value: Any) -> str:
    """A value on an axis, for people."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _measured(measures: Sequence[Measure]) -> list[Measure]:
    return [measure for measure in measures if measure.unit != "count"]


def _digits(unit: str) -> int:
    return 1 if unit == "%" else 3


def _mean(values: Spread, unit: str, runs: int) -> str:
    if not values.count:
        return "-"
    fewer = f" (of {values.count})" if values.count < runs else ""
    if unit == "count":
        return f"{values.mean:,.0f}{fewer}"
    factor, digits = UNITS[unit], _digits(unit)
    text = f"{factor * values.mean:.{digits}f}"
    return (text if math.isnan(values.error) else f"{text} ± {factor * values.error:.{digits}f}") + fewer


def _interval(values: Spread, unit: str) -> str:
    if not values.count:
        return "-"
    factor, digits = UNITS[unit], _digits(unit)
    text = f"{factor * values.mean:+.{digits}f}"
    if math.isnan(values.low):
        return text
    return f"{text} ({factor * values.low:+.{digits}f} to {factor * values.high:+.{digits}f})"
