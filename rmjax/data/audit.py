"""Counts of the contents of every data set of a run, of truncation, and of prompts shared between sets.

The counts are for people: no data are dropped because of them. They are written to `data_audit.json` in the directory
of the run.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rmjax.data.comparisons import Comparison
from rmjax.data.leaks import Leak, find_overlaps
from rmjax.data.token_groups import TokenGroups
from rmjax.errors import printable

LISTED = 8  # labels and notes on the console, of each kind


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Tokens of N comparisons, after truncation.

    Attributes:
        prompt: tokens of every prompt, N.
        prompt_cut: tokens cut from every prompt, N.
        responses: tokens of all responses, EOS included.
        responses_cut: tokens cut from all responses.
        alike: True for a comparison with different responses that became the same tokens, N.
    """

    prompt: np.ndarray
    prompt_cut: np.ndarray
    responses: np.ndarray
    responses_cut: np.ndarray
    alike: np.ndarray

    @classmethod
    def of(cls, comparisons: Sequence[Comparison], groups: TokenGroups) -> Lengths:
        """Returns the lengths of `comparisons`, given their ids."""

        def alike(index: int, comparison: Comparison) -> bool:
            _, *responses = groups.texts(index)
            return len({response.tobytes() for response in responses}) < len(set(comparison.responses))

        is_prompt_T, length_T = groups.is_prompt_T, groups.length_T
        return cls(
            prompt=length_T[is_prompt_T],
            prompt_cut=groups.cut_T[is_prompt_T],
            responses=length_T[~is_prompt_T],
            responses_cut=groups.cut_T[~is_prompt_T],
            alike=np.fromiter(itertools.starmap(alike, enumerate(comparisons)), bool, len(comparisons)),
        )


@dataclasses.dataclass(frozen=True)
class TokenAudit:
    """Token lengths of one data set after truncation, and counts of what truncation cut."""

    prompt: dict[str, float]  # mean, p50, p95, max
    response: dict[str, float]
    prompts_truncated: int
    responses_truncated: int
    tokens_cut: int
    comparisons_made_alike: int  # different texts, the same tokens: no model can distinguish them


@dataclasses.dataclass(frozen=True)
class SetAudit:
    """The counts of one data set."""

    comparisons: int
    prompts: int  # distinct
    responses: int
    pairs: int
    tied_pairs: int
    sizes: dict[int, int]  # K responses -> comparisons
    identical_responses: int  # comparisons in which two responses are the same text
    empty_responses: int
    labelled_responses: int  # known to be safe or unsafe
    unsafe_responses: int
    duplicates: int  # comparisons with the head, the prompt and the responses (in any order) of an earlier one
    heads: dict[str, int]
    subsets: dict[str, int]
    strengths: dict[str, int]  # of pairs
    margins: int  # comparisons that state them
    longer_won: int  # untied pairs whose winner has more characters
    shorter_won: int
    notes: dict[str, int]
    tokens: TokenAudit | None

    @property
    def longer_share(self) -> float | None:
        """The fraction of pairs in which the longer text won, among untied pairs of different lengths."""
        decided = self.longer_won + self.shorter_won
        return self.longer_won / decided if decided else None


@dataclasses.dataclass(frozen=True)
class DataAudit:
    """The counts of all data sets of a run, the training set first."""

    sets: dict[str, SetAudit]
    overlaps: tuple[Leak, ...]

    @property
    def leaks(self) -> tuple[Leak, ...]:
        """The overlaps that share prompts."""
        return tuple(overlap for overlap in self.overlaps if overlap.prompts)

    def to_json(self) -> dict[str, Any]:
        """Returns dictionaries, lists and numbers, the content of `data_audit.json`."""
        sets = {
            name: {**dataclasses.asdict(counts), "longer_share": counts.longer_share}
            for name, counts in self.sets.items()
        }
        for counts in sets.values():
            counts["sizes"] = {str(size): number for size, number in counts["sizes"].items()}
        overlaps = [{**dataclasses.asdict(leak), "examples": list(leak.examples)} for leak in self.overlaps]
        return {"sets": sets, "overlaps": overlaps}

    def to_text(self) -> str:
        """Returns a summary for the console, a few aligned lines per data set."""
        rows = [row for name, counts in self.sets.items() for row in _rows(name, counts)]
        rows += [("leaks", leak.evaluation, leak.to_text()) for leak in self.overlaps]
        widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
        lines = (f"{first:<{widths[0]}}  {second:<{widths[1]}}  {text}" for first, second, text in rows)
        return printable("\n".join(lines))


def audit(
    train: Sequence[Comparison],
    evaluation: Mapping[str, Sequence[Comparison]] | None = None,
    *,
    lengths: Mapping[str, Lengths] | None = None,
    notes: Mapping[str, Mapping[str, int]] | None = None,
) -> DataAudit:
    """Counts the contents of the training set, called `train`, and of the evaluation sets.

    Args:
        train: the training comparisons.
        evaluation: name -> comparisons.
        lengths: name of a set -> its token lengths.
        notes: name of a set -> remarks of its reader, as counted by `load_comparisons(..., notes=...)`.
    """
    evaluation = dict(evaluation or {})
    sets = {"train": train, **evaluation}
    counted = {
        name: _count(comparisons, (lengths or {}).get(name), dict((notes or {}).get(name, {})))
        for name, comparisons in sets.items()
    }
    return DataAudit(counted, find_overlaps(train, evaluation))


def _count(comparisons: Sequence[Comparison], lengths: Lengths | None, notes: dict[str, int]) -> SetAudit:
    pairs = sum(len(comparison.pairs) for comparison in comparisons)
    # Characters of the winner minus characters of the loser. Flat arrays of numbers take little memory.
    surplus = np.fromiter(
        (len(c.responses[p.winner]) - len(c.responses[p.loser]) for c in comparisons for p in c.pairs if not p.tied),
        np.int64,
    )
    prompts = np.fromiter((hash(c.prompt) for c in comparisons), np.int64)
    same = np.fromiter((hash((c.head, c.prompt, tuple(sorted(c.responses)))) for c in comparisons), np.int64)
    return SetAudit(
        comparisons=len(comparisons),
        prompts=len(np.unique(prompts)),
        responses=sum(len(comparison.responses) for comparison in comparisons),
        pairs=pairs,
        tied_pairs=pairs - len(surplus),
        sizes=dict(sorted(collections.Counter(len(comparison.responses) for comparison in comparisons).items())),
        identical_responses=sum(len(set(c.responses)) < len(c.responses) for c in comparisons),
        empty_responses=sum(text == "" for comparison in comparisons for text in comparison.responses),
        labelled_responses=sum(len(comparison.unsafe or ()) for comparison in comparisons),
        unsafe_responses=sum(sum(comparison.unsafe or ()) for comparison in comparisons),
        duplicates=len(comparisons) - len(np.unique(same)),
        heads=_tally(comparison.head or "(none)" for comparison in comparisons),
        subsets=_tally(comparison.subset or "(none)" for comparison in comparisons),
        strengths=_tally(strength for comparison in comparisons for strength in comparison.strengths or ()),
        margins=sum(comparison.margins is not None for comparison in comparisons),
        longer_won=int((surplus > 0).sum()),
        shorter_won=int((surplus < 0).sum()),
        notes=notes,
        tokens=_count_tokens(lengths) if lengths is not None and len(lengths.prompt) else None,
    )


def _count_tokens(lengths: Lengths) -> TokenAudit:
    return TokenAudit(
        prompt=_percentiles(lengths.prompt),
        response=_percentiles(lengths.responses),
        prompts_truncated=int((lengths.prompt_cut > 0).sum()),
        responses_truncated=int((lengths.responses_cut > 0).sum()),
        tokens_cut=int(lengths.prompt_cut.sum() + lengths.responses_cut.sum()),
        comparisons_made_alike=int(lengths.alike.sum()),
    )


def _percentiles(tokens: np.ndarray) -> dict[str, float]:
    return {
        "mean": float(tokens.mean()),
        "p50": float(np.percentile(tokens, 50)),
        "p95": float(np.percentile(tokens, 95)),
        "max": int(tokens.max()),
    }


def _tally(labels: Any) -> dict[str, int]:
    return dict(collections.Counter(labels).most_common())


# --- the console --------------------------------------------------------------------------------------------------


def _rows(name: str, counts: SetAudit) -> list[tuple[str, str, str]]:
    sizes = ", ".join(f"K={size}: {number:,}" for size, number in counts.sizes.items())
    longer = "" if counts.longer_share is None else f", the longer text won {counts.longer_share:.1%}"
    rows = [
        ("", "read", f"{counts.comparisons:,} comparisons on {counts.prompts:,} prompts ({sizes})"),
        ("", "pairs", f"{counts.pairs:,}, of which {counts.tied_pairs:,} tied{longer}"),
        (
            "",
            "odd",
            f"{counts.empty_responses:,} empty responses, {counts.identical_responses:,} comparisons with identical "
            f"responses, {counts.duplicates:,} duplicates",
        ),
    ]
    for title, labels in (("heads", counts.heads), ("subsets", counts.subsets), ("strengths", counts.strengths)):
        if set(labels) - {"(none)"}:
            rows.append(("", title, _listing(labels)))
    if counts.labelled_responses:
        labelled = f"{counts.labelled_responses:,} of {counts.responses:,} responses labelled"
        rows.append(("", "safety", f"{labelled}, {counts.unsafe_responses:,} of them unsafe"))
    if counts.tokens is not None:
        tokens = counts.tokens
        rows += [
            ("", "prompt tokens", f"{_percentiles_text(tokens.prompt)}; {tokens.prompts_truncated:,} truncated"),
            (
                "",
                "response tokens",
                f"{_percentiles_text(tokens.response)}; {tokens.responses_truncated:,} truncated, "
                f"{tokens.comparisons_made_alike:,} comparisons with responses made alike",
            ),
        ]
    notes = [f"{note}: {number:,}" for note, number in counts.notes.items()]
    rows += [("", "notes", note) for note in notes[:LISTED]]
    if len(notes) > LISTED:
        rows.append(("", "notes", f"and {len(notes) - LISTED} more"))
    return [(name, *rows[0][1:]), *rows[1:]]


def _listing(labels: Mapping[str, int]) -> str:
    text = ", ".join(f"{label} {number:,}" for label, number in list(labels.items())[:LISTED])
    return text + (f" and {len(labels) - LISTED} more" if len(labels) > LISTED else "")


def _percentiles_text(tokens: Mapping[str, float]) -> str:
    return (
        f"mean {tokens['mean']:.0f}, median {tokens['p50']:.0f}, 95 % {tokens['p95']:.0f}, longest {tokens['max']:.0f}"
    )
