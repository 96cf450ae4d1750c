"""Tables of a sweep: means over seeds, and differences between settings, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rmjax.evaluation.crossed import CrossedInterval
from rmjax.evaluation.outcomes import difference_interval
from rmjax.evaluation.text_table import interval_text
from rmjax.sweeps.rows import UNITS, Measure, Row, at_setting, settings, show, sums_at
from rmjax.sweeps.statistics import LEVEL, MeanInterval, all_equal, holm, mean_interval, p_value

MARK = "*"  # of a difference that remains significant after Holm's correction

Interval = MeanInterval | CrossedInterval


def table(rows: Sequence[Row], measures: Sequence[Measure]) -> list[list[str]]:
    """Returns header and lines: settings down, measures across as mean ± standard error over seeds.

    A mean of fewer values than finished runs is followed by their number.
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
    """Returns header and lines: comparisons (see `compared`) down, measures across as differences with intervals.

    `MARK` follows a difference that remains significant at 5 % after `holm` over all differences of the table.
    """
    names, without_counts = list(settings(rows)[0]), _without_counts(measures)
    lines = [[*names, "against", *(measure.heading for measure in without_counts)]]
    found = differences(rows, measures, axis, against)
    corrected = iter(holm([p_value(each) for _, _, intervals in found for each in intervals]))
    for at, reference, intervals in found:
        cells = [
            difference_in_words(each, m.unit) + MARK * (next(corrected) <= 1 - LEVEL)
            for each, m in zip(intervals, without_counts, strict=True)
        ]
        lines.append([*(show(at[name]) for name in names), show(reference[axis]), *cells])
    return lines


def differences(
    rows: Sequence[Row], measures: Sequence[Measure], axis: str, against: Sequence[Sequence[Any]]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any], list[Interval]]]:
    """Returns the rows of `difference_table`: (setting, reference, the difference in every measure but counts)."""
    return [
        (at, reference, [difference(rows, at, reference, m.title) for m in _without_counts(measures)])
        for at, reference in compared(settings(rows), axis, against)
    ]


def difference(rows: Sequence[Row], at: Mapping[str, Any], reference: Mapping[str, Any], title: str) -> Interval:
    """Returns the mean of setting minus reference, seed by seed.

    Runs of one seed share initial weights and data, so part of their random variation cancels. Seeds without both runs
    are left out. The interval is over seeds and test prompts if all these runs have stored their outcomes on the same
    pairs and the measure is a mean over pairs (`Outcomes.sums`). Otherwise it is over seeds alone.
    """
    mine, theirs = at_setting(rows, at, title), at_setting(rows, reference, title)
    seeds = [seed for seed in mine if seed in theirs]
    sums, other_sums = sums_at(rows, at, title), sums_at(rows, reference, title)
    if all(seed in sums and seed in other_sums for seed in seeds):
        crossed = difference_interval([sums[seed] for seed in seeds], [other_sums[seed] for seed in seeds])
        if crossed is not None:
            return crossed
    return mean_interval([mine[seed] - theirs[seed] for seed in seeds])


def compared(
    all_settings: Sequence[Mapping[str, Any]], axis: str, against: Sequence[Sequence[Any]]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Returns the settings to compare, each as (setting, reference): they differ on `axis` alone.

    Args:
        all_settings: from `settings`.
        axis: the axis of the comparison.
        against: pairs (value, reference) on that axis, used for all values of the other axes that have both. If it is
            empty, every setting is compared with the first one that has the same values on the other axes.
    """

    def other_axes(at: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in at.items() if name != axis}

    found = []
    for at in all_settings:
        candidates = [other for other in all_settings if other_axes(other) == other_axes(at)]
        if against:
            wanted = [reference for value, reference in against if value == at[axis]]
            found += [(at, other) for reference in wanted for other in candidates if other[axis] == reference]
        elif candidates[0] != at:
            found.append((at, candidates[0]))
    return found


def caption(seeds: int, tests: int, crossed: Sequence[str] = (), others: Sequence[str] = ()) -> str:
    """Returns the caption of the tables.

    Args:
        seeds: the number of seeds.
        tests: the number of differences with an interval.
        crossed: the measures whose intervals are over seeds and test prompts.
        others: the measures whose intervals are over seeds alone.
    """
    text = (
        f"{seeds} seeds. Mean ± standard error over seeds; differences, seed by seed, with their 95 % interval "
        "(Student's t)."
    )
    if crossed:
        text += (
            f" Intervals of {', '.join(crossed)} are over seeds and test prompts (the sum of both variances, with "
            "Satterthwaite's degrees of freedom)."
        )
    if others or not crossed:
        which = f"An interval of {', '.join(others)}" if crossed else "An interval"
        text += f" {which} covers seeds only: the sampling of the test set, which all runs share, is not in it."
    if tests:
        text += (
            f" {MARK} marks a difference that remains significant at 5 % after Holm's correction for the number of "
            f"differences in this table, {tests}. If no setting differed from any other, about "
            f"{(1 - LEVEL) * tests:.1f} of their intervals would exclude zero by chance."
        )
    return text


def _without_counts(measures: Sequence[Measure]) -> list[Measure]:
    return [measure for measure in measures if measure.unit != "count"]


def _digits(unit: str) -> int:
    return 1 if unit == "%" else 3


def _mean(values: MeanInterval, unit: str, runs: int) -> str:
    if not values.n:
        return "-"
    fewer = f" (of {values.n})" if values.n < runs else ""
    if unit == "count":
        return f"{values.mean:,.0f}{fewer}"
    factor, digits = UNITS[unit], _digits(unit)
    text = f"{factor * values.mean:.{digits}f}"
    return (text if math.isnan(values.error) else f"{text} ± {factor * values.error:.{digits}f}") + fewer


def difference_in_words(values: Interval, unit: str) -> str:
    """Returns a difference with its 95 % interval; a dash without values.

    If the difference is the same in all seeds, these say nothing about its variance: there is no interval.
    """
    if not values.n:
        return "-"
    form, scale = f"+.{_digits(unit)}f", UNITS[unit]
    text = f"{scale * values.mean:{form}}"
    if isinstance(values, MeanInterval) and all_equal(values):
        return f"{text} (in all {values.n} seeds)"
    return text + interval_text((values.low, values.high), " ({})", form=form, scale=scale)
