"""Evaluation of a policy on held-out prompts: score, gold reward, KL, and comparison with the start."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.detectors import repetition
from rmjax.evaluation.text_table import percent
from rmjax.models.sampling import Sampler
from rmjax.rlhf.iteration import Learner
from rmjax.rlhf.kl import KLEstimate, estimate_kl
from rmjax.rlhf.rollout import Decode, Rollout, Sample, language_model_params, make_rollout
from rmjax.rlhf.scores import TextScore, of_responses
from rmjax.stages.rl_prompts import Prompts

# The step of the samples of evaluations, which no iteration has: all evaluations of a run use the same random numbers.
EVALUATION_STEP = 2**32 - 1
REPETITION = 0.04  # so much more repetition than at the start is a sign that the reward model is exploited


@dataclasses.dataclass(frozen=True)
class Measured:
    """One response to every held-out prompt, with its scores.

    Attributes:
        rollout: the responses.
        score: by name, `[N]` each: `score` (normalized score of the reward model), and `gold_NAME` where known; NaN for
            a prompt that it does not apply to.
        kl: from the start.
    """

    rollout: Rollout
    score: dict[str, np.ndarray]
    kl: KLEstimate


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """Samples and scores responses to held-out prompts.

    Attributes:
        learner: has the reference and the compiled forward pass.
        decode: ids of a response -> text.
        scores: by name, see `Measured`.
        seed: of the samples.
    """

    learner: Learner
    decode: Decode
    scores: Mapping[str, TextScore]
    seed: int

    def measure(self, sampler: Sampler, params: Any, prompts: Prompts) -> Measured:
        """Samples one response to every prompt from a policy on the devices, and scores it."""

        def sample(params: Any, ids: Any, samples: int, step: int) -> list[list[Sample]]:
            found = sampler(language_model_params(params), ids, samples, seed=self.seed, step=step)
            return [[Sample(each.ids[0], each.log_probs[0], bool(each.stopped[0]))] for each in found]

        rollout = make_rollout(
            sample, params, prompts.prompts, prompts.ids, samples=1, step=EVALUATION_STEP, decode=self.decode
        )
        examples = rollout.examples()
        logprob, reference = (
            rollout.padded([out[:, 0] for out in self.learner.forward(each, examples)])
            for each in (params, self.learner.reference)
        )
        score = {name: of_responses(text_score)(rollout) for name, text_score in self.scores.items()}
        return Measured(rollout, score, estimate_kl(logprob, reference, rollout.mask_NxT))


def summarize(measured: Measured, start: Measured, bootstrap: Bootstrap) -> dict[str, Any]:
    """Returns means with intervals over prompts, and for every score the comparison with the start.

    A score is over the prompts that it applies to, and left out if there are none.

    Of every score: `NAME`, `NAME_gain` (mean difference from the start, prompt by prompt) and `NAME_win_rate` (share of
    prompts with a higher score than the start, ties count half), each with `..._ci95`. Then `kl`, `kl_error`, `length`
    in tokens, `repetition`, the share of trigrams that occurred before in their response, and `cut`, the share of
    responses without an ending.
    """
    group_N = measured.rollout.group_N
    result: dict[str, Any] = {}
    for name, score_N in measured.score.items():
        applies = ~np.isnan(score_N)
        if not applies.any():
            continue
        score, before = score_N[applies].astype(np.float64), start.score[name][applies].astype(np.float64)
        won = (score > before) + 0.5 * (score == before)
        parts: list[tuple[str, np.ndarray, Callable[..., tuple[float, float]]]] = [
            (name, score, bootstrap.interval),
            (f"{name}_gain", score - before, bootstrap.interval),
            (f"{name}_win_rate", won, bootstrap.accuracy_interval),
        ]
        for key, values, interval in parts:
            result |= {key: float(values.mean()), f"{key}_ci95": interval(values, group_N[applies])}
    return result | {
        "kl": measured.kl.mean,
        "kl_error": measured.kl.error,
        "length": float(measured.rollout.length_N.mean()),
        "repetition": repetition(measured.rollout.texts),
        "cut": 1.0 - float(measured.rollout.stopped_N.mean()),
    }


def sign_of_exploitation(measured: Measured, start: Measured, weight: float = 1.0) -> str:
    """Returns a sentence if a policy seems to exploit the reward model, otherwise "".

    The sign is more repetition within responses than at the start, with a higher score (a lower one, if its weight in
    the reward is negative). docs/overoptimisation.md compares it with other detectors: no other is clearly better, and
    its limit does not depend on the length of responses.
    """
    now, before = repetition(measured.rollout.texts), repetition(start.rollout.texts)
    rise = measured.score["score"].mean() - start.score["score"].mean()
    if now - before <= REPETITION or weight * rise <= 0:
        return ""
    return (
        f"the policy may exploit the reward model: {percent(now)} of the trigrams of its responses occurred before in "
        f"the same response, {percent(before)} at the start; read samples.jsonl (on the embedded corpus this "
        "sign found 12 of 16 such policies, and 3 of 11 others)"
    )


def sample_lines(measured: Measured, step: int, count: int) -> list[dict[str, Any]]:
    """Returns the responses to the first prompts as records of samples.jsonl."""
    rollout = measured.rollout
    return [
        {
            "step": step,
            "prompt": [message._asdict() for message in rollout.prompts[n]],
            "response": rollout.texts[n],
            "stopped": rollout.samples[n].stopped,
            "scores": {name: float(score_N[n]) for name, score_N in measured.score.items() if not np.isnan(score_N[n])},
        }
        for n in range(min(count, len(rollout)))
    ]
