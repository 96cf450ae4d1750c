"""Conversion of comparisons to ids: heads, pairs, margins and weights."""

import dataclasses

import numpy as np
import pytest
from conftest import encode_text, user

from rmjax.data import examples
from rmjax.data.comparisons import Comparison, Demonstration, head_index
from rmjax.data.examples import PairRule, encode_comparisons, encode_demonstrations, encode_groups
from rmjax.data.token_groups import TokenGroups
from rmjax.errors import InputError
from rmjax.training.losses import MARGINS

SKIP, KEEP = PairRule(), PairRule(keep_ties=True)


def comparison(ranks, text="How do I boil an egg?", **fields):
    return Comparison(user(text), tuple(f"answer {k}" for k in range(len(ranks))), ranks, **fields)


def encode(tokenizer, example, rule=SKIP, heads=("helpful",)):
    (encoded,) = encode_comparisons([example], tokenizer, heads, rule)
    return encoded


def test_ids_are_those_of_the_tokenizer(tokenizer):
    example = encode(tokenizer, comparison((1, 2)))
    for response, text in zip(example.responses, ("answer 0", "answer 1"), strict=True):
        prompt, expected = encode_text(tokenizer, "How do I boil an egg?", text)
        assert example.prompt.tolist() == prompt.ids.tolist()
        assert response.tolist() == expected.ids.tolist()


@pytest.mark.parametrize("K", [2, 3, 4, 7])
def test_the_pairs_of_a_comparison_share_the_weight_one(tokenizer, K):
    example = encode(tokenizer, comparison(tuple(range(1, K + 1))))
    np.testing.assert_allclose(example.weight, [2 / (K * (K - 1))] * (K * (K - 1) // 2), rtol=1e-6)


def test_winners_and_losers_follow_the_ranks(tokenizer):
    example = encode(tokenizer, comparison((3, 1, 2)))
    assert list(zip(example.winner.tolist(), example.loser.tolist(), strict=True)) == [(1, 0), (2, 0), (1, 2)]


def test_equal_pairs_share_read_only_arrays(tokenizer):
    names = ("winner", "loser", "tied", "margin", "weight")
    alike = [comparison((1, 2)), comparison((2, 1)), comparison((1, 2), "Another?")]
    first, other, second = encode_comparisons(alike, tokenizer, ("helpful",), SKIP)
    assert all(getattr(first, name) is getattr(second, name) for name in names)
    assert first.winner is not other.winner
    for name in names:
        with pytest.raises(ValueError, match="read-only"):
            getattr(first, name)[0] = 1


def test_pairs_with_different_margins_share_no_arrays(tokenizer):
    rule = PairRule(margins=MARGINS["large"])
    strengths = ("negligibly_better", "significantly_better")
    both = [comparison((1, 2), strengths=(strength,)) for strength in strengths]
    weak, strong = encode_comparisons(both, tokenizer, ("helpful",), rule)
    assert (weak.margin.tolist(), strong.margin.tolist()) == ([0], [3])


def test_ties_are_left_out_or_used(tokenizer):
    tied = comparison((1, 1, 2))
    left_out, used = encode(tokenizer, tied, SKIP), encode(tokenizer, tied, KEEP)
    assert left_out.tied.tolist() == [False, False]
    assert left_out.weight.tolist() == [0.5, 0.5]
    assert used.tied.tolist() == [True, False, False]
    np.testing.assert_allclose(used.weight, 1 / 3, rtol=1e-6)


def test_a_comparison_of_ties_has_no_weight_if_ties_are_left_out(tokenizer):
    assert len(encode(tokenizer, comparison((1, 1))).weight) == 0
    assert encode(tokenizer, comparison((1, 1)), KEEP).weight.tolist() == [1]


@pytest.mark.parametrize(("name", "expected"), [("small", [2 / 3, 0, 1]), ("large", [2, 0, 3]), ("none", [0, 0, 0])])
def test_margins_of_llama_2(tokenizer, name, expected):
    graded = comparison((1, 2, 3), strengths=("better", "negligibly_better", "significantly_better"))
    example = encode(tokenizer, graded, PairRule(margins=MARGINS[name]))
    np.testing.assert_allclose(example.margin, expected, rtol=1e-6)


def test_margins_follow_their_pair_when_a_tie_is_left_out(tokenizer):
    graded = comparison((1, 1, 2), strengths=("better", "slightly_better", "significantly_better"))
    assert encode(tokenizer, graded, PairRule(margins=MARGINS["large"])).margin.tolist() == [1, 3]
    # A tie has no margin, whatever the data says of it.
    assert encode(tokenizer, graded, PairRule(True, MARGINS["large"])).margin.tolist() == [0, 1, 3]


def test_given_margins_are_used_as_they_are(tokenizer):
    assert encode(tokenizer, comparison((2, 1), margins=(1.25,)), PairRule(given=True)).margin.tolist() == [1.25]


def test_a_margin_that_the_data_does_not_state_is_an_error_with_its_place(tokenizer):
    bare = comparison((1, 2), origin="data.jsonl:17")
    with pytest.raises(InputError, match=r'data.jsonl:17: loss.margin needs the "strength".*loss.margin=none'):
        encode(tokenizer, bare, PairRule(margins=MARGINS["small"]))
    with pytest.raises(InputError, match=r'data.jsonl:17: loss.margin=given, but .* no "margin"'):
        encode(tokenizer, bare, PairRule(given=True))


def test_ratings_are_carried_along(tokenizer):
    assert encode(tokenizer, comparison((2, 1), scores=(1.5, 4.0))).ratings.tolist() == [1.5, 4.0]
    assert encode(tokenizer, comparison((2, 1))).ratings is None


def test_labels_of_safety_are_carried_along(tokenizer):
    example = encode(tokenizer, comparison((2, 1), unsafe=(True, False)))
    assert (example.unsafe.dtype, example.unsafe.tolist()) == (bool, [True, False])
    assert encode(tokenizer, comparison((2, 1))).unsafe is None


def test_one_head_takes_everything_and_several_go_by_the_label():
    assert head_index(comparison((1, 2), head="safety"), ["helpful"]) == 0
    assert head_index(comparison((1, 2)), ["helpful"]) == 0
    assert head_index(comparison((1, 2), head="safety"), ["helpful", "safety"]) == 1
    with pytest.raises(InputError, match=r"f.jsonl:3: this comparison names no head, .* helpful, safety"):
        head_index(comparison((1, 2), origin="f.jsonl:3"), ["helpful", "safety"])
    with pytest.raises(InputError, match=r"for the head 'honest'"):
        head_index(comparison((1, 2), head="honest"), ["helpful", "safety"])


def test_a_demonstration_has_one_response_and_no_pairs(tokenizer):
    (example,) = encode_demonstrations([Demonstration(user("hi"), "hello")], tokenizer)
    assert len(example.responses) == 1
    assert len(example.weight) == 0
    assert example.responses[0][-1] == tokenizer.ending[-1]


def test_a_demonstration_that_was_cut_does_not_teach_to_stop(tokenizer):
    long, whole = "x" * 200, "hello"
    cut, whole_example = encode_demonstrations([Demonstration(user("hi"), text) for text in (long, whole)], tokenizer)
    prompt, encoded = encode_text(tokenizer, "hi", long)
    assert len(prompt.ids) + len(cut.responses[0]) == tokenizer.max_prompt + tokenizer.max_response
    assert cut.responses[0].tolist() == encoded.ids[:-1].tolist()
    assert tokenizer.ending[-1] not in cut.responses[0]
    assert whole_example.responses[0][-1] == tokenizer.ending[-1]


def test_a_cut_prompt_leaves_the_eos_of_its_demonstration(tokenizer):
    (example,) = encode_demonstrations([Demonstration(user("x" * 200), "hello")], tokenizer)
    assert len(example.prompt) + len(example.responses[0]) == tokenizer.max_length
    assert example.responses[0].tolist() == encode_text(tokenizer, "hi", "hello")[1].ids.tolist()


def test_a_comparison_has_one_prompt_cut_to_what_its_longest_response_leaves(tokenizer):
    example = encode(tokenizer, Comparison(user("x" * 200), ("y" * 9, "z"), (1, 2)))
    alone = [encode_text(tokenizer, "x" * 200, text)[0].ids for text in ("y" * 9, "z")]
    assert example.prompt.tolist() == alone[0].tolist()
    assert len(alone[0]) < len(alone[1])


def test_a_cut_response_of_a_comparison_keeps_its_eos(tokenizer):
    """There the score is read."""
    example = encode(tokenizer, Comparison(user("hi"), ("x" * 200, "y"), (1, 2)))
    assert example.responses[0][-1] == tokenizer.ending[-1]


def test_groups_of_different_sizes_keep_their_responses(tokenizer):
    texts = [["a", "b", "c"], ["d"], ["e", "f"]]
    prompts, groups = encode_groups([user("x"), user("y"), user("x")], texts, tokenizer)
    expected = [[encode_text(tokenizer, "x", text)[1].ids.tolist() for text in group] for group in texts]
    assert [[response.ids.tolist() for response in group] for group in groups] == expected
    assert prompts[0].ids.tolist() == prompts[2].ids.tolist() != prompts[1].ids.tolist()


def test_no_comparisons_are_no_examples(tokenizer):
    assert list(encode_comparisons([], tokenizer, ("helpful",), SKIP)) == []
    assert list(encode_demonstrations([], tokenizer)) == []


def test_examples_together_are_those_of_each_comparison_alone(tokenizer, monkeypatch):
    """Ratings, labels, margins and ties of some, two heads, several blocks of texts, any order of reading."""
    monkeypatch.setattr(examples, "BLOCK", 2)
    data = [
        comparison((1, 2), head="safety", scores=(2.0, 1.0), margins=(0.5,)),
        comparison((1, 1, 2), "Why? " * 40, head="helpful", unsafe=(True, False, True), margins=(0.0, 1.5, 2.0)),
        comparison((3, 1, 2), head="helpful", scores=(1.0, 3.0, 2.5), margins=(1.0, 0.0, 0.25)),
        comparison((1, 1), head="safety", unsafe=(False, False), margins=(1.0,)),
        Comparison(user("How?"), ("x" * 99, ""), (2, 1), head="safety", margins=(3.0,)),
    ]
    heads, rule = ("helpful", "safety"), PairRule(given=True)
    table = encode_comparisons(data, tokenizer, heads, rule)
    alone = [encode(tokenizer, each, rule, heads) for each in data]

    def plain(example):
        values = dataclasses.asdict(example)
        return {name: [v.tolist() for v in value] if name == "responses" else value for name, value in values.items()}

    for order in (range(5), (4, 0, 2), (-1, -5)):
        for index in order:
            np.testing.assert_equal(plain(table[index]), plain(alone[index]))
    assert [example.head for example in table[1:4]] == [0, 0, 1]
    assert [example.ratings is None for example in table] == [False, True, False, True, True]
    assert len(table) == len(list(table)) == 5
    with pytest.raises(IndexError):
        table[5]


def test_ratings_are_standardized_within_a_head(tokenizer):
    data = [
        comparison((1, 2), head=head, scores=(shift + 2.0 * i + 1, shift - i))
        for i, (head, shift) in enumerate([("a", 5.0), ("b", -7.0), ("a", 6.0), ("b", -7.0)])
    ]
    table = encode_comparisons(data, tokenizer, ("a", "b"), SKIP).standardized()
    for head in (0, 1):
        ratings = np.concatenate([example.ratings for example in table if example.head == head])
        expected = np.array([score for c in data if c.head == "ab"[head] for score in c.scores])
        np.testing.assert_allclose(ratings, (expected - expected.mean()) / expected.std(), rtol=1e-5)


def test_ids_take_two_bytes_if_the_vocabulary_allows_it(tokenizer):
    groups = encode_groups([user("x")], [["a", "b"]], tokenizer)
    small, large = TokenGroups.of([groups], 2**16), TokenGroups.of([groups], 2**16 + 1)
    assert (small.ids.dtype, large.ids.dtype) == (np.uint16, np.int32)
    read = [TokenGroups.from_bytes(b"".join(groups.to_parts())) for groups in (small, large)]
    for each in (small, large, *read):
        assert [ids.tolist() for ids in each.texts(0)] == [ids.tolist() for ids in small.texts(0)]
        assert all(ids.dtype == np.int32 for ids in each.texts(0))
