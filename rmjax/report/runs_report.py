"""Tables of all runs in a folder: their results, and the fields in which their configurations differ."""

from __future__ import annotations

import datetime
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rmjax.errors import InputError
from rmjax.evaluation.summary import measured_heads
from rmjax.evaluation.text_table import interval_text, percent, text_table
from rmjax.report.data_tables import flat
from rmjax.report.rendering import render
from rmjax.report.sweep_report import link
from rmjax.training.run_files import RunFiles, read_run
from rmjax.training.run_paths import RunPaths

TITLES = {"reward_model": "Reward models", "language_model": "Language models", "policy": "Policies"}
ABOUT = ("run", "state", "steps", "training", "last written")
ABSENT = "-"


class RunTable(NamedTuple):
    """The runs of one kind: title, heading, and a row of texts for each run in `folders`."""

    title: str
    heading: tuple[str, ...]
    rows: list[tuple[str, ...]]
    folders: list[Path]


def run_tables(folder: str | Path) -> list[RunTable]:
    """Returns a table for every kind of run in a folder and its subfolders.

    Runs inside another run, as its SFT stage, are left out. A field is a column if it has different values in two runs
    of the table.

    Raises:
        InputError: there is no run, or a file of a run cannot be read.
    """
    runs = [read_run(path) for path in find_runs(Path(folder))]
    if not runs:
        raise InputError(f"{folder} has no runs: give the folder of the run directories, as --folder=runs")
    return [_table(title, of_kind, Path(folder)) for kind, title in TITLES.items() if (of_kind := _only(runs, kind))]


def find_runs(folder: Path) -> list[Path]:
    """Returns the run directories in a folder and its subfolders, without those inside another run."""
    found: list[Path] = []
    for path, folders, files in os.walk(folder):
        if {RunPaths(Path(path)).config_file.name, RunPaths(Path(path)).data_fingerprint.name} <= set(files):
            found.append(Path(path))
            folders.clear()
    return sorted(found)


def newest_runs(folder: str | Path, kind: str) -> list[Path]:
    """Returns the finished runs of a kind (a key of `TITLES`) in a folder and its subfolders, the newest first.

    The runs of sweeps are left out.
    """
    found = []
    for path in find_runs(Path(folder)):
        in_sweep = any((parent / "sweep.json").is_file() for parent in path.parents)
        if not in_sweep and (run := read_run(path)).kind == kind and run.evaluation is not None:
            found.append(path)
    return sorted(found, key=lambda path: RunPaths(path).evaluation.stat().st_mtime, reverse=True)


def runs_text(tables: Sequence[RunTable]) -> str:
    """Returns the tables as text for the console."""
    return "\n\n".join(f"{table.title}\n{text_table([table.heading, *table.rows])}" for table in tables)


def runs_page(folder: str | Path, tables: Sequence[RunTable], output: Path) -> str:
    """Returns the tables as an HTML page; links to the runs are relative to `output`, its file."""
    links = {table.title: [link(path, output) for path in table.folders] for table in tables}
    return render("runs.html", name=str(folder), kind="runs", tables=tables, links=links)


def duration(run: RunFiles) -> str:
    """Returns the time of the logged steps as HOURS:MM:SS; a dash if the log has none."""
    total = training_seconds(run)
    return str(datetime.timedelta(seconds=round(total))) if total else ABSENT


def training_seconds(run: RunFiles) -> float:
    """Returns the time of the logged steps, with the evaluations and checkpoints between them."""
    seconds = [row["seconds"] for row in run.metrics if "seconds" in row]
    # The seconds of a log begin again where a run was resumed.
    ends = [time for time, after in itertools.pairwise([*seconds, 0.0]) if after < time]
    return sum(ends) + sum(row["seconds/total"] for row in run.metrics if "seconds/total" in row)


def speed_in_words(run: RunFiles) -> str:
    """Returns the steps a second of the last process after its first logged step; empty if there are none.

    Evaluations and checkpoints between the steps count. The compilation before the first one does not.
    """
    if total := sum(row["seconds/total"] for row in run.metrics[1:] if "seconds/total" in row):
        steps = sum("seconds/total" in row for row in run.metrics[1:])
        return f"{steps / total:.2f} iterations a second."
    timed = [row for row in run.metrics if "seconds" in row]
    began = [i for i, (row, after) in enumerate(itertools.pairwise(timed), 1) if after["seconds"] < row["seconds"]]
    timed = timed[began[-1] if began else 0 :]
    if len(timed) < 2 or timed[-1]["seconds"] <= timed[0]["seconds"]:
        return ""
    rate = (timed[-1]["step"] - timed[0]["step"]) / (timed[-1]["seconds"] - timed[0]["seconds"])
    return f"{rate:.2f} steps a second, of up to {run.config['train']['batch_size']} examples."


def time_in_words(run: RunFiles, sft: RunFiles | None) -> str:
    """Returns the time of training, of all stages and of each; empty if the log has none."""
    stages = {"SFT": sft, "reward model": run} if sft else {"": run}
    total = sum(map(training_seconds, filter(None, stages.values())))
    if not total:
        return ""
    each = ", ".join(f"{name} {duration(stage)}" for name, stage in stages.items() if stage)
    return f"Training took {datetime.timedelta(seconds=round(total))}" + (f" ({each})" if sft else "") + "."


def results(run: RunFiles) -> dict[str, str]:
    """Returns the main results of a run by their headings; empty if it is not finished."""
    result = run.evaluation
    if result is None:
        return {}
    if run.kind == "language_model":
        return {"loss": f"{result['loss']:.3f}", "perplexity": f"{result['perplexity']:.2f}"}
    if run.kind == "policy":
        after = result["sampled"]["after"]
        names = [key.removesuffix("_win_rate") for key in after if key.endswith("_win_rate")]
        cells = {f"{name.replace('_', ' ')} after": _score(after, name) for name in names}
        wins = {f"{name.replace('_', ' ')} wins": _share(after, f"{name}_win_rate") for name in names}
        return {**cells, **wins, **({"KL": f"{after['kl']:.2f}"} if "kl" in after else {})}
    heads = measured_heads(result)
    several = len(result.get("heads", ())) > 1
    return {f"accuracy of {name}" if several else "accuracy": _share(head, "accuracy") for name, head in heads.items()}


def _only(runs: Sequence[RunFiles], kind: str) -> list[RunFiles]:
    return [run for run in runs if run.kind == kind]


def _table(title: str, runs: Sequence[RunFiles], folder: Path) -> RunTable:
    fields = [{name: value.strip("'") for name, value in flat(run.config)} for run in runs]
    names = list(dict.fromkeys(name for texts in fields for name in texts))
    differing = [name for name in names if len({texts.get(name, ABSENT) for texts in fields}) > 1]
    measured = [results(run) for run in runs]
    headings = list(dict.fromkeys(heading for cells in measured for heading in cells))
    rows = [
        (
            *_about(run, folder),
            *(cells.get(heading, ABSENT) for heading in headings),
            *(texts.get(name, ABSENT) for name in differing),
        )
        for run, cells, texts in zip(runs, measured, fields, strict=True)
    ]
    return RunTable(title, (*ABOUT, *headings, *differing), rows, [run.path for run in runs])


def _about(run: RunFiles, folder: Path) -> tuple[str, ...]:
    paths = RunPaths(run.path)
    files = (paths.config_file, paths.metrics_file, paths.evaluation)
    written = max(path.stat().st_mtime for path in files if path.is_file())
    steps = run.metrics[-1]["step"] if run.metrics else 0
    name = run.path.relative_to(folder).as_posix() if run.path != folder else run.path.name
    date = datetime.datetime.fromtimestamp(written).strftime("%Y-%m-%d %H:%M")
    return name, "not finished" if run.evaluation is None else "finished", f"{steps:,}", duration(run), date


def _share(values: Any, name: str) -> str:
    return percent(values[name]) + interval_text(values[f"{name}_ci95"], " ({})")


def _score(values: Any, name: str) -> str:
    return f"{values[name]:.2f}" + interval_text(values[f"{name}_ci95"], " ({})", form=".2f", scale=1.0)
