"""Evaluation of made-up scores, against hand counts: metrics, breakdowns, heads, labels, and refused inputs."""

import json

import numpy as np
import pytest
from evaluation.scored_comparisons import by_length, comparison, drawn, scored

from rmjax.errors import InputError
from rmjax.evaluation.bootstrap import wilson_interval
from rmjax.evaluation.evaluate import evaluate_heads
from rmjax.evaluation.summary import summary


def flat(result):
    """Returns every number of a result by its path."""
    found = {}
    for key, value in result.items():
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        found |= {(key, *path): number for path, number in flat(dict(items)).items()}
        found |= {(key,): value} if isinstance(value, (int, float)) else {}
    return found


RANKING = [
    # Pairs (winner, loser): B>A, B>C right; A and C are tied by the raters.
    comparison("p", ["aaaa", "bb", "c"], (2, 1, 2)),
    # The loser is scored higher and is longer.
    comparison("q", ["dd", "eeee"], (1, 2)),
    # Equal scores, equal lengths.
    comparison("q", ["ff", "gg"], (2, 1)),
]
SCORES = [[0.0, 2.0, -1.0], [1.0, 1.5], [3.0, 3.0]]


def test_counted_by_hand():
    result = scored(RANKING, SCORES)
    assert result["pairs"] == 4
    assert result["ties"] == 1
    assert result["model_ties"] == 1
    assert result["comparisons"] == 3
    assert result["prompts"] == 2
    assert result["accuracy"] == 2.5 / 4
    assert result["accuracy_with_ties"] == (2.5 + 0.5) / 5
    assert "accuracy, these as half             60.0 %" in summary(result)
    assert "as half" not in summary(scored(RANKING[1:], SCORES[1:]))
    assert result["length_baseline"] == (0 + 1 + 0 + 0.5) / 4
    assert (result["length_rule"], result["length_rule_accuracy"]) == ("shorter", 2.5 / 4)
    assert result["length_gain"] == 0.0
    assert result["length_balanced_accuracy"] == (1.0 + 0.5) / 2
    gaps = np.array([2.0, 3.0, -0.5, 0.0])
    assert result["mean_gap"] == gaps.mean()
    assert result["loss"] == pytest.approx(np.log1p(np.exp(-gaps)).mean())
    every = np.concatenate(SCORES)
    assert result["reward_mean"] == pytest.approx(every.mean())
    assert result["reward_std"] == pytest.approx(every.std())
    assert result["ceiling"] is None
    assert result["ceiling_gain"] is None
    expected = wilson_interval(np.array([1.0, 1.0, 0.0, 0.5]), np.array([0, 0, 1, 1]))
    assert result["accuracy_ci95"] == pytest.approx(expected)
    assert "subsets" not in result
    assert "strengths" not in result
    assert result["rankings"]["kendall_tau_b"] == pytest.approx(2 / np.sqrt(3 * 2))
    assert result["rankings"]["any_k"]["top1"] == (1 + 0 + 0.5) / 3
    assert "0.816 (1 rankings" in summary(result)


def test_result_is_json_and_undefined_is_null():
    result = scored(RANKING[2:], SCORES[2:])
    json.dumps(result, allow_nan=False)
    assert result["accuracy_ci95"] is None  # one prompt
    assert result["reward_length_correlation"] is None  # equal lengths
    assert result["reward_length_rank_correlation"] is None
    assert result["length_balanced_accuracy"] is None
    assert result["rankings"] is None
    assert "tau-b" not in summary(result)


def test_the_utilities_themselves_reach_the_ceiling():
    comparisons, scores = drawn(4000)
    result = scored(comparisons, scores)
    assert 0.7 < result["ceiling"] < 0.95
    low, high = result["accuracy_ci95"]
    assert low < result["ceiling"] < high
    assert result["ceiling_gain"] == pytest.approx((result["accuracy"] - 0.5) / (result["ceiling"] - 0.5))
    assert result["ceiling_gain"] == pytest.approx(1.0, abs=0.1)
    assert result["calibration_error"] < 0.03
    # One comparison without utilities, and the ceiling is not known.
    comparisons[0] = comparison("q0", comparisons[0].responses, comparisons[0].ranks)
    assert scored(comparisons, scores)["ceiling"] is None


def test_scores_may_be_shifted_per_prompt():
    comparisons, scores = drawn(300, length_effect=3.0)
    shifts = np.random.default_rng(1).normal(size=300) * 50
    moved = scored(comparisons, [s + shift for s, shift in zip(scores, shifts, strict=True)])
    result = scored(comparisons, scores)
    for key in ("accuracy", "loss", "mean_gap", "reward_length_correlation", "length_gain"):
        assert moved[key] == pytest.approx(result[key], abs=1e-4), key
    assert moved["reward_std"] > 10 * result["reward_std"]


def test_neither_the_order_of_comparisons_nor_that_of_responses_matters():
    comparisons, scores = drawn(200, length_effect=2.0)
    turned = [
        comparison(c.prompt[0].content, c.responses[::-1], c.ranks[::-1], utilities=c.utilities[::-1])
        for c in comparisons
    ][::-1]
    again = scored(turned, [s[::-1] for s in scores][::-1])
    result = scored(comparisons, scores)
    assert flat(again) == pytest.approx(flat(result))
    assert again["length_rule"] == result["length_rule"]


def test_length_correlation_is_within_prompts():
    # Prompts with long answers get high scores, but within a prompt the longer answer always scores lower.
    comparisons = [comparison(f"q{n}", ["x" * n, "x" * (n + 3)], (1, 2)) for n in range(1, 40)]
    result = scored(comparisons, [[float(n), n - 0.5] for n in range(1, 40)])
    assert result["reward_length_correlation"] == pytest.approx(-1.0)
    assert result["reward_length_rank_correlation"] == pytest.approx(-1.0)


def test_breakdown_by_subset_and_strength():
    comparisons = [
        comparison("a", ["x", "y"], (1, 2), subset="easy", strengths=("better",)),
        comparison("b", ["x", "y"], (1, 2), subset="hard", strengths=("slightly_better",)),
        comparison("c", ["x", "y"], (1, 2), subset="hard"),
        comparison("d", ["x", "y", "z"], (1, 2, 2), strengths=("better", "slightly_better", "negligibly_better")),
        comparison("e", ["x", "y"], (1, 1), subset="tied"),
    ]
    result = scored(comparisons, [[1, 0], [0, 1], [1, 0], [1, 0, 2], [0, 1]])
    counts = {name: (part["accuracy"], part["pairs"]) for name, part in result["subsets"].items()}
    assert counts == {"easy": (1.0, 1), "hard": (0.5, 2), "tied": (None, 0)}
    counts = {name: (part["accuracy"], part["pairs"]) for name, part in result["strengths"].items()}
    assert counts == {"better": (1.0, 2), "slightly_better": (0.0, 2)}
    assert list(result["strengths"]) == ["better", "slightly_better"]
    text = summary(result)
    assert "  hard" in text
    assert "no untied pair" in text


def test_refuses_scores_that_are_not_finite():
    comparisons = [comparison("a", ["x", "y"], (1, 2)), comparison("b", ["x", "y"], (1, 2), origin="test.jsonl:7")]
    with pytest.raises(InputError, match=r"2 of 4 scores are not finite.*test\.jsonl:7"):
        scored(comparisons, [[0, 1], [np.nan, np.inf]])
    with pytest.raises(InputError, match=r"1 of 4 scores.*comparison number 1"):
        scored(comparisons, [[np.nan, 1], [0, 1]])
    with pytest.raises(InputError, match=r"2 of 4 scores.*comparison number 1"):
        scored(comparisons, [[np.nan, 1], [0, np.nan]])


def test_refuses_comparisons_without_an_untied_pair():
    with pytest.raises(InputError, match="all 1 pairs"):
        scored([comparison("a", ["x", "y"], (1, 1))], [[0, 1]])


@pytest.mark.parametrize("scores", [[[0, 1]], [[0, 1], [0, 1, 2]], [[0, 1], [[0], [1]]]])
def test_scores_of_the_wrong_number_or_shape_are_a_value_error(scores):
    comparisons = [comparison("a", ["x", "y"], (1, 2)), comparison("b", ["x", "y"], (1, 2))]
    with pytest.raises(ValueError, match="scores") as caught:
        scored(comparisons, scores)
    assert not isinstance(caught.value, InputError)


def test_each_head_is_measured_on_its_own_comparisons():
    comparisons = [
        comparison("a", ["xx", "y"], (1, 2), head="safety"),
        comparison("b", ["xx", "y"], (1, 2), head="helpful"),
        comparison("c", ["xx", "y"], (1, 2), head="helpful"),
    ]
    result = evaluate_heads(
        comparisons, by_length(comparisons, 1, -1, 1), ("style", "helpful", "safety"), bootstrap=10, seed=0
    )
    assert list(result["heads"]) == ["style", "helpful", "safety"]
    assert result["heads"]["style"] is None
    assert (result["heads"]["helpful"]["accuracy"], result["heads"]["helpful"]["pairs"]) == (0.0, 2)
    assert (result["heads"]["safety"]["accuracy"], result["heads"]["safety"]["pairs"]) == (1.0, 1)
    assert {key: result[key] for key in result["heads"]["helpful"]} == result["heads"]["helpful"]
    text = summary(result)
    assert "style: no data." in text
    assert text.splitlines()[0].split() == ["helpful", "safety"]


def test_scores_that_are_no_log_odds_have_no_probabilities():
    comparisons = [comparison("a", ["xx", "y"], (1, 2)), comparison("b", ["xx", "y"], (1, 2))]
    odds = evaluate_heads(comparisons, by_length(comparisons, 1), ("reward",), bootstrap=10, seed=0)
    assert odds["loss"] > 0
    assert odds["calibration"]["reward"]["brier"] > 0
    other = evaluate_heads(comparisons, by_length(comparisons, 1), ("reward",), bootstrap=10, seed=0, link=None)
    assert other == {
        **odds,
        "loss": None,
        "calibration_error": None,
        "calibration": {},
        "heads": {"reward": {**odds["heads"]["reward"], "loss": None, "calibration_error": None}},
    }
    assert not {"loss", "calibration", "Brier"} & set(summary(other).split())


def test_probabilities_follow_the_link():
    """A gap of 1 means log odds of 3; one pair of three is in the wrong order."""
    comparisons = [
        comparison(text, ["xx", "y"], ranks) for text, ranks in (("a", (1, 2)), ("b", (1, 2)), ("c", (2, 1)))
    ]
    result = evaluate_heads(
        comparisons, by_length(comparisons, 1), ("reward",), bootstrap=0, seed=0, link=lambda gap: 3 * gap
    )
    expected = (2 * np.log1p(np.exp(-3)) + np.log1p(np.exp(3))) / 3
    assert result["loss"] == pytest.approx(expected)
    assert result["calibration"]["reward"]["loss"] == pytest.approx(expected)
    error = abs(2 / 3 - 1 / (1 + np.exp(-3)))
    assert result["calibration_error"] == pytest.approx(error)
    assert result["calibration"]["reward"]["calibration_error"] == pytest.approx(error)
    assert result["mean_gap"] == pytest.approx(1 / 3)  # in the unit of the scores


def test_a_single_head_takes_every_comparison():
    comparisons = [comparison("a", ["xx", "y"], (1, 2), head="safety"), comparison("b", ["xx", "y"], (1, 2))]
    result = evaluate_heads(comparisons, by_length(comparisons, 1), ("reward",), bootstrap=10, seed=0)
    assert result["pairs"] == 2
    assert list(result["heads"]) == ["reward"]


def test_every_head_is_measured_on_every_label():
    comparisons = [
        comparison("a", ["xx", "y"], (1, 2), head="safety"),
        comparison("b", ["xx", "y"], (2, 1), head="helpful"),
        comparison("c", ["xx", "y", "zzz"], (1, 2, 1), head="helpful"),
    ]
    heads = ("helpful", "safety")
    result = evaluate_heads(comparisons, by_length(comparisons, -1, 1), heads, bootstrap=10, seed=0)
    credits = {(head, label): part["accuracy"] for head, row in result["matrix"].items() for label, part in row.items()}
    assert credits == {
        ("helpful", "helpful"): pytest.approx(1 / 3),
        ("helpful", "safety"): 0.0,
        ("safety", "helpful"): pytest.approx(2 / 3),
        ("safety", "safety"): 1.0,
    }
    assert result["matrix"]["safety"]["helpful"]["pairs"] == 3
    assert result["labels"] == {head: result["matrix"][head][head] for head in ("helpful", "safety")}
    # On its own label, the entry of a head equals its own metrics.
    for head in heads:
        assert result["matrix"][head][head] == {key: result["heads"][head][key] for key in result["matrix"][head][head]}
    rows = {line.split()[0]: line for line in summary(result).splitlines() if line.startswith("  ") and "%" in line}
    assert "33.3 %" in rows["helpful"]
    assert "0.0 %" in rows["helpful"]
    assert "66.7 %" in rows["safety"]


def test_a_single_head_is_also_measured_by_label():
    labels = ["safety", "helpful", "honest", None]
    comparisons = [
        comparison(f"{n}", ["xx", "y"], (1, 2) if n else (2, 1), head=label) for n, label in enumerate(labels)
    ]
    result = evaluate_heads(comparisons, by_length(comparisons, 1), ("helpful",), bootstrap=10, seed=0)
    row = result["matrix"]["helpful"]
    assert result["labels"] == row
    assert [(name, part["accuracy"], part["pairs"]) for name, part in row.items()] == [
        ("helpful", 1.0, 1),
        ("honest", 1.0, 1),
        ("safety", 0.0, 1),
    ]
    assert result["pairs"] == 4
    assert "matrix" not in evaluate_heads(
        comparisons[2:], by_length(comparisons[2:], 1), ("helpful",), bootstrap=10, seed=0
    )


def test_scores_of_every_head_must_be_finite():
    comparisons = [
        comparison("a", ["xx", "y"], (1, 2), head="safety"),
        comparison("b", ["xx", "y"], (1, 2), head="helpful"),
    ]
    scores = [np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, np.nan], [0.0, 1.0]])]
    with pytest.raises(InputError, match="1 of 8 scores are not finite"):
        evaluate_heads(comparisons, scores, ("helpful", "safety"), bootstrap=10, seed=0)


@pytest.mark.parametrize("head", [None, "style"])
def test_among_several_heads_a_comparison_must_name_one(head):
    comparisons = [comparison("a", ["xx", "y"], (1, 2), head=head, origin="test.jsonl:3")]
    with pytest.raises(InputError, match=r"test\.jsonl:3.*helpful, safety"):
        evaluate_heads(comparisons, [], ("helpful", "safety"), bootstrap=10, seed=0)


def test_nothing_to_evaluate():
    with pytest.raises(InputError, match="no comparison"):
        evaluate_heads([], [], ("reward",), bootstrap=10, seed=0)
