"""HTML report of one run."""

from __future__ import annotations

from typing import Any

from rmjax.evaluation.benchmarks import probes, rewardbench
from rmjax.evaluation.metrics import Metrics
from rmjax.evaluation.summary import measured_heads, verdict
from rmjax.report import data_tables, metric_tables
from rmjax.report.rendering import render
from rmjax.report.runs_report import speed_in_words, time_in_words
from rmjax.training.run_files import RunFiles, read_run
from rmjax.training.run_paths import RunPaths


def run_report(run: RunFiles) -> str:
    """The page of a reward model or of a language model, finished or not."""
    measured = run.evaluation if run.kind == "reward_model" else None
    heads = {} if measured is None else measured_heads(measured)
    named = {"training", *(f"{figure}-{head}" for head in heads for figure in ("rewards", "reliability"))}
    return render(
        "run.html",
        name=run.path.resolve().name,
        kind=run.kind.replace("_", " "),
        run=run,
        result=run.evaluation,
        measured=measured is not None,
        heads=heads,
        verdicts=[] if measured is None else verdicts(measured, heads),
        sft=sft_of(run),
        time=" ".join(filter(None, (time_in_words(run, sft_of(run)), speed_in_words(run)))),
        benchmarks=benchmarks(run.benchmark or {}),
        other_figures={name: path for name, path in run.figures.items() if name not in named},
        metric_tables=metric_tables,
        data_tables=data_tables,
    )


def benchmarks(results: dict[str, Any]) -> list[tuple[str, list[str], list[tuple[str, ...]]]]:
    """Title, notes and rows of every benchmark, and of the probes, that experiments/benchmark.py has measured."""
    found = []
    for name in ("rewardbench", "rewardbench2"):
        if name in results:
            result = results[name]
            found.append((result["benchmark"], rewardbench.notes(result), rewardbench.rows(result)))
    if "probes" in results:
        found.append(("Probes", [probes.about(results["probes"])], probes.rows(results["probes"])))
    return found


def sft_of(run: RunFiles) -> RunFiles | None:
    """The SFT stage inside a run; None if it has none."""
    sft = RunPaths(run.path / "sft")
    return read_run(sft.path) if run.config["init"] == "sft" and sft.config_file.is_file() else None


def verdicts(result: Metrics, heads: dict[str, Metrics]) -> list[str]:
    """A verdict on every head; heads without data come last."""
    several = len(result["heads"]) > 1
    found = [f"{name}: {verdict(head)}" if several else verdict(head) for name, head in heads.items()]
    return found + [f"{name}: no data to evaluate it on." for name, head in result["heads"].items() if head is None]
