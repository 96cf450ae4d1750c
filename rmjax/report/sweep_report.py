"""HTML report of a sweep."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rmjax.report import data_tables
from rmjax.report.rendering import render
from rmjax.sweeps.claims import claim_table
from rmjax.sweeps.power import power_in_words
from rmjax.sweeps.results import SweepResults, fit_in_words, found_in_words, measured_in_words
from rmjax.sweeps.rows import UNITS, Measure, Row
from rmjax.sweeps.settings import Setting, setting_label
from rmjax.training.run_files import is_figure, read_json
from rmjax.training.run_paths import RunPaths

STATUSES = ("finished", "failed", "missing")


def sweep_report(results: SweepResults, output: Path) -> str:
    """The page of a sweep; links are relative to `output`, the file that the page will be written to."""
    counts = {status: sum(row.status == status for row in results.rows) for status in STATUSES}
    figures = [
        (name, figure_file(results, name), figure_caption(kind, titles))
        for name, kind, *titles in results.sweep.figures
    ]
    return render(
        "sweep.html",
        name=results.sweep.title,
        kind="sweep",
        results=results,
        sweep=results.sweep,
        axes=len(results.sweep.settings[0].at),
        differences=results.differences,
        statuses=", ".join(f"{count} {status}" for status, count in counts.items() if count),
        found=found_in_words(results),
        claims=claim_table(results),
        complete=counts["finished"] == len(results.rows),
        notes=[
            *filter(
                None, (*fit_in_words(results).split("\n\n"), measured_in_words(results), power_in_words(results.sweep))
            )
        ],
        figures=figures,
        failed=[failed_cells(results, row, output) for row in results.rows if row.status == "failed"],
        settings=[(setting_label(setting.at), setting_lines(results, setting)) for setting in results.sweep.settings],
        runs=[run_cells(results, row, output) for row in results.rows],
        environment=next(filter(None, (environment_of(results, row) for row in results.finished)), None),
        data_tables=data_tables,
    )


def figure_file(results: SweepResults, name: str) -> Path | None:
    """The PNG file of a figure; None if the sweep has none of that name."""
    path = results.path / "figures" / f"{name}.png"
    return path if path.exists() and is_figure(path, results.path) else None


def figure_caption(kind: str, titles: list[str]) -> str:
    """The caption of a figure of the sweep: of a measure along an axis, or of measures by setting."""
    if kind == "over KL":
        return (
            "Proxy (score of the reward model) and gold reward over the square root of the KL divergence: every seed "
            "(thin), their mean (thick), and the mean peak of the gold reward where it falls (dotted)."
        )
    if kind == "scatter":
        return f"{titles[1]} over {titles[0]}: the mean over seeds of every setting."
    if kind == "curves":
        return f"{titles[0]} along {titles[1]}: mean over seeds and its 95 % interval."
    return f"{', '.join(titles)}: the mean over seeds (blue) with its 95 % interval, and every seed (grey)."


def setting_lines(results: SweepResults, setting: Setting) -> list[str]:
    """The fields that a setting changes; for a combination, the settings and options that it combines."""
    if setting.script:
        return [setting.script, *(f"combines {setting_label(at)}" for at in setting.members), *setting.options]
    return [*setting.fields] or [f"nothing: {results.sweep.base} unchanged"]


def failed_cells(results: SweepResults, row: Row, output: Path) -> tuple[str, str, str, str]:
    """Setting, seed and error of a run that failed, and the link to its log (empty if there is none)."""
    log = results.path / "logs" / f"{Path(row.folder).name}.log"
    return setting_label(row.at), str(row.seed), row.error, link(log, output) if log.is_file() else ""


def run_cells(results: SweepResults, row: Row, output: Path) -> tuple[str | tuple[str, str], ...]:
    """Setting, seed, status and measures of a run, and its folder with the link to it (empty if there is none)."""
    folder = results.path / row.folder
    values = [measured_value(row, measure) for measure in results.measures]
    address = link(folder, output) if folder.is_dir() else ""
    return setting_label(row.at), str(row.seed), row.status, *values, (row.folder, address)


def environment_of(results: SweepResults, row: Row) -> tuple[str, dict[str, Any]] | None:
    """The folder and the environment of a run; None if it has no environment.json."""
    found = read_json(RunPaths(results.path / row.folder).environment)
    return None if found is None else (row.folder, found)


def measured_value(row: Row, measure: Measure) -> str:
    """The value of a measure; a dash if the run does not have it."""
    value = row.values[measure.title]
    if value is None:
        return "-"
    if measure.unit == "%":
        return f"{UNITS[measure.unit] * value:.2f}"
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.4f}"


def link(target: Path, output: Path) -> str:
    """The address of a file, relative to the page."""
    return quote(Path(os.path.relpath(target.resolve(), output.resolve().parent)).as_posix())
