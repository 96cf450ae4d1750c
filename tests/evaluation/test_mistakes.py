"""Worst mistakes: their order, their records, and their text for the console."""

import json

import numpy as np
import pytest

from rmjax.data.comparisons import Comparison, Message
from rmjax.evaluation.mistakes import WIDTH, as_lines, as_text, worst_mistakes
from rmjax.scoring.link import Link


def comparison(prompt, responses, ranks, **kwargs):
    return Comparison((Message("user", prompt),), tuple(responses), tuple(ranks), **kwargs)


COMPARISONS = [
    comparison("right", ["good", "bad"], (1, 2)),
    comparison("small", ["good", "bad"], (1, 2)),
    # Wrong in two pairs, by 4 and by 5.
    comparison(
        "large",
        ["a", "b", "c"],
        (2, 1, 3),
        strengths=("better", "slightly_better", "better"),
        subset="hard",
        origin="f:3",
    ),
    comparison("tied", ["a", "b"], (1, 1)),
    comparison("equal", ["a", "b"], (1, 2)),
]
SCORES = [[2.0, 1.0], [0.5, 1.0], [1.0, 0.0, 5.0], [0.0, 9.0], [3.0, 3.0]]


def found(count):
    return worst_mistakes(COMPARISONS, [np.array(s)[:, None] for s in SCORES], ("reward",), count)


def test_the_largest_wrong_gaps_come_first_one_of_each_comparison():
    assert [(m["prompt"][0]["content"], m["winner"], m["loser"], m["gap"]) for m in found(20)] == [
        ("large", "b", "c", -5.0),
        ("small", "good", "bad", -0.5),
    ]
    assert len(found(1)) == 1
    assert found(0) == []


def test_a_record_has_everything_and_is_json():
    first, second = (json.loads(line) for line in as_lines(found(20)).splitlines())
    assert first == {
        "prompt": [{"role": "user", "content": "large"}],
        "winner": "b",
        "loser": "c",
        "scores": [0.0, 5.0],
        "gap": -5.0,
        "probability": pytest.approx(1 / (1 + np.exp(5))),
        "head": "reward",
        "subset": "hard",
        "strength": "better",
        "origin": "f:3",
    }
    assert (second["subset"], second["strength"], second["origin"]) == (None, None, None)


def test_the_head_of_the_comparison_counts():
    comparisons = [
        comparison("p", ["a", "b"], (1, 2), head="helpful"),
        comparison("q", ["a", "b"], (1, 2), head="safety"),
    ]
    scores = [np.array([[1.0, 0.0], [0.0, 7.0]]), np.array([[0.0, 0.0], [7.0, 3.0]])]
    (only,) = worst_mistakes(comparisons, scores, ("helpful", "safety"), 20)
    assert (only["head"], only["gap"], only["prompt"][0]["content"]) == ("safety", -3.0, "q")


def test_text_is_wrapped_with_every_word_and_line_break():
    long = " ".join(f"word{n}" for n in range(60))
    judged = comparison(long, [f"first line\n\n{long}", ""], (1, 2), origin="f:1")
    (mistake,) = worst_mistakes([judged], [np.array([[0.0], [2.5]])], ("helpful",), 1)
    text = as_text(mistake)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.split().count("word59") == 2
    assert "gap -2.50, P(winner) 7.6 % (head helpful, origin f:1)" in text
    assert "    first line\n\n    word0" in text
    assert text.endswith("  preferred by the model, scored 2.50:\n    (empty)")


def test_scores_without_odds_have_no_probability():
    (mistake,) = worst_mistakes(COMPARISONS, [np.array(s)[:, None] for s in SCORES], ("reward",), 1, link=None)
    assert mistake["probability"] is None
    assert "P(winner)" not in as_text(mistake)


def test_the_probability_follows_the_link():
    rao_kupper = Link("rao_kupper", 0.5)
    arguments = COMPARISONS, [np.array(s)[:, None] for s in SCORES], ("reward",), 1
    (mistake,) = worst_mistakes(*arguments, link=rao_kupper.log_odds)
    gap = mistake["gap"]
    win, lose = (1 / (1 + np.exp(0.5 - sign * gap)) for sign in (1, -1))  # given no tie: win / (win + lose)
    assert mistake["probability"] == pytest.approx(win / (win + lose))
