"""Common interface of reward models, ensembles and gated models."""

from __future__ import annotations

import abc
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from rmjax.data.comparisons import Comparison, Message, Prompt
from rmjax.data.conversations import continuation
from rmjax.data.records import parse_prompt
from rmjax.data.truncation import Truncation
from rmjax.errors import InputError
from rmjax.scoring.link import Link

SCALES = ("raw", "normalized", "probability")

MessageLike = Mapping[str, str] | Message
# Text, a message, or a conversation: as a prompt, and as a response to it.
PromptLike = str | MessageLike | Sequence[MessageLike]
ResponseLike = PromptLike


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
    """Returns a prompt from text or from chat messages (`{"role", "content"}` each, or one of them).

    Text is one user turn or, if it begins with two line breaks and "Human:", a transcript, as in a file of texts to
    score.

    Raises:
        InputError: it is neither, or a conversation that does not end with a user turn.
    """
    return parse_prompt({"prompt": _json_value(prompt, "prompt")})


def as_response(prompt: Prompt, response: ResponseLike) -> str:
    """Returns the text of a response: text, a message, or a conversation, which may repeat the prompt.

    A text that begins with two line breaks and "Human:" is a transcript if it repeats the prompt, and else a text.

    Raises:
        InputError: it is none of them, or messages that do not begin with an assistant turn after the prompt.
    """
    return continuation(prompt, _json_value(response, "response"), "response")


def _json_value(value: PromptLike, name: str) -> str | list[dict[str, str]]:
    """Returns text unchanged, and messages in the form of a JSON record."""
    if isinstance(value, str):
        return value
    messages = [value] if _is_message(value) else value
    if not isinstance(messages, Sequence) or not all(map(_is_message, messages)):
        raise InputError(f'a {name} is text or a list of {{"role", "content"}} messages, found {type(value).__name__}')
    return [m._asdict() if isinstance(m, Message) else dict(cast(Mapping, m)) for m in messages]


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping | Message)


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
        responses: ResponseLike | Sequence[ResponseLike],
        scale: str = "raw",
        head: str | None = None,
    ) -> float | np.ndarray:
        """Returns the scores of responses.

        Args:
            prompts: one prompt (text, transcript or messages) for all responses, or one for each. Responses to an
                equal prompt share its computation.
            responses: one response, as text or as a message, or a list of N. An entry of the list is a text, a message,
                or a conversation, which may repeat the prompt.
            scale: `raw`; `normalized`, mean 0 and standard deviation 1 on the reference texts of the contract; or
                `probability`, the sigmoid of the normalized score.
            head: which head; optional if there is one.

        Returns:
            A float for a single response, `[N] float32` for a list.

        Warns:
            TruncationWarning: a text is longer than the model's limits, with the number of tokens cut.

        Raises:
            InputError: an unknown scale or head, lists of different lengths, or an input of another form.
        """
        single = isinstance(responses, str) or _is_message(responses)
        given = [cast(ResponseLike, responses)] if single else list(cast(Sequence[ResponseLike], responses))
        if isinstance(prompts, str) or _is_message(prompts) or (len(prompts) > 0 and all(map(_is_message, prompts))):
            turns = [as_prompt(cast(PromptLike, prompts))] * len(given)
        else:
            # neither a text nor messages
            turns = [as_prompt(prompt) for prompt in cast(Sequence[PromptLike], prompts)]
        if len(turns) != len(given):
            raise InputError(f"{len(turns)} prompts for {len(given)} responses: give one, or one for each response")
        texts = [as_response(prompt, response) for prompt, response in zip(turns, given, strict=True)]
        head = self.pick_head(head)
        scaled = self.rescale(self._score_texts(turns, texts, head), scale, head)
        return float(scaled[0]) if single else scaled

    def _score_texts(self, prompts: Sequence[Prompt], texts: Sequence[str], head: str) -> np.ndarray:
        """Returns the raw scores `[N] float32` of N texts, each with its prompt."""
        groups: dict[Prompt, list[int]] = {}
        for i, prompt in enumerate(prompts):
            groups.setdefault(prompt, []).append(i)
        scores = np.zeros(len(texts), np.float32)
        scored = self.score_groups(list(groups), [[texts[i] for i in members] for members in groups.values()])
        if sentence := Truncation.of(scored.cut).to_text():
            warnings.warn(sentence, TruncationWarning, stacklevel=3)
        for members, scores_KxZ in zip(groups.values(), scored.raw, strict=True):
            scores[members] = scores_KxZ[:, self.heads.index(head)]
        return scores

    def rank(self, prompt: PromptLike, responses: Sequence[ResponseLike], head: str | None = None) -> list[Ranked]:
        """Returns the texts of the responses from best to worst, with their raw scores.

        Raises:
            InputError: as `score`.
        """
        turns = as_prompt(prompt)
        if isinstance(responses, str) or _is_message(responses):
            raise InputError("rank takes a list of responses, found one response: score it with score()")
        texts = [as_response(turns, response) for response in responses]
        scores = self._score_texts([turns] * len(texts), texts, self.pick_head(head))
        order = np.argsort(-scores, kind="stable")
        return [Ranked(texts[i], float(scores[i]), int(i)) for i in order]

    def probability(self, prompt: PromptLike, a: ResponseLike, b: ResponseLike, head: str | None = None) -> float:
        """Returns the probability that a person prefers `a` to `b`, given no tie; see `Link.log_odds`.

        Raises:
            InputError: a difference of these scores gives no probability, or there is no such head.
        """
        self.link.log_odds(0.0)  # raises before the time of scoring is spent
        turns = as_prompt(prompt)
        texts = [as_response(turns, response) for response in (a, b)]
        score_a, score_b = self._score_texts([turns] * 2, texts, self.pick_head(head)).astype(np.float64)
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


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    # tanh does not overflow where exp would.
    return 0.5 * (1 + np.tanh(0.5 * x))
