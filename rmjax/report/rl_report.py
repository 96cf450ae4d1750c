"""HTML report of a run that trained a policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rmjax.report import data_tables, rl_tables
from rmjax.report.rendering import render
from rmjax.report.runs_report import speed_in_words, time_in_words
from rmjax.training.run_files import RunFiles

FIGURES = ("training", "kl", "rewards")


class Answers(NamedTuple):
    """The responses to one prompt at several steps."""

    prompt: list[dict[str, str]]
    responses: list[dict[str, Any]]


def rl_report(run: RunFiles) -> str:
    """The page of a policy, finished or not."""
    return render(
        "rl.html",
        name=run.path.resolve().name,
        kind=run.kind,
        run=run,
        time=" ".join(filter(None, (time_in_words(run, None), speed_in_words(run)))),
        result=run.evaluation,
        answers=answers(run.samples or [], (run.evaluation or {}).get("selected")),
        other_figures={name: path for name, path in run.figures.items() if name not in FIGURES},
        data_tables=data_tables,
        rl_tables=rl_tables,
    )


def answers(samples: Sequence[dict[str, Any]], selected: int | None) -> list[Answers]:
    """Returns for every prompt its responses before, in the middle of, and after training, from samples.jsonl.

    Args:
        samples: the records.
        selected: the step of the policy of the run; None if it is not finished. Later responses are left out.
    """
    if selected is not None:
        samples = [record for record in samples if record["step"] <= selected]
    by_prompt: dict[str, list[dict[str, Any]]] = {}
    for record in samples:
        by_prompt.setdefault(repr(record["prompt"]), []).append(record)
    found = []
    for records in by_prompt.values():
        middle = records[len(records) // 2]
        shown = {record["step"]: record for record in (records[0], middle, records[-1])}
        found.append(Answers(records[0]["prompt"], list(shown.values())))
    return found
