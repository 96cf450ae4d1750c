"""Evaluation of a scoring model on held-out comparisons: at the end of training, and by `experiments/evaluate.py`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rmjax.data.comparisons import Comparison
from rmjax.data.truncation import Truncation
from rmjax.errors import InputError
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.compare import compare
from rmjax.evaluation.evaluate import evaluate_heads, json_safe
from rmjax.evaluation.gates import evaluate_gate
from rmjax.evaluation.mistakes import worst_mistakes
from rmjax.evaluation.outcomes import Outcomes, difference_interval
from rmjax.evaluation.pairs import head_columns, head_scores
from rmjax.evaluation.temperature import Temperature, fit_temperatures
from rmjax.scoring.gate import GatedModel
from rmjax.scoring.reward_function import RewardFunction
from rmjax.scoring.reward_model import RewardModel


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Results of `evaluate_model`.

    Attributes:
        metrics: JSON-safe values: those of `evaluate_heads`, `truncation`, and with a gate `gate`.
        mistakes: records of the worst mistakes, see `worst_mistakes`.
        scores: for each comparison its raw scores `[K, Z]`.
        cut: for each comparison `[K, 2]` tokens that truncation cut off the prompt and off the response.
        outcomes: the outcomes on every pair.
        unfitted: heads for which the validation data have no pair to fit a temperature on.
    """

    metrics: dict[str, Any]
    mistakes: list[dict[str, Any]]
    scores: list[np.ndarray]
    cut: list[np.ndarray]
    outcomes: Outcomes
    unfitted: tuple[str, ...]


def evaluate_model(
    model: RewardFunction,
    comparisons: Sequence[Comparison],
    validation: Sequence[Comparison] = (),
    *,
    bootstrap: int,
    seed: int,
    mistakes: int,
    gate: GatedModel | None = None,
    gate_fitted_on: Mapping[str, int] | None = None,
) -> Evaluation:
    """Scores comparisons once and returns all metrics of the scores.

    Args:
        model: a reward model, an ensemble, or a gate.
        comparisons: the held-out judgements.
        validation: other judgements, to fit the temperature of each head on; none: no temperatures.
        bootstrap: number of resamples for the intervals.
        seed: of the resampling.
        mistakes: how many of the worst mistakes to return.
        gate: the gate to compare with its heads: `model` itself, or a gate whose model is `model`.
        gate_fitted_on: the number of judgements of each head that the gate was fitted on, where it is known.

    Raises:
        InputError: a comparison belongs to no head, there is no pair with a winner, or validation data are given and
            the scores give no probabilities.
    """
    heads, link = model.heads, model.link.log_odds if model.link.has_odds else None
    head_columns(comparisons, heads)  # raises before the time of scoring is spent
    temperatures: dict[str, Temperature] = {}
    if validation:
        if link is None:
            raise InputError(
                "validation data fit a temperature, but a difference of these scores gives no probability: give none "
                "(--validation of experiments/evaluate.py)"
            )
        temperatures = fit_temperatures(validation, model.score_comparisons(validation).raw, heads, link)
    scores, cut = model.score_comparisons(comparisons)
    resampling = {"bootstrap": bootstrap, "seed": seed}
    metrics = evaluate_heads(comparisons, scores, heads, **resampling, temperatures=temperatures, link=link)
    metrics["truncation"] = Truncation.of(cut).to_json()
    if gate is not None:
        other = gate.model if gate is model else gate
        others = other.score_comparisons(comparisons).raw
        by_gate, by_head = (scores, others) if gate is model else (others, scores)
        measured = evaluate_gate(
            (gate.gate.helpful, gate.gate.safety),
            comparisons,
            [score_Kx1[:, 0] for score_Kx1 in by_gate],
            by_head,
            gate.model.heads,
            Bootstrap(bootstrap, seed),
            gate_fitted_on or {},
        )
        metrics["gate"] = json_safe({**dataclasses.asdict(gate.gate), **measured})
    worst = worst_mistakes(comparisons, scores, heads, mistakes, link)
    unfitted = tuple(head for head in heads if validation and head not in temperatures)
    outcomes = Outcomes.of(comparisons, scores, heads, link)
    return Evaluation(metrics, worst, scores, cut, outcomes, unfitted)


def own_gate(model: RewardFunction, comparisons: Sequence[Comparison]) -> GatedModel | None:
    """Returns a model that is a gate if all comparisons state the head that they were made for, else None.

    Then `evaluate_model` can compare it with its heads.
    """
    if isinstance(model, GatedModel) and all(comparison.head in model.model.heads for comparison in comparisons):
        return model
    return None


def compare_models(
    comparisons: Sequence[Comparison],
    scores: Sequence[np.ndarray],
    heads: Sequence[str],
    other: RewardFunction,
    *,
    bootstrap: int,
    seed: int,
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Compares scores with those of another model on the same comparisons, each by the head of a comparison.

    Args:
        comparisons: the held-out judgements.
        scores: for each comparison the raw scores `[K, Z]` of the first model.
        heads: its heads.
        other: the other model.
        bootstrap: number of resamples for the intervals.
        seed: of the resampling.

    Returns:
        The contents of `compare`, JSON-safe, and what truncation cut for the other model.
    """
    head_columns(comparisons, other.heads)
    scored = other.score_comparisons(comparisons)
    others = head_scores(comparisons, scored.raw, other.heads)
    compared = compare(comparisons, head_scores(comparisons, scores, heads), others, Bootstrap(bootstrap, seed))
    return json_safe(compared), scored.cut


def compare_seeds(runs: Sequence[Outcomes], others: Sequence[Outcomes]) -> dict[str, Any]:
    """Compares two models of several seeds each, paired by seed and by test prompt.

    Args:
        runs: the outcomes of the first model, one for each seed.
        others: those of the other model on the same comparisons, in the same order of the seeds.

    Returns:
        JSON-safe values: accuracy and other_accuracy, a list over seeds each; difference, their mean difference;
        difference_ci95 over seeds and prompts, p, seed_sd and prompt_sd (see `CrossedInterval`), prompts and pairs; and
        labels, the same for each label (`Comparison.head`), if the data have several.
    """

    def measure(label: str | None) -> dict[str, Any]:
        mine, theirs = ([sums for o in group if (sums := o.accuracy(label))] for group in (runs, others))
        found = difference_interval(mine, theirs)
        if found is None:
            raise ValueError("the outcomes are of different pairs")
        accuracies = ([float(sums.sum_K.sum() / sums.count_K.sum()) for sums in group] for group in (mine, theirs))
        return {
            **dict(zip(("accuracy", "other_accuracy"), accuracies, strict=True)),
            "difference": found.mean,
            "difference_ci95": (found.low, found.high),
            "p": found.p,
            "seed_sd": found.seed_sd,
            "prompt_sd": found.prompt_sd,
            "prompts": found.prompts,
            "pairs": int(mine[0].count_K.sum()),
        }

    result = measure(None)
    labels = runs[0].parts["labels"][0]
    if len(labels) > 1:
        result["labels"] = {label: measure(label) for label in labels}
    return json_safe(result)


def best_member(members: Sequence[RewardModel], validation: Sequence[Comparison], seed: int) -> tuple[int, float]:
    """Returns the index and accuracy of the member with the highest mean accuracy over its heads; ties: the first."""
    accuracies = []
    for member in members:
        scores = member.score_comparisons(validation).raw
        results = evaluate_heads(validation, scores, member.heads, bootstrap=0, seed=seed)["heads"]
        accuracies.append(float(np.mean([result["accuracy"] for result in results.values() if result])))
    best = int(np.argmax(accuracies))
    return best, accuracies[best]
