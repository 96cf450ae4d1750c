"""Common interface of reward models, ensembles and gated models."""

from __future__ import annotations

import abc
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard, cast

import numpy as np

from rmjax.data.comparisons import Comparison, Message, Prompt, validate_prompt
from rmjax.data.conversations import prompt_of_text
from rmjax.data.truncation import Truncation
from rmjax.errors import InputError
from rmjax.scoring.link import Link

SCALES = ("raw", "normalized", "probability")

PromptLike = str | Sequence[Mapping[str, str] | Message]


class TruncationWarning(UserWarning):
    """Warning that texts were shortened before they were scored."""


class Scored(NamedTuple):
    """Raw scores of groups of responses, an array for each prompt.

    Attributes:
        raw: `[K, Z]` of the K responses to each prompt under every head.
        cut: `[K, 2]` tokens that truncation cut off the prompt and off the response.
    """

    raw: list[np.ndarray]
    cut: list[np.ndarray]


class Ranked(NamedTuple):
    """A response with its raw score and its position in the list that was given."""

    response: str
    score: float
    index: int  # type: ignore[assignment]  # a public field that shadows tuple.index


def as_prompt(prompt: PromptLike) -> Prompt:
    """Returns a prompt from text or from chat messages (`{"role", "content"}` each).

    Text is one user turn or, if it begins with two line breaks and "Human:", a transcript, as in a file of texts to
    score.

    Raises:
        InputError: it is neither, or a conversation that does not end with a user turn.
    """
    if isinstance(prompt, str):
        turns: Prompt = prompt_of_text(prompt)
    else:
        try:
            turns = tuple(m if isinstance(m, Message) else Message(m["role"], m["content"]) for m in prompt)
        except (TypeError, KeyError):
            raise InputError('a prompt is a string or a list of {"role", "content"} messages') from None
    validate_prompt(turns)
    return turns


class RewardFunction(abc.ABC):
    """Scores responses under one or several heads. Subclasses define `heads`, `link`, `score_groups` and `rescale`."""

    @property
    @abc.abstractmethod
    def heads(self) -> tuple[str, ...]:
        """Names of the heads."""

    @property
    @abc.abstractmethod
    def link(self) -> Link:
        """The relation between a difference of two raw scores and odds."""

    @abc.abstractmethod
    def score_groups(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]) -> Scored:
        """Returns raw scores of the responses to each prompt under every head, and the tokens that truncation cut."""

    @abc.abstractmethod
    def rescale(self, raw: np.ndarray, scale: str, head: str) -> np.ndarray:
        """Returns raw scores of `head` on another scale; see `score`."""

    def raw(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Returns raw scores `[K, Z]` of the K responses to each prompt under every head."""
        return self.score_groups(prompts, responses).raw

    def score(
        self,
        prompts: PromptLike | Sequence[PromptLike],
        responses: str | Sequence[str],
        scale: str = "raw",
        head: str | None = None,
    ) -> np.ndarray:
        """Returns the scores of responses.

        Args:
            prompts: one prompt (text, transcript or messages) for all responses, or one for each. Responses to an
                equal prompt share its computation.
            responses: one text or several.
            scale: `raw`; `normalized`, mean 0 and standard deviation 1 on the reference texts of the contract; or
                `probability`, the sigmoid of the normalized score.
            head: which head; optional if there is one.

        Returns:
            `[N] float32`, or a scalar array for a single text.

        Warns:
            TruncationWarning: a text is longer than the model's limits, with the number of tokens cut.

        Raises:
            InputError: an unknown scale or head, or lists of different lengths.
        """
        single = isinstance(responses, str)
        texts = [responses] if isinstance(responses, str) else list(responses)
        if isinstance(prompts, str) or _is_messages(prompts):
            turns = [as_prompt(prompts)] * len(texts)
        else:
            # neither a text nor messages
            turns = [as_prompt(prompt) for prompt in cast(Sequence[PromptLike], prompts)]
        if len(turns) != len(texts):
            raise InputError(f"{len(turns)} prompts for {len(texts)} responses: give one, or one for each response")
        groups: dict[Prompt, list[int]] = {}
        for i, prompt in enumerate(turns):
            groups.setdefault(prompt, []).append(i)
        head = self.pick_head(head)
        scores = np.zeros(len(texts), np.float32)
        scored = self.score_groups(list(groups), [[texts[i] for i in members] for members in groups.values()])
        if sentence := Truncation.of(scored.cut).to_text():
            warnings.warn(sentence, TruncationWarning, stacklevel=2)
        for members, scores_KxZ in zip(groups.values(), scored.raw, strict=True):
            scores[members] = scores_KxZ[:, self.heads.index(head)]
        scaled = self.rescale(scores, scale, head)
        return scaled[0] if single else scaled

    def rank(self, prompt: PromptLike, responses: Sequence[str], head: str | None = None) -> list[Ranked]:
        """Returns the responses from best to worst, with their raw scores."""
        scores = self.score(prompt, responses, head=head)
        order = np.argsort(-scores, kind="stable")
        return [Ranked(responses[i], float(scores[i]), int(i)) for i in order]

    def probability(self, prompt: PromptLike, a: str, b: str, head: str | None = None) -> float:
        """Returns the probability that a person prefers `a` to `b`, given no tie; see `Link.log_odds`.

        Raises:
            InputError: a difference of these scores gives no probability, or there is no such head.
        """
        self.link.log_odds(0.0)  # raises before the time of scoring is spent
        score_a, score_b = self.score(prompt, [a, b], head=head).astype(np.float64)
        return float(sigmoid(self.link.log_odds(score_a - score_b)))

    def score_comparisons(self, comparisons: Sequence[Comparison]) -> Scored:
        """Returns raw scores of every comparison's responses under every head, and the tokens that truncation cut."""
        return self.score_groups([c.prompt for c in comparisons], [c.responses for c in comparisons])

    def pick_head(self, head: str | None) -> str:
        """Returns the head of that name, or the only head for None.

        Raises:
            InputError: there is no such head, or there are several and none is named.
        """
        if head is None and len(self.heads) > 1:
            raise InputError(f"this model has several heads, name one: {', '.join(self.heads)}")
        if head is not None and head not in self.heads:
            raise InputError(f"the model has no head {head!r}: it has {', '.join(self.heads)}")
        return self.heads[0] if head is None else head


def _is_messages(prompts: Sequence[Any]) -> TypeGuard[Sequence[Mapping[str, str] | Message]]:
    return len(prompts) > 0 and all(isinstance(turn, Mapping | Message) for turn in prompts)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    # tanh does not overflow where exp would.
    return 0.5 * (1 + np.tanh(0.5 * x))
