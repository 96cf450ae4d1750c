"""Flat arrays of pairs against hand counts, and scores of the head that judges a comparison."""

import numpy as np

from rmjax.data.comparisons import Comparison, Message
from rmjax.evaluation.pairs import head_columns, head_scores, pair_arrays


def comparison(prompt, responses, ranks, **kwargs):
    return Comparison((Message("user", prompt),), tuple(responses), tuple(ranks), **kwargs)


COMPARISONS = [
    comparison("p", ["a", "bb", "ccc"], (2, 1, 2), strengths=("better", "slightly_better", "negligibly_better")),
    comparison("q", ["dddd", ""], (1, 1), head="safety"),
    comparison("p", ["e", "ff"], (1, 2), head="helpful"),
]


def test_pairs_by_hand():
    pairs = pair_arrays(COMPARISONS)
    assert pairs.winner_P.tolist() == [1, 1, 5]
    assert pairs.loser_P.tolist() == [0, 2, 6]
    assert pairs.comparison_P.tolist() == [0, 0, 2]
    assert pairs.prompt_P.tolist() == [0, 0, 0]
    assert pairs.strength_P.tolist() == ["better", "negligibly_better", None]
    assert pairs.prompt_B.tolist() == [0, 1, 0]
    assert pairs.prompt_N.tolist() == [0, 0, 0, 1, 1, 0, 0]
    assert pairs.length_N.tolist() == [1, 2, 3, 4, 0, 1, 2]
    assert pairs.ties == 2
    assert pairs.gap(np.arange(7.0) ** 2).tolist() == [1, -3, -11]
    assert pairs.gap(np.stack([np.arange(7.0), -np.arange(7.0)], axis=1)).tolist() == [[1, -1], [-1, 1], [-1, 1]]


def test_ties_alone_give_no_pair():
    pairs = pair_arrays(COMPARISONS[1:2])
    assert (len(pairs.winner_P), pairs.ties) == (0, 1)
    assert pairs.gap(np.zeros(2)).shape == (0,)


def test_scores_of_the_head_that_judges_a_comparison():
    labelled = COMPARISONS[1:]
    scores = [np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 6.0], [7.0, 8.0]])]
    assert head_columns(labelled, ("helpful", "safety")).tolist() == [1, 0]
    assert [own.tolist() for own in head_scores(labelled, scores, ("helpful", "safety"))] == [[2.0, 4.0], [5.0, 7.0]]
    single = [score[:, :1] for score in scores]
    assert [own.tolist() for own in head_scores(labelled, single, ("reward",))] == [[1.0, 3.0], [5.0, 7.0]]
