"""Ablations of the training data, against the original judgements."""

import dataclasses

import numpy as np
import pytest

from rmjax.data.ablations import first_responses, flip_labels, negligible_as_ties, shift_ratings, split_into_pairs
from rmjax.data.comparisons import Comparison, Message
from rmjax.errors import InputError

GRADES = ("significantly_better", "better", "slightly_better")
RANKED = Comparison(
    (Message("user", "q"),),
    ("a", "b", "c"),
    ranks=(3, 1, 2),
    scores=(0.5, 4.0, 1.0),
    unsafe=(True, False, True),
    strengths=GRADES,  # of the pairs ab, ac, bc
    margins=(3.0, 1.0, 2.0),
    head="helpful",
    utilities=(0.0, 2.0, 1.0),
)
TIED = Comparison((Message("user", "q"),), ("a", "b", "c"), ranks=(1, 1, 3))


def many(count):
    return [
        Comparison((Message("user", f"q{i}"),), ("yes", "no"), ranks=(1, 2), scores=(1.0, 0.0)) for i in range(count)
    ]


def test_the_first_two_of_three():
    (short,) = first_responses([RANKED], 2)
    assert (short.responses, short.ranks, short.scores, short.utilities) == (("a", "b"), (2, 1), (0.5, 4.0), (0.0, 2.0))
    assert (short.strengths, short.margins) == (("significantly_better",), (3.0,))
    assert (short.head, short.unsafe) == ("helpful", (True, False))
    assert first_responses([TIED], 2)[0].ranks == (1, 1)


@pytest.mark.parametrize("count", [3, 4])
def test_comparisons_that_have_no_more_stay(count):
    assert first_responses([RANKED, TIED], count) == [RANKED, TIED]


def test_one_response_is_no_comparison():
    with pytest.raises(InputError, match="at least two responses"):
        first_responses([RANKED], 1)


def test_pairs_apart_are_the_pairs_with_their_own_labels():
    apart = split_into_pairs([RANKED, TIED])
    assert [c.responses for c in apart] == [("a", "b"), ("a", "c"), ("b", "c")] * 2
    assert [c.ranks for c in apart] == [(2, 1), (2, 1), (1, 2), (1, 1), (1, 2), (1, 2)]
    assert [c.strengths for c in apart[:3]] == [(grade,) for grade in GRADES]
    assert [c.margins for c in apart[:3]] == [(3.0,), (1.0,), (2.0,)]
    assert [c.unsafe for c in apart] == [(True, False), (True, True), (False, True), None, None, None]
    together = [(RANKED.responses[w], RANKED.responses[o]) for w, o, _ in RANKED.pairs]
    assert [(c.responses[c.pairs[0].winner], c.responses[c.pairs[0].loser]) for c in apart[:3]] == together


def test_flipping_makes_the_best_the_worst_and_mirrors_the_ratings():
    before = [dataclasses.replace(RANKED, prompt=(Message("user", f"q{i}"),)) for i in range(50)]
    after = flip_labels(before, 0.4)
    turned = [c for c, old in zip(after, before, strict=True) if c is not old]
    assert 0 < len(turned) < 50
    for comparison in turned:
        assert comparison.ranks == (1, 3, 2)
        assert comparison.scores == (4.0, 0.5, 3.5)
        assert comparison.strengths == GRADES
        assert comparison.unsafe == RANKED.unsafe
        assert comparison.utilities is None


def test_the_given_share_is_flipped_and_a_larger_one_contains_a_smaller():
    wrong = {
        share: {i for i, c in enumerate(flip_labels(many(4000), share)) if c.ranks == (2, 1)}
        for share in (0.0, 0.1, 0.3)
    }
    assert not wrong[0.0]
    assert wrong[0.1] < wrong[0.3]
    # Three standard errors of a share of 4,000.
    assert len(wrong[0.1]) / 4000 == pytest.approx(0.1, abs=0.015)
    assert len(wrong[0.3]) / 4000 == pytest.approx(0.3, abs=0.022)


@pytest.mark.parametrize("share", [-0.1, 0.5])
def test_an_invalid_share_is_refused(share):
    with pytest.raises(InputError, match="share of flipped"):
        flip_labels(many(2), share)


def test_a_rater_shifts_a_whole_comparison():
    before, after = many(4000), shift_ratings(many(4000), 2.0)
    shift = np.array([np.subtract(b.scores, a.scores) for a, b in zip(before, after, strict=True)])
    np.testing.assert_allclose(shift[:, 0], shift[:, 1], atol=1e-12)
    assert abs(shift.mean()) < 3 * 2.0 / 4000**0.5
    assert shift.std() == pytest.approx(2.0, rel=0.05)
    assert [c.ranks for c in after] == [c.ranks for c in before]
    assert shift_ratings(before, 0.0) == before
    with pytest.raises(InputError, match="zero points"):
        shift_ratings(before, -1.0)


def test_negligible_preferences_become_ties_and_others_stay():
    close = dataclasses.replace(many(1)[0], strengths=("negligibly_better",))
    clear = dataclasses.replace(many(1)[0], strengths=("better",))
    tie, same = negligible_as_ties([close, clear])
    assert (tie.ranks, tie.scores) == ((1, 1), (0.5, 0.5))
    assert tie.pairs[0].tied
    assert same == clear


@pytest.mark.parametrize("comparison", [RANKED, many(1)[0]])
def test_ties_need_pairs_with_a_strength(comparison):
    with pytest.raises(InputError, match="needs pairs with a strength"):
        negligible_as_ties([comparison])
