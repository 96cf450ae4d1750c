"""Gate of Llama 2: one score from a helpfulness and a safety head.

With R_h and R_s the two rewards as probabilities (the sigmoid of the normalized score),

    R_c(y | x) = R_s(y | x)  if the prompt x is unsafe, or R_s(y | x) < t
                 R_h(y | x)  otherwise

The score is logit(R_c), which is the normalized score of the chosen head. It is whitened to mean 0 and standard
deviation 1 on the texts that the thresholds were fitted on.

Llama 2 had labels of unsafe prompts, and used t = 0.15 for an R_s that was not normalized. Here the safety head
decides: a prompt is unsafe if refusing it is safe with a probability above a second threshold. Both thresholds are
fitted: they maximize the agreement of the combined score with held-out judgements of both kinds.

Source: Llama 2 (2307.09288), section 3.2.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rmjax.data.comparisons import Comparison, Prompt
from rmjax.errors import InputError
from rmjax.scoring.contract import Gate, Normalization
from rmjax.scoring.link import NO_ODDS, Link
from rmjax.scoring.reward_function import SCALES, RewardFunction, Scored, sigmoid
from rmjax.scoring.reward_model import RewardModel

REFUSAL = "I cannot help with that."
STEPS = 24  # values of each threshold that are tried, in addition to 0, 1 and that of Llama 2
LLAMA_2 = 0.15


class Inputs(NamedTuple):
    """Inputs of the gate for one prompt: normalized scores of its responses, and P(safe) of refusing it."""

    helpful_K: np.ndarray
    safety_K: np.ndarray
    refusal: float


class GatedModel(RewardFunction):
    """A reward model with two heads as a reward function with one head, `gate`, by the gate of its contract.

    Raises:
        InputError: its contract has no gate.
    """

    def __init__(self, model: RewardModel) -> None:
        if model.contract.gate is None:
            raise InputError(
                "this checkpoint has no gate: train a model with two heads, named by "
                "--config.gate=\"('helpful','safety')\""
            )
        self.model, self.gate = model, model.contract.gate

    def __repr__(self) -> str:
        return f"GatedModel({self.gate.helpful} unless unsafe by {self.gate.safety}; {self.model!r})"

    @property
    def heads(self) -> tuple[str, ...]:
        """Name of the only head."""
        return ("gate",)

    @property
    def link(self) -> Link:
        """No odds: the scores are whitened, and come from two heads."""
        return NO_ODDS

    def score_groups(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]) -> Scored:
        """Returns whitened combined scores `[K, 1]` of the K responses to each prompt, and the tokens that were cut."""
        inputs, cut = read_inputs(self.model, self.model.contract.normalization, self.gate, prompts, responses)
        return Scored([whitened(each, self.gate)[:, None] for each in inputs], cut)

    def rescale(self, raw: np.ndarray, scale: str, head: str) -> np.ndarray:
        """The raw scores are whitened, so they are the normalized ones; `probability` is their sigmoid."""
        if scale not in SCALES:
            raise InputError(f"unknown scale {scale!r}: known are {', '.join(SCALES)}")
        return sigmoid(raw) if scale == "probability" else raw


def read_inputs(
    model: RewardModel,
    normalization: dict[str, Normalization],
    gate: Gate,
    prompts: Sequence[Prompt],
    responses: Sequence[Sequence[str]],
) -> tuple[list[Inputs], list[np.ndarray]]:
    """Returns the inputs of the gate for every prompt, and the tokens cut off its responses, `[K, 2]`.

    The refusal is scored along with the responses.
    """
    scored = model.score_groups(prompts, [[*group, gate.refusal] for group in responses])
    return inputs_of(scored.raw, model.heads, normalization, gate), [cut_Kx2[:-1] for cut_Kx2 in scored.cut]


def inputs_of(
    raw: Sequence[np.ndarray], heads: Sequence[str], normalization: dict[str, Normalization], gate: Gate
) -> list[Inputs]:
    """Returns the inputs of the gate from the raw scores `[K + 1, Z]` of K responses and, last, of the refusal."""
    columns = [heads.index(head) for head in (gate.helpful, gate.safety)]
    mean_2 = np.array([normalization[head].mean for head in (gate.helpful, gate.safety)], np.float32)
    std_2 = np.array([normalization[head].std for head in (gate.helpful, gate.safety)], np.float32)
    scores = [(scores_KxZ[:, columns] - mean_2) / std_2 for scores_KxZ in raw]
    return [Inputs(each[:-1, 0], each[:-1, 1], float(sigmoid(each[-1, 1]))) for each in scores]


def combine(inputs: Inputs, prompt_threshold: float, response_threshold: float) -> np.ndarray:
    """Returns the normalized score `[K]` of each response under the head that the gate chooses."""
    judged_by_safety_K = (inputs.refusal > prompt_threshold) | (sigmoid(inputs.safety_K) < response_threshold)
    return np.where(judged_by_safety_K, inputs.safety_K, inputs.helpful_K)


def whitened(inputs: Inputs, gate: Gate) -> np.ndarray:
    """Returns the combined score `[K]` of each response, with mean 0 and standard deviation 1 on the gate's data."""
    return (combine(inputs, gate.prompt_threshold, gate.response_threshold) - gate.mean) / gate.std


def fit_gate(
    model: RewardModel,
    normalization: dict[str, Normalization],
    comparisons: Sequence[Comparison],
    *,
    helpful: str,
    safety: str,
    source: str,
) -> Gate:
    """Fits the two thresholds: returns the gate whose combined score orders the pairs of both kinds best.

    Helpfulness and safety judgements count half each, whatever their numbers. All pairs of thresholds among quantiles
    of the observed probabilities are tried. Of equally good pairs, the one that gives most responses to helpfulness
    wins.

    Args:
        model: with both heads.
        normalization: of both heads.
        comparisons: held-out judgements whose `head` is one of the two.
        helpful: the name of the head for helpfulness.
        safety: the name of the head for safety.
        source: origin of the comparisons, for the contract.

    Raises:
        InputError: the model lacks a head, or one of the two has no untied pair here.
    """
    if missing := [head for head in (helpful, safety) if head not in model.heads]:
        raise InputError(f"gate names the head {missing[0]!r}, but the model has {', '.join(model.heads)}")
    chosen = [c for c in comparisons if c.head in (helpful, safety)]
    gate = Gate(helpful, safety, math.nan, math.nan, REFUSAL, 0.0, 1.0, math.nan, source)
    inputs, _ = read_inputs(model, normalization, gate, [c.prompt for c in chosen], [c.responses for c in chosen])
    pairs = {
        head: [
            (each, pair.winner, pair.loser)
            for each, c in zip(inputs, chosen, strict=True)
            if c.head == head
            for pair in c.pairs
            if not pair.tied
        ]
        for head in (helpful, safety)
    }
    for head, found in pairs.items():
        if not found:
            raise InputError(f"the gate cannot be fitted: {source} holds no untied pair of the head {head!r}")
    prompt_values = thresholds(np.array([each.refusal for each in inputs]))[::-1]  # few unsafe prompts first
    response_values = thresholds(np.concatenate([sigmoid(each.safety_K) for each in inputs]))
    agreement = np.mean([_agreement(found, prompt_values, response_values) for found in pairs.values()], axis=0)
    i, j = np.unravel_index(np.argmax(agreement), agreement.shape)
    prompt_threshold, response_threshold = float(prompt_values[i]), float(response_values[j])
    combined = np.concatenate([combine(each, prompt_threshold, response_threshold) for each in inputs])
    return Gate(
        helpful=helpful,
        safety=safety,
        prompt_threshold=prompt_threshold,
        response_threshold=response_threshold,
        refusal=REFUSAL,
        mean=float(combined.mean()),
        std=float(combined.std()) or 1.0,
        agreement=float(agreement[i, j]),
        source=source,
    )


def thresholds(probability_N: np.ndarray) -> np.ndarray:
    """Returns the thresholds to try, in rising order: quantiles of the probabilities, that of Llama 2, 0 and 1."""
    return np.unique([0.0, LLAMA_2, 1.0, *np.quantile(probability_N, np.linspace(0, 1, STEPS))])


def _agreement(
    pairs: Sequence[tuple[Inputs, int, int]], prompt_values: np.ndarray, response_values: np.ndarray
) -> np.ndarray:
    """Returns the share of pairs in the right order, `[len(prompt_values), len(response_values)]`."""
    refusal_P = np.array([each.refusal for each, _, _ in pairs])
    helpful_2xP = np.array([[each.helpful_K[winner], each.helpful_K[loser]] for each, winner, loser in pairs]).T
    safety_2xP = np.array([[each.safety_K[winner], each.safety_K[loser]] for each, winner, loser in pairs]).T
    below_Tx2xP = sigmoid(safety_2xP) < response_values[:, None, None]
    result = np.zeros((len(prompt_values), len(response_values)))
    for i, prompt_threshold in enumerate(prompt_values):
        score_Tx2xP = np.where((refusal_P > prompt_threshold) | below_Tx2xP, safety_2xP, helpful_2xP)
        result[i] = (0.5 + 0.5 * np.sign(score_Tx2xP[:, 0] - score_Tx2xP[:, 1])).mean(axis=1)
    return result
