"""What a report says of the data and the making of a run: audit, configuration, environment, command."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from rmjax.data.leaks import CONSEQUENCES, ROLES
from rmjax.evaluation.summary import percent
from rmjax.report.html import Html, absent, details, joined, paragraph, table, tag

Json = dict[str, Any]


def _count(path: str) -> Callable[[Json], str]:
    """The cell of a count that lies under `path` of a set's audit."""

    def cell(counts: Json) -> str:
        value: Any = counts
        for key in path.split("."):
            value = None if value is None else value[key]
        return "-" if value is None else f"{value:,.0f}"

    return cell


def _spread(kind: str) -> Callable[[Json], str]:
    def cell(counts: Json) -> str:
        if counts["tokens"] is None:
            return "-"
        spread = counts["tokens"][kind]
        return " / ".join(f"{spread[key]:,.0f}" for key in ("mean", "p50", "p95", "max"))

    return cell


COUNTS: tuple[tuple[str, Callable[[Json], str]], ...] = (
    ("Comparisons", _count("comparisons")),
    ("Different prompts", _count("prompts")),
    ("Responses", _count("responses")),
    ("Pairs", _count("pairs")),
    ("Pairs tied by the raters", _count("tied_pairs")),
    ("The longer text won", lambda counts: percent(counts["longer_share"])),
    ("Comparisons that state margins", _count("margins")),
    ("Duplicates", _count("duplicates")),
    ("Comparisons with identical responses", _count("identical_responses")),
    ("Empty responses", _count("empty_responses")),
    ("Prompt tokens: mean / median / 95 % / longest", _spread("prompt")),
    ("Response tokens: mean / median / 95 % / longest", _spread("response")),
    ("Prompts truncated", _count("tokens.prompts_truncated")),
    ("Responses truncated", _count("tokens.responses_truncated")),
    ("Tokens cut off", _count("tokens.tokens_cut")),
    ("Comparisons made alike by truncation", _count("tokens.comparisons_made_alike")),
)
LABELS = {
    "sizes": "Responses of a comparison",
    "heads": "Head",
    "subsets": "Subset",
    "strengths": "Strength",
    "notes": "Remarks of the reader",
}


def data_audit(audit: Json) -> Html:
    """The counts of every set side by side, the leaks, and the labels behind a click."""
    sets = audit["sets"]
    rows = [(label, *(cell(counts) for counts in sets.values())) for label, cell in COUNTS]
    counts = table(("", *sets), rows, "l" + "r" * len(sets))
    return joined([*(_leak(overlap) for overlap in audit["overlaps"]), counts, _labels(sets)], "\n")


def _leak(overlap: Json) -> Html:
    name, other = overlap["evaluation"], overlap.get("shared_with", "train")  # of older runs none is stated
    role = ROLES[other]
    openings = f"{overlap['openings']:,} of its comparisons open like a {role} dialogue."
    if not overlap["prompts"]:
        return paragraph(f"No prompt of the {name} set is a {role} prompt; {openings}")
    text = (
        f"Leak: {overlap['prompts']:,} prompts of the {name} set ({overlap['comparisons']:,} comparisons) are {role} "
        f"prompts too, so {CONSEQUENCES[other]}; {openings} For example: "
    )
    return paragraph(text + "; ".join(f"“{example}”" for example in overlap["examples"]), "warning")


def _labels(sets: Mapping[str, Json]) -> Html:
    blocks = []
    for kind, title in LABELS.items():
        names = list(dict.fromkeys(name for counts in sets.values() for name in counts[kind]))
        if kind == "sizes":
            names.sort(key=int)
        if not names:
            blocks.append(absent(f"{title}: nothing to count."))
            continue
        rows = [(name.replace("_", " "), *(f"{c[kind].get(name, 0):,}" for c in sets.values())) for name in names]
        blocks.append(table((title, *sets), rows, "l" + "r" * len(sets)))
    return details("Sizes and labels", *blocks)


def configuration(config: Json) -> Html:
    """Every field of the configuration, by its name on the command line."""
    rows = [(name, tag("code", shown)) for name, shown in flat(config)]
    return details(f"All {len(rows)} fields", table(("Field", "Value"), rows, "lw"))


def flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """The fields of a nested configuration as (dotted name, value as text)."""
    found = []
    for key, value in config.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{prefix}{key}.")
        else:
            found.append((prefix + key, repr(value)))
    return found


def environment(values: Json) -> Html:
    """Versions, commit and devices."""
    commit = values["commit"] or "unknown"
    if values["uncommitted_changes"]:
        commit += ", with uncommitted changes"
    rows = [
        ("Commit", commit),
        ("rmjax, Python", f"{values['rmjax']}, {values['python']}"),
        ("Platform", values["platform"]),
        ("Devices", ", ".join(values["devices"])),
        ("Processes", str(values["processes"])),
        ("Packages", ", ".join(f"{name} {version}" for name, version in values["packages"].items())),
    ]
    return table(("", ""), rows, "lw")


def command(values: Json) -> Html:
    """The command that made the run, as a shell takes it, an option a line."""
    script, *options = map(shlex.quote, values["command"])
    return tag("pre", " \\\n    ".join([f"python {script}", *options]))
