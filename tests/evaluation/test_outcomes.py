"""Stored outcomes against the metrics of evaluation.json, and the interval of paired differences."""

import dataclasses

import numpy as np
import pytest
from evaluation.scored_comparisons import comparison

from rmjax.evaluation.crossed import crossed_interval
from rmjax.evaluation.evaluate import evaluate_heads
from rmjax.evaluation.outcomes import Outcomes, difference_interval
from rmjax.evaluation.temperature import Temperature

HEADS = ("helpful", "safety")


def made_up():
    """60 comparisons of two or three responses on 40 prompts, under both labels, and scores of two heads."""
    generator = np.random.default_rng(0)
    comparisons, scores = [], []
    for index in range(60):
        count = 2 + index % 2
        comparisons.append(
            comparison(
                f"q{index % 40}",
                [f"{index} {k}" for k in range(count)],
                (generator.permutation(count) + 1).tolist() if index % 7 else (1,) * count,
                head=HEADS[index % 3 == 0],
                subset=("even", "odd", None)[index % 3],
                strengths=("better",) * (count * (count - 1) // 2) if index % 5 else None,
                utilities=tuple(generator.normal(size=count).tolist()),
            )
        )
        scores.append(generator.normal(size=(count, 2)).round())  # rounded: some scores are equal
    return comparisons, scores


def evaluated(comparisons, scores, heads):
    temperatures = {head: Temperature(value=1.7, pairs=100, bound=None) for head in heads}
    return evaluate_heads(comparisons, scores, heads, bootstrap=0, seed=0, temperatures=temperatures)


@pytest.mark.parametrize("heads", [HEADS, ("reward",)])
def test_every_stored_mean_is_that_of_the_evaluation(heads):
    comparisons, scores = made_up()
    scores = [score_KxZ[:, : len(heads)] for score_KxZ in scores]
    evaluation = evaluated(comparisons, scores, heads)
    outcomes = Outcomes.from_bytes(Outcomes.of(comparisons, scores, heads).to_bytes())
    paths = ["accuracy", "loss", "ceiling_gain", "labels.helpful.accuracy", "labels.safety.accuracy"]
    paths += [f"heads.{head}.{measure}" for head in heads for measure in ("accuracy", "loss", "ceiling_gain")]
    paths += [f"calibration.{head}.tempered.loss" for head in heads]
    paths += ["subsets.odd.accuracy", "strengths.better.accuracy"]
    for path in paths:
        expected = evaluation
        for key in path.split("."):
            expected = expected[key]
        sums = outcomes.sums(path, evaluation)
        assert sums.sum_K.sum() / sums.count_K.sum() == pytest.approx(expected, rel=1e-6), path
    assert len(outcomes.accuracy().sum_K) <= 40


def test_what_is_no_mean_over_pairs_has_no_sums():
    comparisons, scores = made_up()
    evaluation = evaluated(comparisons, scores, HEADS)
    outcomes = Outcomes.of(comparisons, scores, HEADS, link=None)
    for path in ("loss", "calibration_error", "rankings.any_k.top1", "heads.beauty.accuracy", "subsets.none.accuracy"):
        assert outcomes.sums(path, evaluation) is None
    without = {**evaluation, "calibration": {head: {"tempered": None} for head in HEADS}}
    assert Outcomes.of(comparisons, scores, HEADS).sums("calibration.helpful.tempered.loss", without) is None


def test_the_file_is_small():
    comparisons = [comparison(f"q{i}", ["a", "b"], (1, 2)) for i in range(3000)]
    generator = np.random.default_rng(0)
    scores = [generator.normal(size=(2, 1)) for _ in comparisons]
    assert len(Outcomes.of(comparisons, scores, ("reward",)).to_bytes()) < 6 * 3000 + 2000


def test_a_difference_is_paired_by_seed_and_prompt():
    comparisons, scores = made_up()
    generator = np.random.default_rng(1)
    runs = [[score + generator.normal(size=score.shape) for score in scores] for _ in range(6)]
    sums = [Outcomes.of(comparisons, run, HEADS).accuracy() for run in runs]
    found = difference_interval(sums[:3], sums[3:])
    values = np.stack([one.sum_K - two.sum_K for one, two in zip(sums[:3], sums[3:], strict=True)])
    assert found == crossed_interval(values, sums[0].count_K)
    accuracies = [one.sum_K.sum() / one.count_K.sum() for one in sums]
    assert found.mean == pytest.approx(np.mean(accuracies[:3]) - np.mean(accuracies[3:]))


def test_other_test_sets_are_not_compared():
    comparisons, scores = made_up()
    mine = Outcomes.of(comparisons, scores, HEADS).accuracy()
    swapped = dataclasses.replace(comparisons[1], ranks=comparisons[1].ranks[::-1])
    other = Outcomes.of([comparisons[0], swapped, *comparisons[2:]], scores, HEADS).accuracy()
    moved = Outcomes.of([dataclasses.replace(c, origin="elsewhere:1") for c in comparisons], scores, HEADS).accuracy()
    assert difference_interval([mine, mine], [other, other]) is None
    assert difference_interval([mine, mine], [moved, moved]).mean == 0.0
    assert difference_interval([], []) is None
