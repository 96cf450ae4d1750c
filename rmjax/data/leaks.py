"""Leaks: prompts that an evaluation set shares with the training set or with the validation set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from rmjax.data.comparisons import Comparison, Prompt
from rmjax.errors import InputError

QUOTED_PROMPTS = 3  # leaked prompts that are quoted, per evaluation set
QUOTED_CHARACTERS = 100
VALIDATION = "validation"
ROLES = {"train": "training", VALIDATION: "validation"}  # of the set that an evaluation set shares prompts with
CONSEQUENCES = {
    "train": "its results are too good to be true",
    VALIDATION: "temperature, gate and normalization are fitted on what is reported",
}


@dataclasses.dataclass(frozen=True)
class Leak:
    """The overlap of an evaluation set with the training set, or of another evaluation set with the validation set.

    Attributes:
        evaluation: name of the evaluation set.
        shared_with: `train` or `validation`.
        prompts: distinct prompts that are also prompts of the other set, compared as exact text.
        comparisons: comparisons of the evaluation set on those prompts.
        openings: comparisons of the evaluation set whose first user turn also begins a prompt of the other set; this is
            common in dialogue data.
        examples: beginnings of some shared prompts.
    """

    evaluation: str
    shared_with: str
    prompts: int
    comparisons: int
    openings: int
    examples: tuple[str, ...]

    def to_text(self) -> str:
        """Returns the counts in one line, and one further line for each example."""
        text = f"{self.prompts:,} prompts shared with {self.shared_with} ({self.comparisons:,} comparisons), "
        text += f"{self.openings:,} comparisons open like a {ROLES[self.shared_with]} dialogue"
        text += " (common in dialogue data)" if self.openings else ""
        return text + "".join(f"\n    {example}" for example in self.examples)


def find_overlaps(train: Sequence[Comparison], evaluation: Mapping[str, Sequence[Comparison]]) -> tuple[Leak, ...]:
    """Returns the overlap of every evaluation set with the training set, and with the evaluation set `validation`.

    Temperature, gate and normalization are fitted on the validation set, so its prompts must not be in a set whose
    results are reported.
    """
    overlaps = _overlaps_with("train", train, evaluation)
    if VALIDATION in evaluation:
        others = {name: comparisons for name, comparisons in evaluation.items() if name != VALIDATION}
        overlaps += _overlaps_with(VALIDATION, evaluation[VALIDATION], others)
    return tuple(overlaps)


def check_leaks(leaks: Sequence[Leak], refuse: bool) -> str:
    """Returns a warning about shared prompts; empty if there are none.

    Raises:
        InputError: there are some, and `refuse` is set.
    """
    if not leaks:
        return ""
    message = "; ".join(
        f"{leak.prompts} prompts of {leak.evaluation} ({leak.comparisons} comparisons) are {ROLES[leak.shared_with]} "
        f"prompts too, such as {leak.examples[0]!r}, so {CONSEQUENCES[leak.shared_with]}"
        for leak in leaks
    )
    if refuse:
        raise InputError(
            f"{message}: part the data by prompt, as slices do ([:90%] and [90%:]), or accept the leak with "
            "data.refuse_leaks=False"
        )
    return message


def _overlaps_with(
    shared_with: str, others: Sequence[Comparison], evaluation: Mapping[str, Sequence[Comparison]]
) -> list[Leak]:
    # Sets of the evaluation prompts, not of those of the training data, which may be many.
    wanted = {comparison.prompt for comparisons in evaluation.values() for comparison in comparisons}
    wanted_openings = {_opening(prompt) for prompt in wanted}
    prompts = {comparison.prompt for comparison in others if comparison.prompt in wanted}
    openings = {opening for c in others if (opening := _opening(c.prompt)) in wanted_openings}
    overlaps = []
    for name, comparisons in evaluation.items():
        shared = [comparison.prompt for comparison in comparisons if comparison.prompt in prompts]
        distinct = list(dict.fromkeys(shared))
        overlap = Leak(
            evaluation=name,
            shared_with=shared_with,
            prompts=len(distinct),
            comparisons=len(shared),
            openings=sum(_opening(comparison.prompt) in openings for comparison in comparisons),
            examples=tuple(_quote(prompt[-1].content) for prompt in distinct[:QUOTED_PROMPTS]),
        )
        overlaps.append(overlap)
    return overlaps


def _opening(prompt: Prompt) -> str:
    return next(message.content for message in prompt if message.role == "user")


def _quote(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= QUOTED_CHARACTERS else line[: QUOTED_CHARACTERS - 3] + "..."
