"""Samples of a policy with their scores, for best-of-n: drawn and scored in parts, so that memory is bounded."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from rmjax.data.comparisons import Prompt
from rmjax.errors import InputError
from rmjax.models.sampling import Sampler
from rmjax.rlhf.scores import TextScore
from rmjax.scoring.language_model import LoadedLanguageModel, Response

RESPONSES = 16384  # the most responses of which the texts are in memory, or those of one prompt


@dataclasses.dataclass(frozen=True)
class Candidates:
    """The scores of N samples of each of P prompts, and of each prompt the best of the first n samples.

    Attributes:
        score: float32 `[P, N]`.
        gold: by name, gold rewards of the same samples, float32 `[P, N]`.
        winners: the winner of each prompt; of tied samples the first, which is any of them with the same probability.
        winner_score: their scores, `[P]`.
        cut_prompts: number of prompts that lost their first tokens.
        cut: share of the samples that were cut at the most tokens of a response.
        distinct: mean number of different texts among the N samples of a prompt.
    """

    score: np.ndarray
    gold: dict[str, np.ndarray]
    winners: list[Response]
    winner_score: np.ndarray
    cut_prompts: int
    cut: float
    distinct: float


def draw_candidates(
    policy: LoadedLanguageModel,
    prompts: Sequence[Prompt],
    samples: int,
    *,
    sampler: Sampler,
    score: TextScore,
    gold: Mapping[str, TextScore],
    winner_of: int,
    seed: int = 0,
    responses: int = RESPONSES,
) -> Candidates:
    """Samples responses to every prompt and scores them, with a progress bar on standard error.

    Args:
        policy: the language model.
        prompts: P conversations that end with a user turn.
        samples: N, the number of samples of each prompt.
        sampler: of `policy.sampler`; its temperature must be above 0.
        score: the score by which the best sample is chosen, as `rlhf.scores.from_model`.
        gold: by name, further scores of the same samples, as `rlhf.scores.from_gold`.
        winner_of: n, the number of samples among which the winner of a prompt is chosen, at most N.
        seed: seed of the samples.
        responses: the most responses that are sampled and scored together; at least one prompt is.

    Raises:
        InputError: there is no prompt, a number is out of range, or a prompt leaves no room for a response.
    """
    if not prompts or not 1 <= winner_of <= samples:
        raise InputError(f"found {len(prompts)} prompts, {samples} samples and n = {winner_of}: n is in 1 to samples")
    if sampler.settings.temperature == 0:
        raise InputError("temperature must be above 0: the likeliest response is always the same")
    scores = {name: np.zeros((len(prompts), samples), np.float32) for name in ("", *gold)}
    winners: list[Response] = []
    distinct = stopped = cut_prompts = 0
    step = max(1, responses // samples)
    update_every = 0.5 if sys.stderr.isatty() else 15
    with tqdm(
        total=len(prompts), desc="best of n", unit=" prompts", mininterval=update_every, dynamic_ncols=True
    ) as bar:
        for start in range(0, len(prompts), step):
            part = prompts[start : start + step]
            generated = policy.generate(part, samples, seed=seed, first_prompt=start, sampler=sampler)
            texts = [[response.text for response in group] for group in generated.responses]
            for name, text_score in (("", score), *gold.items()):
                scores[name][start : start + len(part)] = text_score(part, texts)
            for place, group in enumerate(generated.responses, start):
                winners.append(group[int(scores[""][place, :winner_of].argmax())])
                stopped += sum(response.stopped for response in group)
            distinct += sum(len(set(group)) for group in texts)
            cut_prompts += sum(count > 0 for count in generated.cut)
            bar.update(len(part))
    chosen = scores.pop("")
    return Candidates(
        score=chosen,
        gold=scores,
        winners=winners,
        winner_score=chosen[:, :winner_of].max(1),
        cut_prompts=cut_prompts,
        cut=1 - stopped / (len(prompts) * samples),
        distinct=distinct / len(prompts),
    )
