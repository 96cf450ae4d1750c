"""Results of a sweep, read from its directory: rows, tables, and the text of its scaling fits."""

from __future__ import annotations

import csv
import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rmjax.errors import InputError
from rmjax.evaluation.crossed import CrossedInterval
from rmjax.sweeps.rows import Measure, Row, at_setting, read_sums, settings, show
from rmjax.sweeps.scaling import fit_logarithms, fit_power_law
from rmjax.sweeps.settings import Sweep, parse_sweep, setting_label
from rmjax.sweeps.statistics import LEVEL, holm, mean_interval, p_value
from rmjax.sweeps.tables import caption, difference_in_words, difference_table, differences, table
from rmjax.training.run_files import read_json

MOST_SENTENCES = 4  # on differences that are not clear; more are counted


@dataclasses.dataclass(frozen=True)
class SweepResults:
    """A sweep and the measured values of its runs.

    Attributes:
        path: its directory.
        sweep: its settings (`sweep.json`).
        rows: a row for every run, in the order of `results.csv`.
    """

    path: Path
    sweep: Sweep
    rows: Sequence[Row]

    @property
    def measures(self) -> Sequence[Measure]:
        """Measures that are read from every run."""
        return self.sweep.measures

    @property
    def table(self) -> list[list[str]]:
        """Header and lines of the means over seeds."""
        return table(self.rows, self.measures)

    @property
    def differences(self) -> list[list[str]]:
        """Header and lines of the differences that the page asks for, seed by seed."""
        return difference_table(self.rows, self.measures, self.sweep.compare, self.sweep.against)

    @property
    def caption(self) -> str:
        """Caption of both tables."""
        found = differences(self.rows, self.measures, self.sweep.compare, self.sweep.against)
        titles = [measure.title for measure in self.measures if measure.unit != "count"]
        tests = [
            (title, each)
            for _, _, intervals in found
            for title, each in zip(titles, intervals, strict=True)
            if not math.isnan(each.error)
        ]
        by_seeds = {title for title, each in tests if not isinstance(each, CrossedInterval)}
        crossed = [title for title in titles if title not in by_seeds and title in {title for title, _ in tests}]
        return caption(self.sweep.seeds, len(tests), crossed, [title for title in titles if title in by_seeds])

    @property
    def finished(self) -> list[Row]:
        """Rows of the finished runs."""
        return [row for row in self.rows if row.status == "finished"]


def read_sweep(path: str | Path) -> SweepResults:
    """Returns a sweep from sweep.json and results.csv of its directory.

    Raises:
        InputError: one of them is missing or cannot be read, or they are not of the same sweep.
    """
    path = Path(path)
    stored = read_json(path / "sweep.json")
    if stored is None:
        raise InputError(f"{path} holds no sweep (sweep.json is missing): give the directory of experiments/sweep.py")
    sweep = parse_sweep(stored)
    collected = path / "results.csv"
    if not collected.is_file():
        raise InputError(f"{collected} is missing: experiments/sweep.py writes it when all runs have ended")
    with collected.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    axes = list(sweep.settings[0].at)
    titles = [measure.title for measure in sweep.measures]
    needed = {*axes, "seed", "status", *titles, "error", "folder"}
    # A CSV has texts only: the value of a text, 4000 or "4000", is in the configuration.
    values_of = {tuple(map(str, setting.at.values())): setting.at for setting in sweep.settings}
    rows = []
    for number, line in enumerate(lines, start=2):
        at = values_of.get(tuple(line.get(axis, "") for axis in axes))
        if at is None or not needed <= line.keys():
            raise InputError(f"{collected}, line {number}, does not fit sweep.json: run experiments/sweep.py again")
        values = {title: float(line[title]) if line[title] else None for title in titles}
        sums = read_sums(path / line["folder"], sweep.measures)
        rows.append(Row(at, int(line["seed"]), line["status"], values, line["error"], line["folder"], sums))
    return SweepResults(path, sweep, rows)


def find_sweeps(folder: str | Path) -> list[Path]:
    """Returns the directories of sweeps with results in a folder and its subfolders, by name."""
    return sorted(path.parent for path in Path(folder).rglob("results.csv") if (path.parent / "sweep.json").is_file())


def measured_in_words(results: SweepResults) -> str:
    """Returns the measured values of a page's assumptions, as medians over its differences; empty if there are none.

    They are of the measure `accuracy`, and for the next sweep of this kind.
    """
    accuracy = [measure for measure in results.measures if measure.path == "accuracy"]
    found = differences(results.rows, accuracy, results.sweep.compare, results.sweep.against)
    crossed = [each for _, _, (each,) in found if isinstance(each, CrossedInterval) and each.n > 1] if accuracy else []
    if not crossed:
        return ""
    seed_sd = statistics.median(each.seed_sd for each in crossed)
    prompt_sd = statistics.median(each.prompt_sd for each in crossed)
    return (
        f"Measured, medians of {len(crossed)} differences in accuracy: standard deviations of "
        f"{100 * seed_sd:.1f} points over seeds and of {100 * prompt_sd:.1f} points over prompts."
    )


def found_in_words(results: SweepResults) -> list[str]:
    """Returns what the sweep has found: a sentence for every difference in its first measure; many are counted.

    A difference is clear if it remains significant at 5 % after Holm's correction, as the marks of the table.
    """
    sweep = results.sweep
    measures = [measure for measure in results.measures if measure.unit != "count"]
    compared = differences(results.rows, results.measures, sweep.compare, sweep.against)
    if not compared or not measures:
        return []
    first, unit = measures[0], "points" if measures[0].unit == "%" else ""
    corrected = holm([p_value(each) for _, _, intervals in compared for each in intervals])[:: len(measures)]
    clear: list[str] = []
    unclear: list[str] = []
    unknown: list[str] = []
    for (at, reference, (found, *_)), p in zip(compared, corrected, strict=True):
        names = f"{setting_label(at)} against {show(reference[sweep.compare])}"
        if math.isnan(found.error):
            unknown.append(names)
            continue
        size = " ".join(filter(None, (difference_in_words(found, first.unit), unit)))
        word = "no clear difference" if p > 1 - LEVEL else "higher" if found.mean > 0 else "lower"
        (unclear if p > 1 - LEVEL else clear).append(f"{names}: {first.title} {size}, {word}.")
    if len(unclear) > MOST_SENTENCES:
        unclear = [f"{len(unclear)} other comparisons show no clear difference in {first.title}."]
    if unknown:
        unclear.append(f"{len(unknown)} comparisons have too few finished seeds for an interval.")
    return clear + unclear


def fit_in_words(results: SweepResults) -> str:
    """Returns the text of the scaling fits of the sweep, a paragraph for each; empty if it has none."""
    fits = ((results.sweep.fit, _line_in_words), (results.sweep.power_law, _power_law_in_words))
    return "\n\n".join(_fit_in_words(results, fit, in_words) for fit, in_words in fits if fit)


def _fit_in_words(results: SweepResults, fit: Sequence[str], in_words: Callable[..., str]) -> str:
    title, *quantities = fit
    # One point for a setting, because its seeds share the errors of the curve: misfit, nested data, the test set.
    measured = [at for at in settings(results.rows) if at_setting(results.rows, at, title)]

    def mean(at: Mapping[str, Any], name: str) -> float:
        return at[name] if name in at else mean_interval(list(at_setting(results.rows, at, name).values())).mean

    sizes = {quantity: [mean(at, quantity) for at in measured] for quantity in quantities}
    try:
        return in_words(title, [mean(at, title) for at in measured], sizes)
    except InputError as error:
        return f"No fit: {error}."


def _line_in_words(title: str, means: list[float], sizes: dict[str, list[float]]) -> str:
    coefficients = fit_logarithms(means, sizes)
    residual, intercept = coefficients.pop("residual").value, coefficients.pop("intercept").value
    terms = [f"{c.value:.4f} ({c.low:.4f} to {c.high:.4f}) ln {name}" for name, c in coefficients.items()]
    return (
        f"Fit: {title} = {intercept:.4f} + {' + '.join(terms)}, 95 % intervals, {residual:.4f} around the line through "
        f"the means of {len(means)} settings."
    )


def _power_law_in_words(title: str, means: list[float], sizes: dict[str, list[float]]) -> str:
    found = fit_power_law(means, sizes)
    terms = [
        f"{found[f'scale of {name}'].value:.3g} / {name}^{found[name].value:.2f} "
        f"({found[name].low:.2f} to {found[name].high:.2f})"
        for name in sizes
    ]
    floor = found["floor"]
    return (
        f"Fit: {title} = {floor.value:.4f} ({floor.low:.4f} to {floor.high:.4f}) + {' + '.join(terms)}, with 95 % "
        f"intervals of floor and exponents, {found['residual'].value:.4f} around the curve through the means of "
        f"{len(means)} settings."
    )
