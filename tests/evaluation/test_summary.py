"""Summary of evaluations of made-up scores: its table, marks and verdicts."""

import numpy as np
from evaluation.scored_comparisons import by_length, comparison, drawn, scored

from rmjax.evaluation.evaluate import evaluate_heads
from rmjax.evaluation.summary import summary


def test_only_the_largest_of_many_subsets_are_shown():
    comparisons = [
        comparison(f"{size} {n}", ["xx", "y"], (1, 2), subset=f"part {size:02d}")
        for size in (3, 12, *range(4, 12))
        for n in range(size)
    ]
    result = evaluate_heads(comparisons, by_length(comparisons, 1), ("reward",), bootstrap=10, seed=0)
    assert len(result["subsets"]) == 10
    names = [line[2:9] for line in summary(result).splitlines() if line.startswith("  part")]
    assert names == [f"part {n:02d}" for n in range(5, 13)]
    assert "  2 more subsets" in summary(result)
    fewer = evaluate_heads(comparisons[3:], by_length(comparisons[3:], 1), ("reward",), bootstrap=10, seed=0)
    assert len(fewer["subsets"]) == 9
    assert "more subsets" not in summary(fewer)


def test_parts_of_few_prompts_are_marked():
    comparisons = [
        comparison(f"{name} {n % prompts}", ["xx", "y"], (1, 2), subset=name, head=name)
        for name, prompts in (("many", 30), ("few", 29))
        for n in range(60)
    ]
    result = evaluate_heads(comparisons, by_length(comparisons, 1), ("reward",), bootstrap=50, seed=0)
    assert {name: part["prompts"] for name, part in result["subsets"].items()} == {"few": 29, "many": 30}
    text = summary(result)
    assert "60 pairs, few prompts, 95 % interval" in next(line for line in text.splitlines() if line[:5] == "  few")
    assert "few (60 pairs, few prompts)  many (60 pairs)" in text
    assert "(60 pairs, 95 % interval" in next(line for line in text.splitlines() if line[:6] == "  many")
    assert "by user turns of the prompt: 1: 100.0\n" in text
    (part,) = evaluate_heads(comparisons[60:], by_length(comparisons[60:], 1), ("reward",), bootstrap=50, seed=0)[
        "turns"
    ].values()
    assert (part["pairs"], part["prompts"]) == (60, 29)
    assert part["accuracy_ci95"][0] < 0.9  # all right on 29 prompts is not certainty
    # A result of an earlier version, without the number of prompts.
    for part in result["heads"]["reward"]["subsets"].values():
        del part["prompts"]
    assert "few prompts" not in next(line for line in summary(result).splitlines() if line[:5] == "  few")


def test_verdict_better_if_the_interval_is_above_zero():
    comparisons, scores = drawn(400)
    text = summary(scored(comparisons, scores))
    assert "Better than judging by length alone" in text
    assert "ceiling" in text


def test_a_score_that_follows_length_is_not_better_than_length():
    comparisons, _ = drawn(400, length_effect=10.0)
    longer = [[float(len(r)) for r in c.responses] for c in comparisons]
    result = scored(comparisons, longer)
    assert result["accuracy"] > 0.6
    assert result["length_gain"] == 0.0
    assert "Not distinguishable from judging by length alone (the longer wins)" in summary(result)
    # If short answers win, the rule to beat is "the shorter wins".
    comparisons, _ = drawn(400, length_effect=-10.0)
    shorter = scored(comparisons, [[-float(len(r)) for r in c.responses] for c in comparisons])
    assert shorter["accuracy"] > shorter["length_baseline"] + 0.2
    assert "Not distinguishable from judging by length alone (the shorter wins)" in summary(shorter)
    assert "Worse than" in summary(scored(comparisons, [-np.array(s) for s in drawn(400, length_effect=-10.0)[1]]))


def test_verdict_follows_the_interval():
    comparisons, scores = drawn(400)
    result = scored(comparisons, scores)
    for interval, word in (([-0.01, 0.2], "Not distinguishable"), ([0.01, 0.2], "Better"), ([-0.2, -0.01], "Worse")):
        assert word in summary({**result, "length_gain_ci95": interval})


def test_summary_warns_of_few_prompts_missing_intervals_and_leaks():
    comparisons, scores = drawn(400)
    assert "rough" in summary(scored(comparisons[:10], scores[:10]))
    assert "(10 pairs, few prompts, 95 % interval" in summary(scored(comparisons[:10], scores[:10]))
    assert "few prompts" not in summary(scored(comparisons, scores, bootstrap=0))
    assert "without an interval" in summary(scored(comparisons, scores, bootstrap=0))
    labels = [[-float(rank) for rank in c.ranks] for c in comparisons]
    assert "above the ceiling" in summary(scored(comparisons, labels))
    assert "above the ceiling" not in summary(scored(comparisons, scores))
