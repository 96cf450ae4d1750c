"""Rollouts: responses that a policy has sampled to prompts, and arrays of their tokens."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rmjax.data.batch import Example
from rmjax.data.comparisons import Prompt
from rmjax.errors import InputError
from rmjax.models.sampling import Sampler
from rmjax.rlhf.advantages import token_mask


class Sample(NamedTuple):
    """One sampled response.

    Attributes:
        ids: its tokens, `[T] int32`, the stop token included.
        logprobs: log-probability of each under the policy, `[T] float32`.
        stopped: True if it ended with the stop token, False if it was cut at the length limit.
    """

    ids: np.ndarray
    logprobs: np.ndarray
    stopped: bool


SampleFn = Callable[[Any, Sequence[np.ndarray], int, int], list[list[Sample]]]
"""(params, ids of every prompt, samples of each, step) -> the samples of every prompt."""

Decode = Callable[[np.ndarray], str]


@dataclasses.dataclass(frozen=True)
class Rollout:
    """Responses to P prompts: one list of all N responses, grouped by prompt.

    Masks come from lengths, never from the values of tokens: a padding token may be the EOS token.

    Attributes:
        prompts: the conversations.
        prompt_ids: ids of every prompt, `[T] int32`.
        group_N: index of each response's prompt, ascending.
        samples: the responses.
        texts: their texts, without the ending.
        step: the step of the policy that sampled them.

    Raises:
        InputError: a response has no tokens.
    """

    prompts: tuple[Prompt, ...]
    prompt_ids: tuple[np.ndarray, ...]
    group_N: np.ndarray
    samples: tuple[Sample, ...]
    texts: tuple[str, ...]
    step: int = 0

    def __post_init__(self) -> None:
        if not all(len(sample.ids) for sample in self.samples):
            raise InputError("a sampled response has no tokens: a response has at least its stop token")

    def __len__(self) -> int:
        return len(self.samples)

    @functools.cached_property
    def length_N(self) -> np.ndarray:
        """Tokens of each response."""
        return np.array([len(sample.ids) for sample in self.samples])

    @functools.cached_property
    def stopped_N(self) -> np.ndarray:
        """True for each response that ended with its stop token."""
        return np.array([sample.stopped for sample in self.samples])

    @functools.cached_property
    def mask_NxT(self) -> np.ndarray:
        """True at the tokens of the responses."""
        return token_mask(self.length_N, int(self.length_N.max()))

    @functools.cached_property
    def logprob_NxT(self) -> np.ndarray:
        """Log-probabilities of the tokens under the policy that sampled them."""
        return self.padded([sample.logprobs for sample in self.samples])

    def padded(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Returns one array `[T_n]` for each response as `[N, T] float32`, 0 after each response."""
        result = np.zeros(self.mask_NxT.shape, np.float32)
        for row, array in zip(result, arrays, strict=True):
            row[: len(array)] = array
        return result

    def at_last(self, value_N: np.ndarray) -> np.ndarray:
        """Returns values of whole responses at their last tokens, `[N, T] float32`."""
        result = np.zeros(self.mask_NxT.shape, np.float32)
        result[np.arange(len(self)), self.length_N - 1] = value_N
        return result

    def by_prompt(self, values: Sequence[Any]) -> list[list[Any]]:
        """Returns values of the responses as one list for each prompt."""
        groups: list[list[Any]] = [[] for _ in self.prompts]
        for group, value in zip(self.group_N, values, strict=True):
            groups[group].append(value)
        return groups

    def examples(self, per_token: Mapping[str, np.ndarray] | None = None) -> list[Example]:
        """Returns one `Example` for each prompt, with all its responses.

        Args:
            per_token: values of the tokens by name, `[N, T]` each, for the objective.
        """
        ragged = {
            name: self.by_prompt([row[:length] for row, length in zip(array, self.length_N, strict=True)])
            for name, array in (per_token or {}).items()
        }
        responses = self.by_prompt([sample.ids for sample in self.samples])
        return [
            Example(prompt, tuple(responses[p]), per_token={name: tuple(groups[p]) for name, groups in ragged.items()})
            for p, prompt in enumerate(self.prompt_ids)
        ]


def make_rollout(
    sample: SampleFn,
    params: Any,
    prompts: Sequence[Prompt],
    prompt_ids: Sequence[np.ndarray],
    *,
    samples: int,
    step: int,
    decode: Decode,
) -> Rollout:
    """Samples responses to every prompt.

    Args:
        sample: the sampler.
        params: parameters of the policy, as the sampler expects them.
        prompts: the conversations.
        prompt_ids: their ids.
        samples: responses to each prompt.
        step: the step of the policy, which also determines the random numbers.
        decode: ids of a response -> its text without the ending, such as `Tokenizer.decode_response`.
    """
    groups = sample(params, prompt_ids, samples, step)
    flat = tuple(each for group in groups for each in group)
    group_N = np.repeat(np.arange(len(prompts)), [len(group) for group in groups])
    texts = tuple(decode(each.ids) for each in flat)
    return Rollout(tuple(prompts), tuple(prompt_ids), group_N, flat, texts, step)


def sample_with(sampler: Sampler, *, seed: int) -> SampleFn:
    """Returns the sampling function of a policy whose parameters include those of a language model.

    Raises:
        InputError: the sampler does not draw from the policy itself, so that gradients would be those of another one.
    """
    settings = sampler.settings
    if settings.temperature != 1 or settings.top_k or settings.top_p < 1:
        raise InputError(
            f"RL needs samples of the policy itself: set temperature=1, top_k=0 and top_p=1, found "
            f"{settings.temperature}, {settings.top_k} and {settings.top_p}"
        )

    def sample(params: Any, prompt_ids: Sequence[np.ndarray], samples: int, step: int) -> list[list[Sample]]:
        found = sampler(language_model_params(params), prompt_ids, samples, seed=seed, step=step)
        return [
            [Sample(*each) for each in zip(group.ids, group.log_probs, group.stopped.tolist(), strict=True)]
            for group in found
        ]

    return sample


def language_model_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters of the language model alone, for sampling and for export."""
    return {name: part for name, part in params.items() if name in ("trunk", "output")}
