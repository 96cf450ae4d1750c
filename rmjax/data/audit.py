"""What was read, counted: the contents of every data set, what truncation cut, and prompts that leak between sets.

Nothing is dropped here or anywhere else on the strength of these counts; they are for people to read, and they go into
`data_audit.json` beside the model that was trained on the data.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rmjax.data.comparisons import Comparison, Prompt
from rmjax.data.tokenizer import Encoded
from rmjax.errors import InputError

SHOWN = 3  # leaked prompts that are quoted, per evaluation set
QUOTED = 100  # characters of each
LISTED = 8  # labels and notes on the console, of each kind
VALIDATION = "validation"
ROLES = {"train": "training", VALIDATION: "validation"}  # of the set that an evaluation set shares prompts with
CONSEQUENCES = {
    "train": "its results are too good to be true",
    VALIDATION: "temperature, gate and normalization are fitted on what is reported",
}


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Tokens of N comparisons, after truncation.

    Attributes:
        prompt: tokens kept of every prompt, N.
        prompt_cut: tokens cut off every prompt, N.
        responses: tokens kept of the responses, EOS included; an array per comparison.
        responses_cut: tokens cut off the responses; an array per comparison.
        alike: whether a comparison has different responses that are the same tokens, N.
    """

    prompt: np.ndarray
    prompt_cut: np.ndarray
    responses: list[np.ndarray]
    responses_cut: list[np.ndarray]
    alike: np.ndarray

    @classmethod
    def of(
        cls, comparisons: Sequence[Comparison], prompts: Sequence[Encoded], responses: Sequence[Sequence[Encoded]]
    ) -> Lengths:
        """The lengths of what `encode_groups` made of `comparisons`."""
        return cls(
            prompt=np.array([len(prompt.ids) for prompt in prompts], np.int64),
            prompt_cut=np.array([prompt.cut for prompt in prompts], np.int64),
            responses=[np.array([len(response.ids) for response in group], np.int64) for group in responses],
            responses_cut=[np.array([response.cut for response in group], np.int64) for group in responses],
            alike=np.array(
                [
                    len({response.ids.tobytes() for response in group}) < len(set(comparison.responses))
                    for comparison, group in zip(comparisons, responses, strict=True)
                ],
                bool,
            ),
        )


@dataclasses.dataclass(frozen=True)
class TokenAudit:
    """Token lengths of one data set after truncation, and what truncation did."""

    prompt: dict[str, float]  # mean, p50, p95, max
    response: dict[str, float]
    prompts_truncated: int
    responses_truncated: int
    tokens_cut: int
    comparisons_made_alike: int  # different texts, the same tokens: no model can tell these responses apart


@dataclasses.dataclass(frozen=True)
class SetAudit:
    """The counts of one data set."""

    comparisons: int
    prompts: int  # different ones
    responses: int
    pairs: int
    tied_pairs: int
    sizes: dict[int, int]  # K responses -> comparisons
    identical_responses: int  # comparisons in which two responses are the same text
    empty_responses: int
    labelled_responses: int  # of which the data says whether they are unsafe
    unsafe_responses: int
    duplicates: int  # comparisons with the prompt and the responses, in any order, of an earlier one
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
        """How often the longer text won, among untied pairs of different lengths."""
        decided = self.longer_won + self.shorter_won
        return self.longer_won / decided if decided else None


@dataclasses.dataclass(frozen=True)
class Leak:
    """The overlap of an evaluation set with the training set, or of the test set with the validation set."""

    evaluation: str
    shared_with: str  # train or validation
    prompts: int  # different ones that are prompts of the other set too, to the letter
    comparisons: int  # evaluation comparisons on those prompts
    openings: int  # evaluation comparisons whose first user turn opens such a prompt; common in dialogue data
    examples: tuple[str, ...]


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
        """Plain dictionaries, lists and numbers, as for `data_audit.json`."""
        sets = {
            name: {**dataclasses.asdict(counts), "longer_share": counts.longer_share}
            for name, counts in self.sets.items()
        }
        for counts in sets.values():
            counts["sizes"] = {str(size): number for size, number in counts["sizes"].items()}
        overlaps = [{**dataclasses.asdict(leak), "examples": list(leak.examples)} for leak in self.overlaps]
        return {"sets": sets, "overlaps": overlaps}

    def to_text(self) -> str:
        """A summary for the console, a few aligned lines per data set."""
        rows = [row for name, counts in self.sets.items() for row in _rows(name, counts)]
        rows += [("leaks", leak.evaluation, _leak_text(leak)) for leak in self.overlaps]
        widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
        return "\n".join(f"{first:<{widths[0]}}  {second:<{widths[1]}}  {text}" for first, second, text in rows)


def audit(
    train: Sequence[Comparison],
    evaluation: Mapping[str, Sequence[Comparison]] | None = None,
    *,
    lengths: Mapping[str, Lengths] | None = None,
    notes: Mapping[str, Mapping[str, int]] | None = None,
) -> DataAudit:
    """Counts everything in the training set, called `train`, and in the evaluation sets.

    What is fitted on the set called `validation` must not be reported on the same prompts, so the other evaluation sets
    are compared with it too.

    Args:
        train: the comparisons to learn from.
        evaluation: name -> comparisons.
        lengths: name of a set -> its token lengths.
        notes: name of a set -> what its reader remarked, as counted by `load_comparisons(..., notes=...)`.
    """
    evaluation = dict(evaluation or {})
    sets = {"train": train, **evaluation}
    counted = {
        name: _count(comparisons, (lengths or {}).get(name), dict((notes or {}).get(name, {})))
        for name, comparisons in sets.items()
    }
    overlaps = _overlaps("train", train, evaluation)
    if VALIDATION in evaluation:
        others = {name: comparisons for name, comparisons in evaluation.items() if name != VALIDATION}
        overlaps += _overlaps(VALIDATION, evaluation[VALIDATION], others)
    return DataAudit(counted, tuple(overlaps))


def check_leaks(report: DataAudit, refuse: bool) -> str:
    """A warning about prompts that an evaluation set shares with the training set, or the test set with the validation
    set; empty where there are none.

    Raises:
        InputError: there are some, and `refuse` is set.
    """
    if not report.leaks:
        return ""
    message = "; ".join(
        f"{leak.prompts} prompts of {leak.evaluation} ({leak.comparisons} comparisons) are {ROLES[leak.shared_with]} "
        f"prompts too, such as {leak.examples[0]!r}, so {CONSEQUENCES[leak.shared_with]}"
        for leak in report.leaks
    )
    if refuse:
        raise InputError(
            f"{message}: part the data by prompt, as slices do ([:90%] and [90%:]), or accept the leak with "
            "data.refuse_leaks=False"
        )
    return message


def _count(comparisons: Sequence[Comparison], lengths: Lengths | None, notes: dict[str, int]) -> SetAudit:
    pairs = [(comparison, pair) for comparison in comparisons for pair in comparison.pairs]
    # How many characters the winner has more than the loser.
    surplus = np.array(
        [len(c.responses[pair.winner]) - len(c.responses[pair.loser]) for c, pair in pairs if not pair.tied], np.int64
    )
    return SetAudit(
        comparisons=len(comparisons),
        prompts=len({comparison.prompt for comparison in comparisons}),
        responses=sum(len(comparison.responses) for comparison in comparisons),
        pairs=len(pairs),
        tied_pairs=len(pairs) - len(surplus),
        sizes=dict(sorted(collections.Counter(len(comparison.responses) for comparison in comparisons).items())),
        identical_responses=sum(len(set(c.responses)) < len(c.responses) for c in comparisons),
        empty_responses=sum(text == "" for comparison in comparisons for text in comparison.responses),
        labelled_responses=sum(len(comparison.unsafe or ()) for comparison in comparisons),
        unsafe_responses=sum(sum(comparison.unsafe or ()) for comparison in comparisons),
        duplicates=len(comparisons) - len({(c.prompt, tuple(sorted(c.responses))) for c in comparisons}),
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
    responses_cut = np.concatenate(lengths.responses_cut)
    return TokenAudit(
        prompt=_spread(lengths.prompt),
        response=_spread(np.concatenate(lengths.responses)),
        prompts_truncated=int((lengths.prompt_cut > 0).sum()),
        responses_truncated=int((responses_cut > 0).sum()),
        tokens_cut=int(lengths.prompt_cut.sum() + responses_cut.sum()),
        comparisons_made_alike=int(lengths.alike.sum()),
    )


def _spread(tokens: np.ndarray) -> dict[str, float]:
    return {
        "mean": float(tokens.mean()),
        "p50": float(np.percentile(tokens, 50)),
        "p95": float(np.percentile(tokens, 95)),
        "max": int(tokens.max()),
    }


def _tally(labels: Any) -> dict[str, int]:
    return dict(collections.Counter(labels).most_common())


def _overlaps(other: str, others: Sequence[Comparison], evaluation: Mapping[str, Sequence[Comparison]]) -> list[Leak]:
    """Returns the overlap of each evaluation set with the set called `other`."""
    prompts = {comparison.prompt for comparison in others}
    openings = {_opening(prompt) for prompt in prompts}
    found = []
    for name, comparisons in evaluation.items():
        shared = [comparison.prompt for comparison in comparisons if comparison.prompt in prompts]
        distinct = list(dict.fromkeys(shared))
        leak = Leak(
            evaluation=name,
            shared_with=other,
            prompts=len(distinct),
            comparisons=len(shared),
            openings=sum(_opening(comparison.prompt) in openings for comparison in comparisons),
            examples=tuple(_quote(prompt[-1].content) for prompt in distinct[:SHOWN]),
        )
        found.append(leak)
    return found


def _opening(prompt: Prompt) -> str:
    return next(message.content for message in prompt if message.role == "user")


def _quote(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= QUOTED else line[: QUOTED - 3] + "..."


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
            ("", "prompt tokens", f"{_spread_text(tokens.prompt)}; {tokens.prompts_truncated:,} truncated"),
            (
                "",
                "response tokens",
                f"{_spread_text(tokens.response)}; {tokens.responses_truncated:,} truncated, "
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


def _spread_text(spread: Mapping[str, float]) -> str:
    return (
        f"mean {spread['mean']:.0f}, median {spread['p50']:.0f}, 95 % {spread['p95']:.0f}, longest {spread['max']:.0f}"
    )


def _leak_text(leak: Leak) -> str:
    text = f"{leak.prompts:,} prompts shared with {leak.shared_with} ({leak.comparisons:,} comparisons), "
    text += f"{leak.openings:,} comparisons open like a {ROLES[leak.shared_with]} dialogue"
    return text + "".join(f"\n    {example}" for example in leak.examples)
