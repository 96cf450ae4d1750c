"""Pairs of comparisons, and comparisons that are refused."""

import dataclasses

import pytest

from rmjax.data.comparisons import Comparison, Demonstration, Message, best_responses, ranks_from_scores
from rmjax.errors import InputError

PROMPT = (Message("user", "hi"),)


def test_pairs_are_in_order_of_index_with_the_winner_first():
    comparison = Comparison(PROMPT, ("a", "b", "c"), (2, 1, 2))
    assert comparison.pairs == ((1, 0, False), (0, 2, True), (1, 2, False))


def test_k_responses_have_k_times_k_minus_one_over_two_pairs():
    comparison = Comparison(PROMPT, tuple("abcde"), (5, 4, 3, 2, 1))
    assert len(comparison.pairs) == 10
    assert all(pair.winner > pair.loser and not pair.tied for pair in comparison.pairs)


def test_ranks_from_scores_are_competition_ranks():
    assert ranks_from_scores((3, 5, 3)) == (2, 1, 2)
    assert ranks_from_scores((1.5, 1.5, 1.5)) == (1, 1, 1)
    assert ranks_from_scores((0, -1, 7, 0)) == (2, 4, 1, 2)


def test_the_best_responses_are_all_of_the_best_rank():
    assert best_responses(Comparison(PROMPT, ("a", "b", "c"), (2, 1, 3))) == ("b",)
    assert best_responses(Comparison(PROMPT, ("a", "b", "c"), (4, 6, 4))) == ("a", "c")


def test_an_empty_response_is_a_response():
    assert Comparison(PROMPT, ("", "a"), (2, 1)).pairs == ((1, 0, False),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"responses": ("a",), "ranks": (1,)}, "at least two responses, found 1"),
        ({"responses": ("a", None)}, "every response must be a string"),
        ({"ranks": (0, 1)}, r"whole numbers from 1 \(best\), found \[0, 1\]"),
        ({"ranks": (1.0, 2)}, "whole numbers"),
        ({"ranks": (True, 2)}, "whole numbers"),
        ({"ranks": (1, 2, 3)}, "ranks has 3 entries for 2 responses"),
        ({"scores": (1.0,)}, "scores has 1 entries for 2 responses"),
        ({"scores": (1.0, float("nan"))}, "scores must be finite"),
        ({"unsafe": (True,)}, "unsafe has 1 entries for 2 responses"),
        ({"unsafe": (True, 0)}, r"unsafe must hold True or False, found \[True, 0\]"),
        ({"utilities": (1.0, 2.0, 3.0)}, "utilities has 3 entries"),
        ({"strengths": ("better", "better")}, "strength has 2 entries for the 1 pairs of 2 responses"),
        ({"strengths": ("much_better",)}, "strength must be one of significantly_better, .* found 'much_better'"),
        ({"margins": ()}, "margin has 0 entries"),
        ({"margins": (-0.5,)}, "margin must be a finite number >= 0, found -0.5"),
        ({"margins": (float("inf"),)}, "margin must be a finite number"),
        ({"prompt": ()}, "the prompt is empty"),
        ({"prompt": (Message("human", "hi"),)}, "role must be one of system, user, assistant, found 'human'"),
        ({"prompt": (Message("user", 3),)}, "content of a message must be a string, found int"),
        ({"prompt": (*PROMPT, Message("assistant", "yes"))}, "must end with a user turn, .* from the assistant"),
    ],
)
def test_parts_that_do_not_fit_are_named(changes, message):
    good = Comparison(PROMPT, ("a", "b"), (1, 2))
    with pytest.raises(InputError, match=message):
        dataclasses.replace(good, **changes)


def test_being_unsafe_is_no_matter_of_rank():
    for unsafe in ((True, True), (False, False), (True, False), (False, True)):
        assert Comparison(PROMPT, ("a", "b"), (1, 2), unsafe=unsafe).unsafe == unsafe


def test_a_demonstration_needs_a_prompt_that_waits_for_an_answer():
    assert Demonstration((Message("system", "be kind"), *PROMPT), "hello").response == "hello"
    with pytest.raises(InputError, match="must end with a user turn"):
        Demonstration((Message("assistant", "hi"),), "hello")
