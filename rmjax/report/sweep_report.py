"""A sweep's directory -> one HTML page: its table, its figures, what failed and why, and a row for every run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rmjax.report.data_sections import environment
from rmjax.report.html import Html, absent, contents, details, figure, joined, page, paragraph, section, table, tag
from rmjax.sweeps.results import SweepResults, fit_in_words, read_sweep
from rmjax.sweeps.rows import UNITS, Measure, Row, show
from rmjax.training.run_files import read_json

STATUSES = ("finished", "failed", "missing")


def sweep_report(workdir: Path, output: Path) -> str:
    """The page of the sweep in `workdir`; links are relative to `output`, where it will lie.

    Raises:
        InputError: the directory holds no results of a sweep, or they cannot be read.
    """
    results = read_sweep(workdir)
    parts = {
        "Results": _results(results),
        "Figures": _figures(results),
        "Failed runs": _failed(results, output),
        "Settings": _settings(results),
        "Runs": _runs(results, output),
        "How it was made": _making(results),
    }
    title = results.page["title"]
    header = tag("header", tag("p", "rmjax sweep", class_="kind"), tag("h1", title))
    sections = [section(name, content) for name, content in parts.items()]
    return page(f"{title}: sweep", header, _top(results), contents(list(parts)), *sections)


def _top(results: SweepResults) -> Html:
    """How many runs there are, and how they ended."""
    counts = {status: sum(row.status == status for row in results.rows) for status in STATUSES}
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    complete = counts["finished"] == len(results.rows)
    return joined(
        [
            paragraph(f"{results.path}", "lead"),
            paragraph(f"{len(results.rows)} runs: {said}.", "verdict" if complete else "warning"),
        ],
        "\n",
    )


def _results(results: SweepResults) -> Html:
    """Means, what differs from what, and the fit where the sweep's page asks for one."""
    axes = len(results.page["settings"][0]["at"])
    (head, *rows), (compared, *differences) = results.table, results.differences
    blocks = [table(head, rows, "l" * axes + "r" * (len(head) - axes))]
    if differences:
        named = axes + 1  # and the reference
        blocks.append(table(compared, differences, "l" * named + "r" * (len(compared) - named)))
    blocks += [paragraph(text) for text in [fit_in_words(results)] if text]
    return joined([*blocks, paragraph(results.caption, "note")], "\n")


def _figures(results: SweepResults) -> Html:
    blocks = []
    for name, kind, *what in results.page["figures"]:
        path = results.path / "figures" / f"{name}.png"
        if kind == "curves":
            text = f"{what[0]} along {what[1]}: mean over seeds and its 95 % interval."
        else:
            text = f"{', '.join(what)}: the mean over seeds (blue) with its 95 % interval, and every seed (grey)."
        blocks.append(figure(path, text) if path.is_file() else absent(f"There is no figures/{name}.png."))
    return joined(blocks or [absent("The sweep's page asks for no figure.")], "\n")


def _failed(results: SweepResults, output: Path) -> Html:
    failed = [row for row in results.rows if row.status == "failed"]
    if not failed:
        return paragraph("None.")
    lines = []
    for row in failed:
        log = results.path / "logs" / f"{Path(row.folder).name}.log"
        where = _link(log, output, "log") if log.is_file() else "no log"
        lines.append((_named(row.at), str(row.seed), row.error, where))
    text = "The command of the sweep tries them again; what is finished is not run again."
    return joined([table(("Setting", "Seed", "Reason", "Log"), lines, "wrwl", "wide"), paragraph(text, "note")], "\n")


def _settings(results: SweepResults) -> Html:
    """What tells the settings apart, and what they have in common, in the words of the command line."""
    rows = []
    for setting in results.page["settings"]:
        if "members" in setting:  # trains nothing: other settings' runs, put together
            lines = [f"puts together {_named(at)}" for at in setting["members"]] + [*setting["options"]]
        else:
            lines = setting["fields"] or [f"nothing: {results.page['base']} as it stands"]
        rows.append(
            (_named(setting["at"]), tag("div", joined([tag("code", line) for line in lines], "\n"), class_="text"))
        )
    base, fields = results.page["base"], results.page["fields"]
    blocks = [table(("Setting", "Fields that it changes"), rows, "ww", "wide")]
    blocks.append(details(f"All begin with {base} and {len(fields)} fields", _fields(fields)))
    for start in results.page["starts"]:
        text = (
            f"The start {start['name']}: {results.page['start_base']} and {len(start['fields'])} fields, for every seed"
        )
        blocks.append(details(text, _fields(start["fields"])))
    return joined(blocks, "\n")


def _fields(fields: list[str]) -> Html:
    return tag("pre", "\n".join(fields))


def _runs(results: SweepResults, output: Path) -> Html:
    measures = results.measures
    rows = []
    for row in results.rows:
        folder = results.path / row.folder
        where = _link(folder, output, row.folder) if folder.is_dir() else "no directory"
        rows.append((_named(row.at), str(row.seed), row.status, *(_value(row, m) for m in measures), where))
    head = ("Setting", "Seed", "Status", *(measure.heading for measure in measures), "Directory")
    return table(head, rows, "wrl" + "r" * len(measures) + "l")


def _named(at: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {show(value)}" for name, value in at.items())


def _value(row: Row, measure: Measure) -> str:
    value = row.values[measure.title]
    if value is None:
        return "-"
    if measure.unit == "%":
        return f"{UNITS[measure.unit] * value:.2f}"
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.4f}"


def _link(target: Path, output: Path, text: str) -> Html:
    relative = os.path.relpath(target.resolve(), output.resolve().parent)
    return tag("a", text, href=quote(Path(relative).as_posix()))


def _making(results: SweepResults) -> Html:
    """The versions and devices of the first finished run; a run's own page has its command."""
    for row in results.finished:
        made = read_json(results.path / row.folder / "environment.json")
        if made is not None:
            text = f"Of {row.folder}; every run has its own in environment.json, with the command that repeats it."
            return joined([environment(made), paragraph(text, "note")], "\n")
    return absent("No finished run with an environment.json: the versions and devices are not known.")
