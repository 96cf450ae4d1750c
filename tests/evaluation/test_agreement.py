"""Agreement of heads against hand counts, NumPy's correlations, and scores shifted per prompt."""

import numpy as np
import pytest

from rmjax.data.comparisons import Comparison, Message
from rmjax.evaluation.agreement import agreement
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.evaluate import evaluate_heads
from rmjax.evaluation.pairs import pair_arrays
from rmjax.evaluation.summary import summary

RESAMPLING = Bootstrap(resamples=200, seed=0)


def judged(count, head=None):
    return Comparison(
        (Message("user", f"{head}{count}"),), tuple("abcdefghi"[:count]), tuple(range(1, count + 1)), head=head
    )


def measured(scores, heads):
    return agreement(scores, heads, pair_arrays([judged(len(score)) for score in scores]), RESAMPLING)


def test_order_by_hand_with_ties():
    one = [[3.0, 1.0, 1.0], [0.0, 1.0]]
    two = [[2.0, 5.0, 5.0], [7.0, 7.0]]
    scores = [np.array([a, b]).T for a, b in zip(one, two, strict=True)]
    result = measured(scores, ("x", "y"))["x"]["y"]
    # (0, 1) and (0, 2) opposite, (1, 2) tied by both, and one pair that only y ties.
    assert result["order_alike"] == (0 + 0 + 1 + 0.5) / 4
    assert result["pairs"] == 4


def test_correlations_are_within_prompts():
    generator = np.random.default_rng(0)
    scores = [generator.normal(size=(count, 2)) for count in (2, 4, 7)]
    result = measured(scores, ("x", "y"))["x"]["y"]
    centered = np.concatenate([score - score.mean(axis=0) for score in scores])
    assert result["pearson"] == pytest.approx(np.corrcoef(centered.T)[0, 1])
    rank_NxZ = centered.argsort(axis=0).argsort(axis=0)  # there are no ties
    assert result["spearman"] == pytest.approx(np.corrcoef(rank_NxZ.T)[0, 1])
    moved = [score + generator.normal(size=2) * 100 for score in scores]
    assert measured(moved, ("x", "y"))["x"]["y"]["pearson"] == pytest.approx(result["pearson"])


def test_every_two_heads_once_and_the_extremes():
    generator = np.random.default_rng(1)
    first = [generator.normal(size=count) for count in (2, 3, 4, 5)]
    scores = [np.stack([score, np.exp(score), -score], axis=1) for score in first]
    result = measured(scores, ("x", "y", "z"))
    assert {(a, b) for a, row in result.items() for b in row} == {("x", "y"), ("x", "z"), ("y", "z")}
    assert result["x"]["y"]["order_alike"] == 1.0
    assert result["x"]["y"]["order_alike_ci95"] == (1.0, 1.0)
    assert result["x"]["z"]["order_alike"] == 0.0
    assert result["x"]["z"]["pearson"] == pytest.approx(-1.0)


def test_pairs_of_one_prompt_are_drawn_together():
    generator = np.random.default_rng(3)
    scores = [generator.normal(size=(2, 2)) for _ in range(60)]

    def width(prompts):
        comparisons = [Comparison((Message("user", f"q{prompt}"),), ("a", "b"), (1, 2)) for prompt in prompts]
        copies = [scores[i % 60] for i in range(len(prompts))]
        part = agreement(copies, ("x", "y"), pair_arrays(comparisons), RESAMPLING)["x"]["y"]
        return np.ptp(part["order_alike_ci95"])

    assert width([*range(60)] * 4) == pytest.approx(width(range(60)))
    assert width(range(240)) < 0.7 * width(range(60))


def test_only_models_with_several_heads_have_an_agreement():
    comparisons = [judged(3, "helpful"), judged(4, "safety")]
    generator = np.random.default_rng(2)
    scores = [generator.normal(size=(count, 2)) for count in (3, 4)]
    result = evaluate_heads(comparisons, scores, ("helpful", "safety"), bootstrap=10, seed=0)
    assert result["agreement"]["helpful"]["safety"]["pairs"] == 9
    assert "helpful and safety order" in summary(result)
    single = evaluate_heads(comparisons, [score[:, :1] for score in scores], ("helpful",), bootstrap=10, seed=0)
    assert "agreement" not in single
