"""Data types of preference data: messages, comparisons, demonstrations."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from rmjax.errors import InputError

ROLES = ("system", "user", "assistant")
STRENGTHS = ("significantly_better", "better", "slightly_better", "negligibly_better")


class Message(NamedTuple):
    """One turn of a conversation."""

    role: str
    content: str


Prompt = tuple[Message, ...]


class Pair(NamedTuple):
    """Two responses of a comparison, by their indices; if they are `tied`, the order of the two has no meaning."""

    winner: int
    loser: int
    tied: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """A prompt, K >= 2 responses to it, and a judgement.

    Attributes:
        prompt: the conversation so far, ending with a user turn.
        responses: K texts; an empty text is a valid response.
        ranks: K positive integers, 1 is best, ties share a rank.
        scores: K absolute ratings, higher is better, if the raters gave them. They agree with `ranks`.
        unsafe: K labels, True for an unsafe response, if the data state them. They are independent of the ranks: one of
            two unsafe responses may be the better one.
        strengths: one of `STRENGTHS` for every pair, in the order of `pairs`.
        margins: a margin >= 0 for every pair, in the order of `pairs`.
        head: the reward that was judged (`helpful`, `safety`, ...), if the data state it.
        subset: a label for breaking down the evaluation.
        utilities: K numbers u with P(i beats j) = sigmoid(u_i - u_j), if the distribution of the labels is known. They
            determine the ceiling: the accuracy that no model can exceed on average.
        origin: `file:line` of the record, for messages.

    Raises:
        InputError: the fields do not agree with each other.
    """

    prompt: Prompt
    responses: tuple[str, ...]
    ranks: tuple[int, ...]
    scores: tuple[float, ...] | None = None
    unsafe: tuple[bool, ...] | None = None
    strengths: tuple[str, ...] | None = None
    margins: tuple[float, ...] | None = None
    head: str | None = None
    subset: str | None = None
    utilities: tuple[float, ...] | None = None
    origin: str = ""

    def __post_init__(self) -> None:
        validate_prompt(self.prompt)
        count = len(self.responses)
        if count < 2:
            raise InputError(f"a comparison needs at least two responses, found {count}")
        if not all(isinstance(response, str) for response in self.responses):
            raise InputError("every response must be a string")
        if not all(isinstance(rank, int) and not isinstance(rank, bool) and rank >= 1 for rank in self.ranks):
            raise InputError(f"ranks must be whole numbers from 1 (best), found {list(self.ranks)}")
        for name in ("ranks", "scores", "unsafe", "utilities"):
            values = getattr(self, name)
            if values is not None and len(values) != count:
                raise InputError(f"{name} has {len(values)} entries for {count} responses")
        unsafe = self.unsafe or ()
        if not all(isinstance(label, bool) for label in unsafe):
            raise InputError(f"unsafe must hold True or False, found {list(unsafe)}")
        if self.scores is not None:
            if not all(math.isfinite(score) for score in self.scores):
                raise InputError(f"scores must be finite numbers, found {list(self.scores)}")
            best_first = sorted(zip(self.ranks, self.scores, strict=True))
            if any((r < s) != (a > b) or (r == s and a != b) for (r, a), (s, b) in itertools.pairwise(best_first)):
                raise InputError(f"scores {list(self.scores)} and ranks {list(self.ranks)} disagree")
        pair_count = count * (count - 1) // 2
        for name, values in (("strength", self.strengths), ("margin", self.margins)):
            if values is not None and len(values) != pair_count:
                raise InputError(f"{name} has {len(values)} entries for the {pair_count} pairs of {count} responses")
        for strength in self.strengths or ():
            if strength not in STRENGTHS:
                raise InputError(f"strength must be one of {', '.join(STRENGTHS)}, found {strength!r}")
        for margin in self.margins or ():
            if not (math.isfinite(margin) and margin >= 0):
                raise InputError(f"margin must be a finite number >= 0, found {margin}")

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The K(K-1)/2 pairs in the order (0, 1), (0, 2), ..., (1, 2), ...; in each pair the winner is first."""
        return _pairs(self.ranks)


@functools.lru_cache(4096)  # few orders of ranks are different
def _pairs(ranks: tuple[int, ...]) -> tuple[Pair, ...]:
    return tuple(
        Pair(j, i, False) if ranks[j] < ranks[i] else Pair(i, j, ranks[i] == ranks[j])
        for i, j in itertools.combinations(range(len(ranks)), 2)
    )


def validate_prompt(prompt: Prompt) -> None:
    """Raises InputError if a role of `prompt` is unknown or its last turn is not from the user."""
    if not prompt:
        raise InputError("the prompt is empty: it needs at least one user turn")
    for message in prompt:
        if message.role not in ROLES:
            raise InputError(f"the role must be one of {', '.join(ROLES)}, found {message.role!r}")
        if not isinstance(message.content, str):
            raise InputError(f"the content of a message must be a string, found {type(message.content).__name__}")
    if prompt[-1].role != "user":
        raise InputError(f"the prompt must end with a user turn, but its last turn is from the {prompt[-1].role}")


def ranks_from_scores(scores: tuple[float, ...]) -> tuple[int, ...]:
    """Returns the competition ranks of `scores`, higher is better: (3, 5, 3) -> (2, 1, 2)."""
    return tuple(1 + sum(other > score for other in scores) for score in scores)


def best_responses(comparison: Comparison) -> tuple[str, ...]:
    """Returns the responses of the best rank: one, or several that are tied."""
    top = min(comparison.ranks)
    return tuple(text for text, rank in zip(comparison.responses, comparison.ranks, strict=True) if rank == top)


@dataclasses.dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt and an answer to imitate (SFT). A conversation with n assistant turns gives n demonstrations."""

    prompt: Prompt
    response: str
    origin: str = ""

    def __post_init__(self) -> None:
        validate_prompt(self.prompt)


def head_index(comparison: Comparison, heads: Sequence[str]) -> int:
    """Returns the index of the head that a comparison trains and evaluates.

    A model with one head uses every comparison, whatever its label, so that safety data can be mixed into a helpfulness
    model. With several heads, the label of the comparison selects the head.

    Raises:
        InputError: there are several heads, and the label of the comparison is none of them.
    """
    if len(heads) == 1:
        return 0
    if comparison.head is None or comparison.head not in heads:
        origin = f"{comparison.origin}: " if comparison.origin else ""
        label = "names no head" if comparison.head is None else f"is for the head {comparison.head!r}"
        raise InputError(
            f"{origin}this comparison {label}, but the model has the heads {', '.join(heads)}: "
            'set "head" in the record to one of them, or use a model with one head'
        )
    return list(heads).index(comparison.head)
