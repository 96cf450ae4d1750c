"""Rows of the data and of the environment of a run in a report."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rmjax.data.leaks import CONSEQUENCES, ROLES
from rmjax.evaluation.text_table import percent

Json = dict[str, Any]


def _count(path: str) -> Callable[[Json], str]:
    """The cell of the count at `path` in the audit of a set."""

    def cell(counts: Json) -> str:
        value: Any = counts
        for key in path.split("."):
            value = None if value is None else value[key]
        return "-" if value is None else f"{value:,.0f}"

    return cell


def _percentiles(kind: str) -> Callable[[Json], str]:
    """The cell of the mean, the percentiles and the maximum of token counts."""

    def cell(counts: Json) -> str:
        if counts["tokens"] is None:
            return "-"
        return " / ".join(f"{counts['tokens'][kind][key]:,.0f}" for key in ("mean", "p50", "p95", "max"))

    return cell


COUNTS: tuple[tuple[str, Callable[[Json], str]], ...] = (
    ("Comparisons", _count("comparisons")),
    ("Different prompts", _count("prompts")),
    ("Responses", _count("responses")),
    ("Pairs", _count("pairs")),
    ("Pairs tied by the raters", _count("tied_pairs")),
    ("The longer text won", lambda counts: percent(counts["longer_share"])),
    ("Comparisons with margins", _count("margins")),
    ("Duplicates", _count("duplicates")),
    ("Comparisons with identical responses", _count("identical_responses")),
    ("Empty responses", _count("empty_responses")),
    ("Prompt tokens: mean / median / 95 % / longest", _percentiles("prompt")),
    ("Response tokens: mean / median / 95 % / longest", _percentiles("response")),
    ("Prompts truncated", _count("tokens.prompts_truncated")),
    ("Responses truncated", _count("tokens.responses_truncated")),
    ("Tokens cut off", _count("tokens.tokens_cut")),
    ("Comparisons with responses made equal by truncation", _count("tokens.comparisons_made_alike")),
)
LABELS = {
    "sizes": "Responses of a comparison",
    "heads": "Head",
    "subsets": "Subset",
    "strengths": "Strength",
    "notes": "Notes of the data reader",
}


def count_rows(sets: Mapping[str, Json]) -> list[tuple[str, ...]]:
    """The counts of the audit, a column for each set."""
    return [(label, *map(cell, sets.values())) for label, cell in COUNTS]


def label_tables(sets: Mapping[str, Json]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """The title and the rows of every kind of label: how many comparisons of each set carry it."""
    for kind, title in LABELS.items():
        names = list(dict.fromkeys(name for counts in sets.values() for name in counts[kind]))
        if kind == "sizes":
            names.sort(key=int)
        yield title, [(name.replace("_", " "), *(f"{c[kind].get(name, 0):,}" for c in sets.values())) for name in names]


def overlap_text(overlap: Json) -> str:
    """The prompts and openings that an evaluation set shares with another set."""
    name, other = overlap["evaluation"], overlap.get("shared_with", "train")  # runs of earlier versions state none
    role = ROLES[other]
    openings = f"{overlap['openings']:,} of its comparisons begin like a {role} dialogue."
    if not overlap["prompts"]:
        return f"No prompt of the {name} set is a {role} prompt; {openings}"
    examples = "; ".join(f"“{example}”" for example in overlap["examples"])
    return (
        f"Leak: {overlap['prompts']:,} prompts of the {name} set ({overlap['comparisons']:,} comparisons) are {role} "
        f"prompts too, so {CONSEQUENCES[other]}; {openings} For example: {examples}"
    )


def flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """The fields of a nested configuration as (dotted name, value as text)."""
    found = []
    for key, value in config.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{prefix}{key}.")
        else:
            found.append((prefix + key, repr(value)))
    return found


def environment_rows(environment: Json) -> list[tuple[str, str]]:
    """Date, commit, versions and devices."""
    changed = ", with uncommitted changes" if environment["uncommitted_changes"] else ""
    date = [("Date", environment["date"])] if "date" in environment else []  # runs of earlier versions state none
    return [
        *date,
        ("Commit", (environment["commit"] or "unknown") + changed),
        ("rmjax, Python", f"{environment['rmjax']}, {environment['python']}"),
        ("Platform", environment["platform"]),
        ("Devices", ", ".join(environment["devices"])),
        ("Processes", str(environment["processes"])),
        ("Packages", ", ".join(f"{name} {version}" for name, version in environment["packages"].items())),
    ]


def command_text(environment: Json) -> str:
    """The command of the run as a shell takes it, one option a line."""
    script, *options = map(shlex.quote, environment["command"])
    return " \\\n    ".join([f"python {script}", *options])
